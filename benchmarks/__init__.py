"""Cases as data (`cases`), one gated runner (`runner`), and `python -m benchmarks`."""
