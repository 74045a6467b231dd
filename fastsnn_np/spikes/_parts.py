"""What `Events.concatenate` and `SpikeTimes.concatenate` join."""

from __future__ import annotations

from typing import Any


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
