"""What `Events.concatenate` and `SpikeTimes.concatenate` join."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._checked import Rows


def check_parts(parts: Any, kind: Any) -> list[Any]:
    """`parts` as a list, each of this kind and all of the same numbers of neurons and steps."""
    try:
        found: list[Any] = [parts] if isinstance(parts, kind) else list(parts)
    except TypeError:
        raise TypeError(
            f"parts must be a sequence of {kind.__name__}, got {type(parts).__name__}"
        ) from None
    if not found:
        raise ValueError(f"parts must hold at least one {kind.__name__}, got none")
    for i, part in enumerate(found):
        if not isinstance(part, kind):
            raise TypeError(f"parts[{i}] must be {kind.__name__}, got {type(part).__name__}")
        if part.shape[1:] != found[0].shape[1:]:
            raise ValueError(
                f"parts must have the same neurons and steps: parts[0] has {found[0].shape[1:]} "
                f"and parts[{i}] has {part.shape[1:]}"
            )
    return found


def joined_rows(parts: list[Any]) -> Rows:
    """Fields of the `Events` that hold the samples of all parts, one after the other."""
    offsets = np.cumsum([0, *[part.n_events for part in parts[:-1]]])
    values = None
    if any(part.values is not None for part in parts):
        wide = np.result_type(*[part.values for part in parts if part.values is not None])
        sizes = [np.ones(p.n_events, wide) if p.values is None else p.values for p in parts]
        values = np.concatenate(sizes, dtype=wide)
    return Rows(
        np.concatenate([part.indptr + offset for part, offset in zip(parts, offsets, strict=True)]),
        np.concatenate([part.indices for part in parts]),
        parts[0].n_neurons,
        values,
    )
