"""The figure of `scaling`: time against each thing that was doubled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..derive.scaling import exponents
from ..harness.rows import Row, latest
from ..systems.names import BLOCK, EVENT
from .canvas import COLOURS, figure, save


def draw(all_rows: Sequence[Row], folder: Path) -> list[Path]:
    """Time against each thing that was doubled, with the exponents in the legends."""
    from matplotlib.ticker import LogLocator

    rows = latest(all_rows, "scaling")
    if not rows:
        return []
    found = exponents(rows)
    names = {
        "T": "Steps T (b = 1)",
        "hz": "Rate, Hz",
        "n": "Neurons n",
        "b": "Batch b",
        "layers": "Layers",
        "threads": "Threads (b = 128)",
    }
    drawn = figure(11, 6)
    for axis, (key, label) in zip(drawn.subplots(2, 3).ravel(), names.items(), strict=True):
        for name in (EVENT, BLOCK):
            own = sorted(
                (r.number(key), r.median)
                for r in rows
                if r.case == key and r.contestant == name and r.median is not None
            )
            if own:
                exponent = found.get((key, name))
                text = name if exponent is None else f"{name}: {key}^{exponent:.2f}"
                axis.plot(*zip(*own, strict=True), color=COLOURS[name], marker=".", label=text)
        axis.set(xscale="log", yscale="log", xlabel=label, ylabel="Forward, ms")
        ticks = sorted({r.number(key) for r in rows if r.case == key})
        axis.set_xticks(ticks, [f"{t // 1024}Ki" if t >= 1024 else str(t) for t in ticks])
        axis.minorticks_off()
        if key == "threads":
            axis.set_yscale("linear")
            axis.set_ylim(0, 1.3 * axis.get_ylim()[1])
        else:
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_ylim(top=3 * axis.get_ylim()[1])  # room for the legend
        axis.yaxis.set_major_formatter("{x:g}")
        axis.legend(frameon=False, loc="upper left")
        axis.spines[["top", "right"]].set_visible(False)
    return [save(drawn, folder, "scaling")]
