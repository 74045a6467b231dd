"""``python -m benchmarks.systems.serve DEVICE [BACKEND]``: a worker; see `harness.worker`."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from ..harness.timers import timer_for
from ..harness.worker import serve
from .contests import make


def where() -> str:
    """Where this process finds `fastsnn_np`; it is not imported yet, which a case may time."""
    spec = find_spec("fastsnn_np")
    return str(spec.origin) if spec else ""


if __name__ == "__main__":
    serve(make, timer_for(*sys.argv[1:3]), where)
