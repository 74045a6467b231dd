"""How kernels are compiled and entered: cached on disk, announced, safe with threads and forks."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core import config

_log = logging.getLogger("fastsnn_np")
_lock = threading.Lock()  # Numba's workqueue layer aborts the process when two threads enter it
_ANNOUNCE_AFTER_S = 1.5


class _State:
    parallel_has_run = False
    forked_since = False


def _after_fork() -> None:
    # A child of a process whose OpenMP threads have run is killed when it starts its own.
    _State.forked_since = _State.parallel_has_run


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def runs_parallel() -> bool:
    """Whether kernels use several threads in this process.

    Not in a process forked after a parallel kernel has run, nor with ``FASTSNN_PARALLEL=0``.
    """
    return not _State.forked_since and os.environ.get("FASTSNN_PARALLEL", "1") != "0"


class Kernel:
    """A function compiled twice, parallel and serial, each when it is first needed."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._builds: dict[bool, Any] = {}
        self._ready: set[bool] = set()  # builds that have run, and so are compiled

    def __call__(self, *args: Any, small: bool = False) -> Any:
        """Run it: in parallel, unless the work is `small` or threads are out of the question."""
        parallel = not small and runs_parallel()
        build = self._builds.get(parallel)
        if build is None:
            build = self._builds[parallel] = compiled(self._function, parallel=parallel)
        if parallel in self._ready:
            return _enter(build, parallel, args)
        announce = threading.Timer(_ANNOUNCE_AFTER_S, self._announce)
        announce.daemon = True
        announce.start()
        try:
            result = _enter(build, parallel, args)
        finally:
            announce.cancel()
        self._ready.add(parallel)
        return result

    def _announce(self) -> None:
        _log.warning(
            "compiling the kernel %s, once: the result is kept on disk",
            self._function.__name__.lstrip("_"),
        )


def _enter(build: Any, parallel: bool, args: tuple[Any, ...]) -> Any:
    if not parallel:
        return build(*args)
    with _lock:
        _State.parallel_has_run = True
        return build(*args)


# Compiled into the kernels that call them; `inlined` where a call would keep values in memory.
helper = numba.njit(error_model="numpy")
inlined = numba.njit(error_model="numpy", inline="always")


def njit(function: Callable[..., Any], **options: Any) -> Any:
    """`numba.njit`, cached on disk where some folder for that can be written."""
    try:
        return numba.njit(function, cache=True, **options)
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        _log.info("kernels are not kept on disk: %s", error)
        return numba.njit(function, **options)


def compiled(function: Callable[..., Any], *, parallel: bool) -> Any:
    """`function` under Numba, as a kernel."""
    # Numba's cache tells functions apart by name and line alone, and sees no change in another
    # file: each build needs its own name, by what it is made of.
    suffix = ("_parallel_" if parallel else "_serial_") + version()
    twin = types.FunctionType(
        function.__code__, function.__globals__, function.__name__ + suffix, function.__defaults__
    )
    twin.__qualname__ = function.__qualname__ + suffix
    # No fastmath: where a sum has two products to be fused with, Numba's parallel kernels took one
    # when they were compiled and the other when they came from the cache, with other last digits.
    return njit(twin, parallel=parallel, nogil=True, error_model="numpy")


@functools.cache
def version() -> str:
    """What all kernels and their helpers are made of, in a few digits: part of their names."""
    folder = Path(__file__).parent / "backends" / "event"
    sources = sorted(folder.glob("*.py"))
    held = [Path(__file__).read_bytes(), *(path.read_bytes() for path in sources)]
    held.append(repr((config.BOUNDSCHECK, llvmlite.__version__)).encode())
    return hashlib.sha256(b"\0".join(held)).hexdigest()[:12]
