"""Everything that was measured as one HTML page and a Markdown table."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence

from ..harness.rows import Row, latest
from ..harness.timers import NOT_RUN_ON_A_GPU
from . import accuracy, latency, peers, scaling
from .markdown import Table, markdown
from .paper import said_and_measured

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1000px; margin: 2em auto; padding: 0 1em;
       color: #222 }
h1, h2 { line-height: 1.2 } h2 { margin-top: 2.2em; border-bottom: 1px solid #ddd }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: 13px; margin: 1em 0 }
th, td { border-bottom: 1px solid #ddd; padding: 3px 10px; text-align: left }
td { font-variant-numeric: tabular-nums } th { background: #f4f4f4 }
img { max-width: 100%; height: auto } code { background: #f4f4f4; padding: 1px 4px }
p, td { overflow-wrap: anywhere }
"""

Image = tuple[str, bytes]  # a name, and a PNG


def rows_table(rows: Iterable[Row]) -> Table:
    head = ["case", "contestant", "what", "parameters", "median", "mean ± s.d.", "note"]
    lines = []
    for row in rows:
        figure = row.status if row.median is None else f"{row.median:.4g} {row.unit}"
        mean = "" if row.mean is None else f"{row.mean:.4g}"
        mean += f" ± {row.sd:.2g}" if row.sd is not None else ""
        who = f"{row.contestant} @ {row.checkout}" if row.checkout else row.contestant
        lines.append([row.case, who, row.phase, str(row.parameters), figure, mean, row.note])
    return [head, *lines]


def machines(rows: Iterable[Row]) -> Table:
    """What each command ran on, and how to run it again."""
    lines = {}
    for row in rows:
        quick = " --quick" if row.quick else ""
        where = f"{row.machine}, {row.threads} threads, {row.device}"
        key = (row.command, quick, where, row.versions, row.commit)
        lines[key] = [f"python -m benchmarks {row.command}{quick}", where, row.versions, row.commit]
    return [["command", "machine", "versions and settings", "commit"], *lines.values()]


def markdown_page(rows: Sequence[Row]) -> str:
    """For the README: the peers' times as multiples of ours, and the paper's numbers."""
    tables = (peers.multiples(latest(rows, "peers")), said_and_measured(rows))
    return "\n\n".join(markdown(table) for table in tables) + "\n"


def html_page(rows: Sequence[Row], images: Mapping[str, Sequence[Image]]) -> str:
    """One file that needs no other; `images` by command."""
    skipped = [row for row in rows if row.status != "ok" and row.phase in _ONCE]
    parts = [
        "<h1>fastsnn_np: benchmarks</h1>",
        "<p>No ratio is reported where outputs disagree. Contestants ran in turns; figures are "
        f"medians. Regarding GPUs: {NOT_RUN_ON_A_GPU}.</p>",
        "<h2>The paper said, we measured</h2>",
        "<p>The paper's speed-ups are of FastSNN on a V100 GPU; ours are of the machine below.</p>",
        _html(said_and_measured(rows)),
    ]
    tables: dict[str, list[Table]] = {
        "peers": peers.tables(latest(rows, "peers")),
        "scaling": [[["fitted"], *([line] for line in scaling.lines(latest(rows, "scaling")))]],
        "latency": [latency.table(latest(rows, "latency"))],
        "accuracy": [accuracy.table(latest(rows, "accuracy"))],
    }
    for command, title in TITLES.items():
        if latest(rows, command):
            parts.append(f"<h2>{title}</h2>")
            parts += [_image(image) for image in images.get(command, [])]
            parts += [_html(table) for table in tables.get(command, []) if len(table) > 1]
    parts += [
        "<h2>Skipped, refused, failed</h2>",
        _html(rows_table(skipped)),
        "<h2>Machine, versions, commands</h2>",
        _html(machines(rows)),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        "<title>fastsnn_np: benchmarks</title>"
        f"<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


TITLES = {
    "speedup": "One layer: the paper's Figures 2, 4 and 5",
    "peers": "Against the systems people use",
    "scaling": "Scaling",
    "latency": "One sample at a time",
    "accuracy": "Training: the paper's Figure 3",
}
_ONCE = ("total", "time", "p50", "accuracy", "import")  # a skipped point is listed once


def _html(table: Table) -> str:
    head, *rows = table
    cells = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f'<div class="wide"><table><tr>{cells}</tr>{body}</table></div>'


def _image(image: Image) -> str:
    name, content = image
    data = base64.b64encode(content).decode()
    return f'<p><img alt="{html.escape(name)}" src="data:image/png;base64,{data}"></p>'
