"""How kernels are compiled and entered: cached on disk, announced, safe with threads and forks."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import sys
import threading
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import llvmlite  # type: ignore[import-untyped]
import numba

_log = logging.getLogger("fastsnn_np")
_CONFIG: Any = numba.config  # its names are made at run time
_lock = threading.Lock()  # Numba's workqueue layer aborts the process when two threads enter it
_ANNOUNCE_AFTER_S = 1.5


class _State:
    parallel_has_run = False
    forked_since = False
    pool: _Pool | None = None


def _after_fork() -> None:
    _State.pool = None  # its threads stayed behind
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
        with _announced(self._function):
            result = _enter(build, parallel, args)
        self._ready.add(parallel)
        return result


class _Pool(ThreadPoolExecutor):
    """Threads for shares, kept off the core of whoever waits for them.

    A thread that wakes for a millisecond is put on the core of the one that woke it by schedulers
    that save power or pack virtual processors, and the two then take turns.
    """

    def __init__(self) -> None:
        self._ids: list[int] = []
        self._placed = (-1, 0)  #: the caller's core and the number of threads last seen
        super().__init__(
            max(_CONFIG.NUMBA_NUM_THREADS, 1),
            thread_name_prefix="fastsnn_np",
            initializer=lambda: self._ids.append(threading.get_native_id()),
        )

    def spread(self) -> None:
        """Keep the threads off the caller's core, where the system lets one say so."""
        if sys.platform != "linux" or _core is None:
            return
        placed = (_core(), len(self._ids))
        if placed == self._placed:
            return
        self._placed = placed
        others = os.sched_getaffinity(0) - {placed[0]}
        for thread in self._ids if others else ():
            with suppress(OSError):  # the core is no longer ours, or this is not allowed
                os.sched_setaffinity(thread, others)


def _number_of_core() -> Callable[[], int] | None:
    """The system's function that tells on which core its caller runs; Linux has one."""
    if sys.platform != "linux":
        return None
    found: Callable[[], int] | None = getattr(ctypes.CDLL(None), "sched_getcpu", None)
    return found


_core = _number_of_core()


class Shared:
    """A function of a share, the number of shares and what is shared, compiled once.

    The shares run on threads of our own, which sleep in between. OpenMP's wait at full speed for
    the next kernel, also where another process needs the core, and its static schedule waits for
    the thread that lost it.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._build: Any = None
        self._is_ready = False  # it has run, and so is compiled

    def __call__(self, shares: int, *args: Any) -> None:
        """Run all shares, each once; which thread runs which does not matter."""
        if shares == 1 and self._is_ready:
            self._build(0, 1, *args)
            return
        if self._build is None:
            self._build = compiled(self._function, parallel=False)
        left = iter(range(shares))
        if not self._is_ready:
            with _announced(self._function):
                self._build(next(left), shares, *args)
            self._is_ready = True
        run = self._build

        def work() -> None:
            for share in left:  # the next one is taken under the interpreter's lock
                run(share, shares, *args)

        if shares == 1 or not runs_parallel():
            work()
            return
        pool = _pool()
        pool.spread()
        others = [pool.submit(work) for _ in range(min(shares, numba.get_num_threads()) - 1)]
        try:
            work()
        finally:
            wait(others)
        for other in others:
            other.result()


@contextmanager
def _announced(function: Callable[..., Any]) -> Iterator[None]:
    """Say so if compiling takes long."""

    def announce() -> None:
        name = function.__name__.lstrip("_")
        _log.warning("compiling the kernel %s, once: the result is kept on disk", name)

    timer = threading.Timer(_ANNOUNCE_AFTER_S, announce)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _pool() -> _Pool:
    with _lock:
        if _State.pool is None:
            _State.pool = _Pool()
        return _State.pool


def _enter(build: Any, parallel: bool, args: tuple[Any, ...]) -> Any:
    if not parallel:
        return build(*args)
    with _lock:
        _State.parallel_has_run = True
        return build(*args)


# Compiled into the kernels that call them; `inlined` where a call would keep values in memory.
# Neither has a way in from Python, which would be compiled too.
_INSIDE: Any = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
helper = numba.njit(**_INSIDE)
inlined = numba.njit(**_INSIDE, inline="always")


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
    held.append(repr((_CONFIG.BOUNDSCHECK, llvmlite.__version__)).encode())
    return hashlib.sha256(b"\0".join(held)).hexdigest()[:12]
