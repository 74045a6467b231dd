"""The event engine: layers whose cost follows the spikes, forward and backward.

`layers` runs one layer on rows of events, `engine` makes that an engine of `forward`, ``kernels``
and ``sorting`` are what Numba compiles. `fused` is the dense engine's stand-in on NumPy arrays.
"""
