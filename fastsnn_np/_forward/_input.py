"""The input of `forward`: the order of its axes, and its batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from .._checks import check_iterable
from .._namespace import namespace
from ..network import Network
from ..spikes import Events, SpikeTimes, samples_of

Layout = Literal["bnt", "btn", "tbn"]
_AXES = {
    "bnt": "(batch, neurons, time)",
    "btn": "(batch, time, neurons)",
    "tbn": "(time, batch, neurons)",
}
_ORDER = {"btn": (0, 2, 1), "tbn": (1, 2, 0)}


def in_layout(x: Any, layout: str, network: Network | None = None) -> Any:
    """`x` with axes (batch, neurons, time), checked against the network in its own layout."""
    if isinstance(x, (SpikeTimes, Events)):
        if layout != "bnt":
            raise ValueError(f"layout={layout!r} is for dense arrays, x is {type(x).__name__}")
        return x
    xp = namespace(x=x)
    if x.ndim != 3:
        raise ValueError(
            f"x has shape {tuple(x.shape)}, layout {layout!r} expects {_AXES[layout]}"
            + ("; add a batch axis with x[None]" if x.ndim == 2 and layout != "tbn" else "")
        )
    given = tuple(x.shape)
    x = xp.permute_dims(x, _ORDER[layout]) if layout in _ORDER else x
    if network is not None and x.shape[-2] != network.sizes[0]:
        raise ValueError(
            f"x has {x.shape[-2]} neurons and {x.shape[-1]} steps, since its shape is {given} and "
            f"layout {layout!r} is {_AXES[layout]}; the network expects {network.sizes[0]} neurons"
        )
    if x.shape[-1] == 0 or x.shape[-2] == 0:
        raise ValueError(
            f"x has {x.shape[-2]} neurons and {x.shape[-1]} steps in layout {layout!r}, "
            f"{_AXES[layout]}: at least one of each is needed"
        )
    return x


def check_several(name: str, inputs: Any) -> None:
    """Refuse what is no sequence of inputs, such as a single one."""
    if isinstance(inputs, (SpikeTimes, Events)):
        raise TypeError(f"{name} must be several inputs, got one, {type(inputs).__name__}: [x]")
    check_iterable(name, inputs, "arrays, SpikeTimes or Events")


def batches(x: Any, size: int | None, progress: bool) -> Iterator[Any]:
    """`x` in parts of at most `size` samples; at least one, though it may be empty."""
    count = len(x) if isinstance(x, (SpikeTimes, Events)) else int(x.shape[0])
    size = max(count, 1) if size is None else size
    starts: Any = range(0, max(count, 1), size)
    if progress:
        try:
            from tqdm import tqdm
        except ImportError as error:
            raise ImportError(f"progress=True needs tqdm ({error}): pip install tqdm") from error
        starts = tqdm(starts, unit="batch")
    for start in starts:
        yield x if size >= count else samples_of(x, start, start + size)
