"""Peak of the memory during a call (Linux only)."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from contextlib import suppress
from typing import Any


def peak(call: Callable[[], Any], *, absolute: bool = False) -> float:
    """Peak of the resident memory during a second call, in MB, less what was held before it.

    What the first call gave back to the allocator is returned to the system, so that it counts.
    """
    call()
    gc.collect()
    with suppress(AttributeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # resets the peak
    before = 0 if absolute else _status("VmRSS")
    call()
    return (_status("VmHWM") - before) / 1024


def _status(key: str) -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(key))
