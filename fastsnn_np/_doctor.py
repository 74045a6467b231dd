"""What works on this machine, and what does not and why."""

from __future__ import annotations

import platform
import sys

from . import backends


def doctor() -> None:
    """Print one line a backend: name, version and devices, or the error that keeps it away.

    The error is the library's own: an import that fails, or a driver that is missing. For CuPy's
    known failures the line goes on with what to install. A GPU that is listed has run a kernel and
    computed a product. Call ``fastsnn_np.backends.status(name)`` for the same as data.
    """
    print(described([backends.status(name) for name in backends.CAPABILITIES]), file=sys.stdout)


def described(statuses: list[backends.Status]) -> str:
    """The same as text."""
    python = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    return "\n".join([f"fastsnn_np on {python}", *[f"  {status}" for status in statuses]])
