"""The parts of `fastsnn_np` that are measured and are not public, in one place.

Another checkout of the project is measured by these benchmarks too, so that a module that has moved
is looked for here where each version has it.
"""

from __future__ import annotations

from typing import Any


def event_kernels() -> Any:
    """`rows_of`, `weights_of`, `hidden` and `hidden_backward` of the event engine."""
    from fastsnn_np.backends import events

    return events


def numba_backend() -> Any:
    """The Numba backend, with `_DENSEST`: the density up to which dense input becomes events."""
    import fastsnn_np as fs

    return fs.backends.get("numba")
