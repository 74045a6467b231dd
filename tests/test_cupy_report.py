"""The report of `nox -s gpu`, rehearsed on the stand-in CuPy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cuda_emulator
import pytest

pytestmark = pytest.mark.backend("cupy")
SCRIPT = Path(__file__).with_name("gpu_report.py")


def run(folder, *arguments):
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={"PYTHONPATH": str(SCRIPT.parents[1])},
    )


def test_an_absent_gpu_is_no_pass(cupys, tmp_path):
    if "standin" not in cupys:
        pytest.skip("a GPU is here, or --backend=cupy was not given")
    done = run(tmp_path)
    assert done.returncode != 0 and "no GPU here" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(cuda_emulator.missing() is not None, reason=f"{cuda_emulator.missing()}")
def test_rehearsal(cupys, tmp_path):
    if "standin" not in cupys:
        pytest.skip("a GPU is here, or --backend=cupy was not given")
    done = run(tmp_path, "--rehearse")
    report = (tmp_path / "gpu-report.md").read_text()
    assert done.returncode == 0, report
    assert "NO GPU, and no time here means anything" in report
    assert "float64: 5 networks" in report and " 0 arrays differ" in report
    assert "WRONG" not in report and report.endswith("All parts ran.\n")
