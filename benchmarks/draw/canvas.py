"""What the figures have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..systems.names import BLOCK, EVENT, FFT, PUBLISHED, STANDARD

DPI = 80
COLOURS = {
    STANDARD: "0.25",
    PUBLISHED: "#c0392b",
    FFT: "#9b7fb8",
    BLOCK: "#2c6fbb",
    EVENT: "#00804f",
}


def figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save(drawn: Any, folder: Path, name: str) -> Path:
    """A PNG with fewer colours than a photograph needs."""
    path = folder / f"{name}.png"
    drawn.savefig(path, dpi=DPI, pil_kwargs={"optimize": True})
    return path
