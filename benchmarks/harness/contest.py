"""Contestants: what is run in turns, and when their outputs count as equal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from . import memory
from .timers import Timer

Figures = dict[str, list[float]]  # phase -> the figures of one or more turns


class Contestant(Protocol):
    """Something that is set up, and can be run again and again."""

    def output(self) -> Any:
        """Run, and give what is compared: NumPy arrays or plain numbers."""

    def warm(self) -> None:
        """Run untimed, so that caches and threads are found again."""

    def turn(self, timer: Timer) -> Figures:
        """The figures of one turn."""

    def peak(self) -> float:
        """Peak of the memory during a call, in MB, beyond what is held between calls."""


def same(kept: Any) -> Any:
    return kept


@dataclass(frozen=True)
class Call:
    """A call that is timed; its phase is "time"."""

    call: Callable[[], Any]
    result: Callable[[Any], Any] = same  #: what is compared of what the call returned
    repeats: int = 1  #: calls a turn, one right after the other

    def output(self) -> Any:
        return self.result(self.call())

    def warm(self) -> None:
        for _ in range(min(self.repeats, 5)):
            self.call()

    def turn(self, timer: Timer) -> Figures:
        return {"time": [timer(self.call)[0] for _ in range(self.repeats)]}

    def peak(self) -> float:
        return memory.peak(self.call)


@dataclass(frozen=True)
class Pass:
    """A forward pass, and a backward pass from what the forward pass returned.

    The phases are "forward", "backward" and their sum, "total".
    """

    forward: Callable[[], Any]
    backward: Callable[[Any], Any] | None = None
    compared: Callable[[], Any] | None = None  #: gives what is compared, if not what `run` returns

    def run(self) -> Any:
        out = self.forward()
        return out if self.backward is None else self.backward(out)

    def output(self) -> Any:
        return self.run() if self.compared is None else self.compared()

    def warm(self) -> None:
        self.run()

    def turn(self, timer: Timer) -> Figures:
        forward, out = timer(self.forward)
        if self.backward is None:
            return {"forward": [forward]}
        backward = self.backward
        taken, kept = timer(lambda: backward(out))
        del kept  # freeing is not timed for some and not for others
        return {"forward": [forward], "backward": [taken], "total": [forward + taken]}

    def peak(self) -> float:
        return memory.peak(self.run)


@dataclass(frozen=True)
class Figure:
    """A call that returns its own figures: one number, whose phase is "time", or several by name.

    There is no warm-up.
    """

    call: Callable[[], float | dict[str, float]]
    result: Callable[[Any], Any] = same

    def output(self) -> Any:
        return self.result(self.call())

    def warm(self) -> None:
        pass

    def turn(self, timer: Timer) -> Figures:
        figures = self.call()
        named = figures if isinstance(figures, dict) else {"time": figures}
        return {phase: [value] for phase, value in named.items()}

    def peak(self) -> float:
        return memory.peak(self.call)


@dataclass(frozen=True)
class Contest:
    """Contestants on one and the same input, ready to run, and the judge of their outputs."""

    contestants: Mapping[str, Contestant]
    #: gets outputs by name; returns a remark for the rows or raises AssertionError
    judge: Callable[[dict[str, Any]], str]
    one_by_one: bool = False  #: whether each output is judged by itself


@dataclass(frozen=True)
class Setup:
    """How a contest is set up, in this process or in another one."""

    kind: str  #: the name by which another process finds `make`
    arguments: dict[str, Any]  #: arguments of `make`, as JSON can carry them
    make: Callable[[Sequence[str]], Contest]  #: a contest that has at least these contestants
    ours: tuple[str, ...]  #: which of them run this project's code


@dataclass(frozen=True)
class Bar:
    """`faster` should take at most 1/at_least of what `than` takes."""

    faster: str
    than: str
    at_least: float = 1.0
