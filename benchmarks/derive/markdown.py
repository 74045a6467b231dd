"""Tables: the first row is the head."""

from __future__ import annotations

from collections.abc import Sequence

Table = list[list[str]]


def markdown(table: Table, alignment: Sequence[str] = ()) -> str:
    """A table as Markdown; `alignment` has "---" or "---:" for each column."""
    head, *rows = table
    rule = "|" + "|".join(alignment or ["---"] * len(head)) + "|"
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, *rows)]
    return "\n".join([lines[0], rule, *lines[1:]])


def figure(value: float | None, status: str, digits: int = 3) -> str:
    """A figure, or why there is none."""
    return status if value is None else f"{value:.{digits}g}"
