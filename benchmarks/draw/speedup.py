"""The paper's figures of speed: Figure 2, on another device Figure 4, and Figure 5."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..derive import speedup
from ..harness.rows import Row, latest
from ..systems.names import BLOCK, EVENT, NOT_STANDARD, PUBLISHED
from .canvas import COLOURS, figure, save

_LINES = {16: ":", 32: "-", 64: "-.", 128: "--", 256: (0, (1, 3))}
_PHASES = ("total", "forward", "backward")


def draw(all_rows: Sequence[Row], folder: Path) -> list[Path]:
    """Figure 2 (on another device Figure 4), and Figure 5: heat maps at other batch sizes."""
    paths = []
    for device in sorted({row.device for row in all_rows if row.command == "speedup"}):
        rows = latest(all_rows, "speedup", device=device)
        if not rows:
            continue
        suffix = "" if device == "cpu" else "-" + "".join(c for c in device if c.isalnum())
        drawn = figure(11, 12.5)
        top, bottom = drawn.subfigures(2, 1, height_ratios=[1.15, 1])
        if any(row.number("b") == 128 for row in rows):
            heat_maps(top, rows, batch=128)
        lines(bottom, rows)
        paths.append(save(drawn, folder, f"figure2{suffix}"))
        batches = sorted({row.number("b") for row in rows} - {128})
        batches = [
            b for b in batches if len({row.number("n") for row in rows if row.number("b") == b}) > 1
        ]
        if batches:
            drawn = figure(11, 7 * len(batches))
            parts = np.atleast_1d(drawn.subfigures(len(batches), 1))
            for part, batch in zip(parts, batches, strict=True):
                heat_maps(part, rows, batch=batch)
            paths.append(save(drawn, folder, f"figure5{suffix}"))
    return paths


def heat_maps(drawn: Any, rows: list[Row], *, batch: int) -> None:
    """Speed-up over the standard SNN: neurons against steps, one map a contestant and phase."""
    from matplotlib.colors import LogNorm

    shown = (PUBLISHED, BLOCK, EVENT)
    axes = drawn.subplots(3, len(shown), sharex=True, sharey=True)
    drawn.suptitle(f"a  Speed-up over the standard SNN, b = {batch}; grey: skipped, see the tables")
    found = {
        (name, phase): {
            (p.n, p.T): ratio
            for p, ratio in speedup.ratios(rows, name, phase).items()
            if p.b == batch
        }
        for name in shown
        for phase in _PHASES
    }
    sizes = sorted({row.number("n") for row in rows if row.number("b") == batch})
    steps = sorted({row.number("T") for row in rows if row.number("b") == batch})
    timed = {(n, t) for ratios in found.values() for n, t in ratios}
    if len({n for n, _ in timed}) > 1:  # steps of the lines at n = 200 alone are no column
        steps = [t for t in steps if sum(b == t for _, b in timed) > 1] or steps
    image = None
    for row_of_axes, phase in zip(axes, _PHASES, strict=True):
        for axis, name in zip(row_of_axes, shown, strict=True):
            known = found[name, phase]
            grid = np.array([[known.get((n, t), math.nan) for t in steps] for n in sizes])
            axis.set_facecolor("0.85")
            norm = LogNorm(1 / 32, 32)
            image = axis.imshow(grid, cmap="RdBu", norm=norm, origin="lower", aspect="auto")
            for (i, j), ratio in np.ndenumerate(grid):
                if not math.isnan(ratio) and grid.size <= 60:
                    colour = "w" if abs(math.log2(ratio)) > 3 else "k"
                    axis.text(j, i, f"{ratio:.2g}", ha="center", va="center", color=colour)
            axis.set_xticks(range(len(steps)), [str(t) for t in steps])
            axis.set_yticks(range(len(sizes)), [str(n) for n in sizes])
            if phase == "total":
                axis.set_title(name, fontsize="medium")
            if name == shown[0]:
                axis.set_ylabel(f"{phase}\nNeurons n")
            if phase == "backward":
                axis.set_xlabel("Steps T")
    bar = drawn.colorbar(image, ax=axes, shrink=0.8, label="Speed-up (blue: faster)")
    bar.set_ticks([1 / 32, 1 / 8, 1 / 2, 1, 2, 8, 32])
    bar.set_ticklabels(["1/32", "1/8", "1/2", "1x", "2", "8", "32"])
    bar.ax.axhline(1, color="k", lw=2)
    bar.ax.minorticks_off()


def lines(drawn: Any, rows: list[Row]) -> None:
    """Panels b to f, at n = 200: durations, speed-ups, backward against forward, equation 9."""
    axes = drawn.subplots(2, 3).ravel()
    rows = [row for row in rows if row.number("n") == 200]
    batches = sorted({row.number("b") for row in rows})
    at_128 = [row for row in rows if row.number("b") == 128 and row.median is not None]
    for name, colour in COLOURS.items():
        own = sorted(
            (r.number("T"), r.mean, r.sd or 0.0)
            for r in at_128
            if r.contestant == name and r.phase == "total"
        )
        if own:
            t, mean, sd = zip(*own, strict=True)
            axes[0].errorbar(t, mean, sd, color=colour, marker=".", capsize=2, label=name)
    for axis, phase in ((axes[1], "total"), (axes[2], "forward")):
        for name in NOT_STANDARD:
            for batch in batches:
                ratios = {
                    p.T: r
                    for p, r in speedup.ratios(rows, name, phase).items()
                    if p.b == batch and p.n == 200
                }
                _line(axis, ratios, name, batch)
        axis.axhline(1, color="k", lw=1)
    for name, colour in COLOURS.items():
        medians = {(r.number("T"), r.phase): r.median for r in at_128 if r.contestant == name}
        share = {t: medians[t, "backward"] / m for (t, p), m in medians.items() if p == "forward"}
        axes[3].plot(sorted(share), [share[t] for t in sorted(share)], color=colour, marker=".")
    for name in NOT_STANDARD:
        found = speedup.relative(rows, name)
        for batch in sorted({b for b, _ in found}):
            _line(axes[4], {t: r for (b, t), r in found.items() if b == batch}, name, batch)
    axes[4].axhline(1, color="k", lw=1)
    titles = (
        "b  Forward + backward, b = 128, ms",
        "c  Speed-up, total",
        "d  Speed-up, forward",
        "e  Backward / forward, b = 128",
        "f  Relative speed-up (eq. 9)",
    )
    for axis, title in zip(axes[:5], titles, strict=True):
        axis.set_title(title, loc="left", fontsize="medium")
        if not any(len(line.get_xdata()) and line.get_color() != "k" for line in axis.lines):
            axis.axis("off")  # nothing measured, and no logarithm of nothing
            continue
        axis.set_xscale("log", base=2)
        axis.set_yscale("log", base=10 if axis is axes[0] else 2)
        axis.xaxis.set_major_formatter("{x:.0f}")
        axis.yaxis.set_major_formatter("{x:.4g}")
        axis.set_xlabel("Steps T")
        axis.spines[["top", "right"]].set_visible(False)
    handles, labels = axes[0].get_legend_handles_labels()
    for batch in batches:
        handles += axes[5].plot([], [], color="0.4", ls=_LINES[batch])
        labels.append(f"b = {batch}")
    axes[5].legend(handles, labels, loc="center", frameon=False, title="n = 200; black line: 1x")
    axes[5].axis("off")


def _line(axis: Any, ratios: dict[int, float], name: str, batch: int) -> None:
    steps = sorted(ratios)
    values = [ratios[t] for t in steps]
    axis.plot(steps, values, color=COLOURS[name], ls=_LINES[batch], marker=".", lw=1.3)
