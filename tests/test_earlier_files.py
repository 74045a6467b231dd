"""What commit 5475f46 has written is still read: a network, recordings, an unfinished run."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

import fastsnn_np as fs
from fastsnn_np.datasets import _cache

FILES = Path(__file__).parent / "data" / "5475f46"


def test_a_network():
    """``Network.random([5, 4, 3], seed=0, threshold=0.8, dt=0.5, readout="max")``."""
    network = fs.Network.load(FILES / "network.safetensors")
    expected = fs.Network.random([5, 4, 3], seed=0, threshold=0.8, dt=0.5, readout="max")
    assert network.sizes == (5, 4, 3)
    assert (network.dt, network.layers[0].threshold, network.readout.kind) == (0.5, 0.8, "max")
    for ours, theirs in ((network.layers[0], expected.layers[0]), (network.readout,) * 2):
        for name in ("weight", "bias", "beta"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


def test_recordings_in_the_cache():
    path = FILES / "recordings.safetensors"
    events, labels = _cache._read(path, "0123456789abcdef", (6, 4), n_classes=3)
    expected = fs.Events.from_arrays(
        [0, 3, 3, 1], [2, 0, 5, 1], [0, 0, 1, 2], n_neurons=6, n_steps=4
    )
    np.testing.assert_array_equal(events.to_dense(), expected.to_dense())
    np.testing.assert_array_equal(labels, [1, 0, 2])


@pytest.mark.backend("train")
@pytest.mark.filterwarnings("ignore:hidden layer .* is dead")
@pytest.mark.filterwarnings("ignore:The dirpath has changed")  # Lightning: a run was moved
def test_a_run_is_resumed(tmp_path):
    """Stopped after the first of two epochs, with patience, dropout, shifts and held-out data.

    What the two epochs gave there is stored beside it: the first comes from the checkpoint, the
    second is computed here, where rounding may move a few samples.
    """
    pytest.importorskip("lightning", reason="lightning is not installed")
    from fastsnn_np.experiments import load_model, load_recipe, run_experiment

    shutil.copytree(FILES / "run", tmp_path / "run")
    changes = {"hidden": [2], "epochs": 2, "dropout": 0.2, "shift": 1}
    changes |= {"validation_fraction": 0.1, "patience": 5}
    recipe = load_recipe("best", "fashion-mnist-sample").with_changes(changes)
    run_experiment(recipe, tmp_path / "run", seed=1, resume=True)
    found, expected = (
        list(csv.DictReader((tmp_path / "run" / name).read_text().splitlines()))
        for name in ("metrics.csv", "metrics-of-both-epochs.csv")
    )
    assert found[0] == expected[0]
    assert list(found[1]) == list(expected[1])
    for name in ("loss", "accuracy", "validation_accuracy", "spikes.0"):
        assert float(found[1][name]) == pytest.approx(float(expected[1][name]), rel=0.02)
    model = load_model(tmp_path / "run")
    assert model.sizes == (784, 2, 10)
    assert model.dropout == 0.2
