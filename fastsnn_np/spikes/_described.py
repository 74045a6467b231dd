"""What `repr` says of spikes: shape, number, density and bytes, and never the arrays."""

from __future__ import annotations

import math
from typing import Any

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def described(spikes: Any, what: str, count: int, arrays: list[Any]) -> str:
    """One line on `SpikeTimes` or `Events` that hold `count` spikes, called `what`."""
    batch, neurons, steps = spikes.shape
    places = math.prod(spikes.shape)
    share = f", density {count / places:.2%}" if places else ""
    rate = f", {count / batch:,.1f} per sample" if batch else ""
    return (
        f"{type(spikes).__name__}({amount(batch, 'sample')} of {amount(neurons, 'neuron')} and "
        f"{amount(steps, 'step')}: {what}{rate}{share}; {size_said(sum(map(n_bytes, arrays)))})"
    )


def amount(count: int, noun: str) -> str:
    """A number and its noun: "1 event", "1,200 events"."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def n_bytes(array: Any) -> int:
    """Bytes of an array of any library whose dtype names its bits."""
    count: int = math.prod(array.shape)
    return count * int(str(array.dtype)[-2:]) // 8


def size_said(size: float) -> str:
    """Bytes in the largest decimal unit that leaves at least one before the point."""
    power = min(int(math.log10(max(size, 1)) // 3), len(_UNITS) - 1)
    return f"{size / 1000**power:.{1 if power else 0}f} {_UNITS[power]}"
