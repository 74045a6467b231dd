"""Runs as people start them: killed and resumed, refused, drawn; and the example."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytestmark = [
    pytest.mark.backend("train"),
    pytest.mark.filterwarnings(
        "ignore:hidden layer .* is (dead|mostly silent)"
    ),  # tiny networks may be
]
torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("lightning", reason="lightning is not installed")

import fastsnn_np as fs  # noqa: E402
from fastsnn_np import cli, plot  # noqa: E402
from fastsnn_np.experiments import (  # noqa: E402
    load_data,
    load_model,
    load_recipe,
    run_experiment,
)

SMALL = ["--quiet", "--hidden", "30", "--set", "dropout=0.2", "--set", "shift=1"]


def start(*arguments):
    command = [sys.executable, "-m", "fastsnn_np", "train", "fashion-mnist-sample", *arguments]
    return subprocess.Popen(command)


def train(*arguments):
    return start(*arguments).wait()


def weights(folder):
    network = fs.Network.load(folder / "network.safetensors")
    parts = (*network.layers, network.readout)
    return [array for part in parts for array in (part.weight, part.bias, part.beta)]


def test_a_killed_run_resumes_to_the_same_weights(tmp_path):
    """kill -9 in the middle of an epoch; dropout and augmentation on."""
    unbroken, killed = tmp_path / "unbroken", tmp_path / "killed"
    assert train(*SMALL, "--epochs", "6", "--out", unbroken) == 0
    process = start(*SMALL, "--epochs", "6", "--out", killed)
    metrics = killed / "metrics.csv"
    while not (metrics.is_file() and len(metrics.read_text().splitlines()) >= 3):
        assert process.poll() is None
        time.sleep(0.002)
    time.sleep(0.03)  # into the next epoch
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "network.safetensors").exists()
    assert train(*SMALL, "--epochs", "6", "--out", killed) == 2  # refuses to start over
    assert train(*SMALL, "--epochs", "6", "--out", killed, "--resume") == 0
    assert metrics.read_text() == (unbroken / "metrics.csv").read_text()
    for a, b in zip(weights(killed), weights(unbroken), strict=True):
        np.testing.assert_array_equal(a, b)
    summary = json.loads((killed / "summary.json").read_text())
    assert summary["epochs"] == 6
    assert summary["accuracy"] == sum(np.diag(summary["confusion"])) / 1000
    assert max(summary["spikes_per_sample"]) <= 30
    for name in ("activity", "confusion", "training"):
        assert (killed / f"{name}.png").stat().st_size > 10_000


def test_resuming_asks_for_the_same_run(tmp_path, capsys):
    options = ["--quiet", "--out", str(tmp_path / "run")]
    start = ["train", "fashion-mnist-sample", "--epochs", "1", "--hidden", "5", *options]
    start += ["--set", "validation_fraction=0.3"]
    assert cli.main(start) == 0
    said = capsys.readouterr().out
    assert "1400 training, 600 validation, 1000 test samples: test accuracy" in said
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    validated = (tmp_path / "run" / "metrics.csv").read_text().splitlines()[1].split(",")[5]
    assert summary["validation_accuracy"] == float(validated)
    assert (600 * summary["validation_accuracy"]) % 1 == pytest.approx(0, abs=1e-6)
    cases = [
        (start, "holds a run already: continue it with resume"),
        ([*start, "--resume", "--hidden", "6"], r"another recipe: hidden [5], now [6]"),
        ([*start, "--resume", "--seed", "1"], "seed 0, now 1"),
    ]
    for arguments, words in cases:
        assert cli.main(arguments) == 2
        assert words in capsys.readouterr().err


def test_a_run_without_a_checkpoint_can_start_over(tmp_path, capsys, monkeypatch):
    arguments = ["train", "fashion-mnist-sample", "--quiet", "--out", str(tmp_path / "run")]
    arguments += ["--epochs", "1", "--hidden", "5"]
    monkeypatch.setattr("fastsnn_np.experiments.experiment.build_model", lambda *_: 1 / 0)
    assert cli.main(arguments) == 1
    assert "train: ZeroDivisionError: division by zero (FASTSNN_TRACEBACK=1" in (
        capsys.readouterr().err
    )
    assert (tmp_path / "run" / "recipe.json").exists()
    monkeypatch.undo()
    assert cli.main([*arguments, "--seed", "3"]) == 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["seed"] == 3


def test_the_curve_names_what_was_evaluated_on():
    history = [{"loss": 1.0, "accuracy": 0.5, "validation_accuracy": 0.4}]
    for options, name in (((), "validation"), (("test",), "test")):
        axes = plot.training_curve(history, *options).axes[1]
        labels = [text.get_text() for text in axes.get_legend().get_texts()]
        assert labels == ["training 50.0 %", f"{name} 40.0 %"]


def test_command_line_errors(capsys, tmp_path):
    out = ["--quiet", "--out", str(tmp_path / "run")]
    cases = [
        (["mnist"], "no data set 'mnist'; did you mean 'n-mnist'? There are 'fashion"),
        (["shd", "--root", str(tmp_path)], "shd_train.h5"),
        (["n-mnist", "--root", str(tmp_path)], "Train"),
        (["fashion-mnist", "--root", str(tmp_path)], "train-images-idx3-ubyte.gz"),
        (["fashion-mnist", "--set", "epoch=3"], "did you mean 'epochs'?"),
        (
            ["fashion-mnist-sample", "--devices", "0"],
            "--devices must be a whole number of at least 1, got 0",
        ),
        (
            ["fashion-mnist-sample", "--seed", "-1"],
            "--seed must be a whole number of at least 0 and below 2^63, got -1",
        ),
    ]
    for arguments, words in cases:
        assert cli.main(["train", *arguments, *out]) == 2
        assert words in capsys.readouterr().err


def test_the_example_runs(tmp_path):
    """In the example's own words, on fewer images and for fewer epochs."""
    example = Path(__file__).parents[2] / "examples" / "train_fashion_mnist.py"
    source = example.read_text()
    assert len(source.splitlines()) <= 40
    short = tmp_path / "short.py"
    assert "epochs=20" in source
    short.write_text(source.replace("epochs=20", "epochs=1"))
    done = subprocess.run(
        [sys.executable, short], capture_output=True, text=True, cwd=tmp_path, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    assert "accuracy" in done.stdout
    assert len(list(tmp_path.glob("*/*.png"))) >= 3


@pytest.mark.parametrize("model", ["fast", "standard", "spiking"])
def test_the_model_of_a_run(tmp_path, model):
    """What `load_model` reads classifies as the run's summary says."""
    changes = {"model": model, "hidden": [6], "epochs": 1, "n_steps": 12}
    spiking = {"adaptation": "threshold", "recurrent": True, "support": 0.7}
    changes |= spiking if model == "spiking" else {"surrogate": "arctan"}
    recipe = load_recipe("best", "fashion-mnist-sample").with_changes(changes)
    summary = run_experiment(recipe, tmp_path)
    x, labels = load_data(recipe).test
    trained = load_model(tmp_path)
    assert not trained.training
    if model == "spiking":
        assert trained.layers[0].recurrent is not None and trained.layers[0].support == 0.7
    else:
        assert trained.layers[0].surrogate == "arctan"
    with torch.no_grad():
        accuracy = (trained(x).argmax(-1).numpy() == labels).mean()
    assert accuracy == pytest.approx(summary["accuracy"], abs=0.002)
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "nowhere")
