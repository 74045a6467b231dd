"""The Python in the guides runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = {"own_data.md": ("numpy", ()), "interchange.md": ("exchange", ("nir", "onnx"))}


@pytest.mark.skipif(not DOCS.is_dir(), reason="not in a checkout: the pages are of the sources")
@pytest.mark.parametrize(
    "page", [pytest.param(name, marks=pytest.mark.backend(b)) for name, (b, _) in PAGES.items()]
)
def test_code_of_a_page(page, tmp_path, monkeypatch, capsys):
    for module in PAGES[page][1]:
        pytest.importorskip(module, reason=f"{module} is not installed")
    monkeypatch.chdir(tmp_path)
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert blocks
    names: dict = {}
    for block in blocks:
        exec(block, names)
    capsys.readouterr()
