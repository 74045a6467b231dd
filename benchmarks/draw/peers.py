"""The peers' times as multiples of ours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..derive import peers
from ..harness.rows import Row, latest
from ..systems.names import ANCHOR, TASKS
from .canvas import figure, save


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Every system's time as a multiple of ours, one panel a task."""
    ratios = peers.relative(latest(rows, "peers"))
    names = [name for name in ratios if name != ANCHOR][::-1]
    if not names:
        return []
    drawn = figure(11, 7)
    axes = drawn.subplots(2, 3, sharey=True).ravel()
    for axis, (task, about) in zip(axes, TASKS.items(), strict=False):
        values = [ratios[name].get(task, math.nan) for name in names]
        colours = ["#c0392b" if v < 1 else "#2c6fbb" for v in values]
        axis.barh(names, values, left=0, color=colours)
        for i, value in enumerate(values):
            if not math.isnan(value):
                axis.text(value, i, f" {peers.times(value)}", va="center", fontsize="small")
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter("")
        axis.axvline(1, color="k", lw=1)
        axis.set_xlim(0.3, 3 * np.nanmax([*values, 1]))
        axis.set_title(about, fontsize="medium", loc="left")
        axis.spines[["top", "right"]].set_visible(False)
    axes[5].axis("off")
    axes[5].text(
        0,
        0.5,
        f"Times {ANCHOR}, measured in turns.\nBlack line: 1x, as fast.\nRed: faster than ours.",
        va="center",
    )
    return [save(drawn, folder, "peers")]
