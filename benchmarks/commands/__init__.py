"""A command each: its name, its options, and what it measures."""
