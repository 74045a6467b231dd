"""How long a call takes: by the wall clock, or by a GPU's own events.

A GPU returns from a call before it has computed it, so a wall clock would measure the wrong thing.
An event is put into the GPU's queue before and after the call, and both are waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

NOT_RUN_ON_A_GPU = (
    "the GPU timers have been exercised with a fake GPU and on the CPU only: no figure of this "
    "project was taken on a GPU"
)


class Timer(Protocol):
    """Anything that calls `call` and says how many ms it took, and what it returned."""

    def __call__(self, call: Callable[[], Any]) -> tuple[float, Any]: ...


def wall_clock(call: Callable[[], Any]) -> tuple[float, Any]:
    """By `time.perf_counter`, for whatever has been computed when the call returns."""
    start = time.perf_counter()
    kept = call()
    return 1e3 * (time.perf_counter() - start), kept


@dataclass(frozen=True)
class EventTimer:
    """By a GPU's events, of any library that has them."""

    event: Callable[[], Any]  #: a new event, with a method `record`
    synchronise: Callable[[], Any]  #: waits until the GPU's queue is empty
    elapsed: Callable[[Any, Any], float]  #: ms between two recorded events

    def __call__(self, call: Callable[[], Any]) -> tuple[float, Any]:
        start, end = self.event(), self.event()
        self.synchronise()  # what was queued before is none of this call's business
        start.record()
        kept = call()
        end.record()
        self.synchronise()
        return self.elapsed(start, end), kept


def timer_for(device: str, backend: str | None = None) -> Timer:
    """The timer of a device: "cpu", or "cuda" through Torch or, with ``backend="cupy"``, CuPy.

    Raises
    ------
    RuntimeError
        If there is no such GPU; it carries the library's own words.
    """
    if backend == "cupy":
        import cupy

        if not cupy.cuda.is_available():
            raise RuntimeError(f"CuPy {cupy.__version__} finds no GPU; {NOT_RUN_ON_A_GPU}")
        return EventTimer(
            cupy.cuda.Event, cupy.cuda.Device().synchronize, cupy.cuda.get_elapsed_time
        )
    if device == "cpu":
        return wall_clock
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError(
            f"device {device!r} was asked for, and Torch {torch.__version__} finds no CUDA GPU; "
            f"{NOT_RUN_ON_A_GPU}"
        )
    return EventTimer(
        lambda: torch.cuda.Event(enable_timing=True),
        torch.cuda.synchronize,
        lambda start, end: start.elapsed_time(end),
    )
