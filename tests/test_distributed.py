"""Training in several processes: the same run, and what happens when one of them dies."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.backend("reach")
pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("lightning", reason="lightning is not installed")

import fastsnn_np as fs  # noqa: E402

# 2,000 images in batches of 120: the last batch of an epoch, of 80, is shared out too
EXACT = ["--set", "precision=64-true"]
OPTIONS = ["--quiet", "--hidden", "40", "--set", "batch_size=120", "--set", "learning_rate=0.0003"]


def start(out, *arguments, devices):
    command = [sys.executable, "-m", "fastsnn_np", "train", "fashion-mnist-sample", *OPTIONS]
    command += [*arguments, "--devices", str(devices), "--out", str(out)]
    log = (out.parent / f"{out.name}.log").open("a")
    with log:
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def finish(process, out, seconds=120):
    code = process.wait(timeout=seconds)
    return code, (out.parent / f"{out.name}.log").read_text()


def losses(out):
    with (out / "metrics.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def test_two_processes_train_as_one(tmp_path):
    """The same batches: the same loss curve and weights; in float64, where no spike flips."""
    one, two = tmp_path / "one", tmp_path / "two"
    for out, devices in ((one, 1), (two, 2)):
        code, log = finish(start(out, *EXACT, "--epochs", "3", devices=devices), out)
        assert code == 0, log
        assert log.count("test accuracy") == 1  # one process reports
    np.testing.assert_allclose(losses(two), losses(one), rtol=1e-6)
    networks = [fs.Network.load(out / "network.safetensors") for out in (one, two)]
    a, b = (network.readout.weight for network in networks)
    assert np.abs(a - b).max() < 1e-7 * np.abs(a).max()


def test_a_process_that_dies_ends_the_run(tmp_path):
    """kill -9 one of two: the run ends and says so; one process carries on from the checkpoint."""
    out, whole = tmp_path / "run", tmp_path / "whole"
    process = start(out, *EXACT, "--epochs", "20", devices=2)
    metrics = out / "metrics.csv"
    deadline = time.monotonic() + 90
    while not (metrics.is_file() and len(metrics.read_text().splitlines()) >= 3):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    children = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True
    ).stdout.split()
    ranks = [p for p in children if b"fastsnn_np" in Path(f"/proc/{p}/cmdline").read_bytes()]
    os.kill(int(ranks[0]), signal.SIGKILL)
    code, log = finish(process, out, seconds=60)
    assert code != 0
    assert re.search(r"process .*(died|terminated)", log), log
    seen = len(losses(out))
    code, log = finish(start(out, *EXACT, "--epochs", "20", "--resume", devices=1), out)
    assert code == 0, log
    resumed = losses(out)
    assert len(resumed) == 20 and seen < 12
    code, log = finish(start(whole, *EXACT, "--epochs", "20", devices=1), whole)
    assert code == 0, log
    # rounding grows until a spike flips, some 15 epochs on; what was resumed is right before that
    compared = seen + 3
    np.testing.assert_allclose(resumed[:compared], losses(whole)[:compared], rtol=1e-5)
