"""``report``: everything that was measured, as one HTML page and a Markdown table."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from . import accuracy, figures, figures_accuracy, latency, peer_duel, scaling
from .figures_scaling import draw_scaling
from .paper import said_and_measured
from .results import Results, Row
from .session import Session
from .timers import NOT_RUN_ON_A_GPU

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

Table = list[list[str]]  # the first row is the head


def run(session: Session, options: Any) -> None:
    """Write the page, and beside it the Markdown table for the README."""
    results = session.results
    page = options.out
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(html_page(results, options.runs, options.root))
    table = page.with_suffix(".md")
    table.write_text(markdown(results))
    print(f"Wrote {page} ({page.stat().st_size / 1e6:.1f} MB) and {table}")


def rows_table(rows: Iterable[Row]) -> Table:
    head = ["case", "contestant", "what", "parameters", "median", "mean ± s.d.", "note"]
    lines = []
    for row in rows:
        figure = row.status if row.median is None else f"{row.median:.4g} {row.unit}"
        mean = "" if row.mean is None else f"{row.mean:.4g}"
        mean += f" ± {row.sd:.2g}" if row.sd is not None else ""
        lines.append([row.case, row.contestant, row.phase, row.parameters, figure, mean, row.note])
    return [head, *lines]


def machines(results: Results) -> Table:
    """What each command ran on, and how to run it again."""
    lines = {}
    for row in results.rows:
        quick = " --quick" if row.quick else ""
        where = f"{row.machine}, {row.threads} threads, {row.device}"
        key = (row.command, quick, where, row.versions, row.commit)
        lines[key] = [f"python -m benchmarks {row.command}{quick}", where, row.versions, row.commit]
    return [["command", "machine", "versions and settings", "commit"], *lines.values()]


def parsed(text: str) -> list[Table]:
    """The Markdown tables of a command, as cells."""
    tables: list[Table] = [[]]
    for line in text.splitlines():
        if not line.startswith("|"):
            tables.append([])
        elif not set(line) <= set("|-: "):
            tables[-1].append([cell.strip() for cell in line.strip("|").split("|")])
    return [table for table in tables if table]


def markdown(results: Results) -> str:
    """For the README: the peers' times as multiples of ours, and the paper's numbers."""
    ratios = peer_duel.relative(results.latest("peers"))
    head = ["system", *(figures.WHAT[task] for task in figures.TASKS)]
    peers = [
        [name, *(f"{peer_duel.times(of[t])}x" if t in of else "-" for t in figures.TASKS)]
        for name, of in ratios.items()
    ]
    text = []
    for table in ([head, *peers], said_and_measured(results)):
        lines = ["| " + " | ".join(cells) + " |" for cells in table]
        text.append("\n".join([lines[0], "|---" * len(table[0]) + "|", *lines[1:]]))
    return "\n\n".join(text) + "\n"


def html_page(results: Results, runs: Path, root: Path | None) -> str:
    """One file that needs no other."""
    drawn: dict[str, list[Path]] = {
        "speedup": figures.draw_speedup(results),
        "peers": figures.draw_peers(results),
        "scaling": draw_scaling(results) if results.latest("scaling") else [],
        "accuracy": figures_accuracy.draw(results, runs, root),
    }
    skipped = [row for row in results.rows if row.status != "ok" and row.phase in _ONCE]
    parts = [
        "<h1>fastsnn_np: benchmarks</h1>",
        "<p>No ratio is reported where outputs disagree. Contestants ran in turns; figures are "
        f"medians. Regarding GPUs: {NOT_RUN_ON_A_GPU}.</p>",
        "<h2>The paper said, we measured</h2>",
        "<p>The paper's speed-ups are of FastSNN on a V100 GPU; ours are of the machine below.</p>",
        _html(said_and_measured(results)),
    ]
    titles = {
        "speedup": "One layer: the paper's Figures 2, 4 and 5",
        "peers": "Against the systems people use",
        "scaling": "Scaling",
        "latency": "One sample at a time",
        "accuracy": "Training: the paper's Figure 3",
    }
    tables: dict[str, Table | list[Table]] = {
        "peers": parsed(peer_duel.table(results.latest("peers"))),
        "scaling": [[["fitted"], *([line] for line in _exponents(results))]],
        "latency": parsed(latency.table(results.latest("latency"))),
        "accuracy": parsed(accuracy.table(results.latest("accuracy"))),
    }
    for command, title in titles.items():
        if results.latest(command):
            parts.append(f"<h2>{title}</h2>")
            parts += [_image(path) for path in drawn.get(command, [])]
            parts += [_html(table) for table in tables.get(command, []) if len(table) > 1]
    parts += [
        "<h2>Skipped, refused, failed</h2>",
        _html(rows_table(skipped)),
        "<h2>Machine, versions, commands</h2>",
        _html(machines(results)),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        "<title>fastsnn_np: benchmarks</title>"
        f"<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


_ONCE = ("total", "time", "p50", "accuracy", "import")  # a skipped point is listed once


def _exponents(results: Results) -> list[str]:
    return scaling.exponent_lines(results.latest("scaling"))


def _html(table: Table) -> str:
    head, *rows = table
    cells = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f'<div class="wide"><table><tr>{cells}</tr>{body}</table></div>'


def _image(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<p><img alt="{html.escape(path.stem)}" src="data:image/png;base64,{data}"></p>'
