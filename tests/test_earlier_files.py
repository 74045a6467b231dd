"""What earlier versions have written is still read: a network, recordings, an unfinished run.

Files of commit 5475f46 are in ``tests/data``. Those of a version that does not know an option yet
are made here: what names the option is taken out of a file of today.
"""

from __future__ import annotations

import csv
import json
import shutil
import warnings
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


def without(settings, name):
    return {key: value for key, value in settings.items() if key.rpartition(".")[2] != name}


def state_without(module, name):
    """A `state_dict` whose settings do not name this option, such as "neuron.reset"."""
    import torch

    state, (*outer, last) = module.state_dict(), name.split(".")
    for key in [key for key in state if key.endswith("_extra_state")]:
        settings = inside = json.loads(bytes(state[key].tolist()))
        for part in outer:
            inside = inside.get(part, {})
        inside.pop(last, None)
        state[key] = torch.tensor(list(json.dumps(settings).encode()), dtype=torch.uint8)
    return state


@pytest.mark.backend("torch")
def test_a_state_dict_without_an_option_has_its_default():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from fastsnn_np import Neuron
    from fastsnn_np import torch as ft

    cases = [
        (ft.FastSNN, "slope", {"slope": 5.0}),
        (ft.FastSNN, "threshold", {"threshold": 0.5}),
        (ft.FastSNN, "skip", {"skip": True}),
        (ft.FastSNN, "kind", {"readout": "max"}),
        (ft.StandardSNN, "detach_reset", {"detach_reset": True}),
        (ft.StandardSNN, "slope", {"slope": 10.0}),
        (ft.SpikingSNN, "support", {"support": 0.5}),
        (ft.SpikingSNN, "gamma", {"tau_weight": 5.0}),
        (ft.SpikingSNN, "neuron.refractory", {"neuron": Neuron("always", refractory=3)}),
    ]
    for kind, name, other in cases:
        state, model = state_without(kind([4, 4, 2]), name), kind([4, 4, 2])
        model.load_state_dict(state)
        assert torch.equal(model.readout.weight, state["readout.weight"])
        with pytest.raises(ValueError, match=f"{name.partition('.')[0]} .*, here "):
            kind([4, 4, 2], **other).load_state_dict(state)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A run that was made for one epoch."""
    pytest.importorskip("lightning", reason="lightning is not installed")
    from fastsnn_np.experiments import run_experiment

    folder = tmp_path_factory.mktemp("begun")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run_experiment(recipe_of_one_epoch(), folder)
    return folder


def recipe_of_one_epoch():
    from fastsnn_np.experiments import load_recipe

    changes = {"hidden": [2], "epochs": 1, "n_steps": 12, "schedule": "constant"}
    return load_recipe("best", "fashion-mnist-sample").with_changes(changes)


def rewritten(path, change):
    """The checkpoint at `path`, changed."""
    from fastsnn_np.torch.training.checkpoint import SafetensorsIO

    checkpoint = SafetensorsIO().load_checkpoint(path)
    change(checkpoint)
    SafetensorsIO().save_checkpoint(checkpoint, path)


@pytest.mark.backend("train")
@pytest.mark.filterwarnings("ignore:hidden layer .* is (dead|mostly silent)")
@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_a_run_that_knows_no_option_yet_is_resumed(begun, tmp_path):
    """Every key with a default is taken out of recipe and checkpoint, one after the other."""
    from fastsnn_np.experiments import load_model, run_experiment
    from fastsnn_np.experiments.recipe import DEFAULTS

    recipe, run = recipe_of_one_epoch(), tmp_path / "run"
    shutil.copytree(begun, run)
    content = json.loads((run / "recipe.json").read_text())
    plain = [name for name in DEFAULTS if content[name] == DEFAULTS[name]]
    assert {"slope", "share_beta", "dropout", "patience"} & set(plain) >= {"slope", "dropout"}
    for name in plain:
        del content[name]
    (run / "recipe.json").write_text(json.dumps(content))
    named = ("slope", "gradient", "share_beta", "skip", "dropout", "kind", "label_smoothing")

    def forget(checkpoint):
        for name in named:
            for key in ("architecture", "settings"):
                checkpoint[key] = without(checkpoint[key], name)

    rewritten(run / "checkpoints" / "last.ckpt", forget)
    assert load_model(run).sizes == (784, 2, 10)
    run_experiment(recipe.with_changes({"epochs": 2}), run, resume=True)
    assert len((run / "metrics.csv").read_text().splitlines()) == 3
    assert json.loads((run / "recipe.json").read_text())["slope"] == recipe.slope


@pytest.mark.backend("train")
def test_a_run_that_knows_no_option_yet_had_its_default(begun, tmp_path):
    """What it lacks is not taken to be what is asked for now."""
    from fastsnn_np.experiments import run_experiment
    from fastsnn_np.torch import FastSNN, fit

    run = tmp_path / "run"
    shutil.copytree(begun, run)
    content = json.loads((run / "recipe.json").read_text())
    del content["dropout"]
    (run / "recipe.json").write_text(json.dumps(content))
    recipe = recipe_of_one_epoch().with_changes({"dropout": 0.5})
    with pytest.raises(ValueError, match=r"another recipe: dropout 0.0, now 0.5$"):
        run_experiment(recipe, run, resume=True)
    (run / "recipe.json").write_text(json.dumps({**content, "spin": 1}))
    with pytest.raises(ValueError, match=r"no recipe key 'spin' in .*recipe.json"):
        run_experiment(recipe, run, resume=True)

    def forget(checkpoint):
        checkpoint["architecture"] = without(checkpoint["architecture"], "slope")

    rewritten(run / "checkpoints" / "last.ckpt", forget)
    x, y = fs.SpikeTimes(np.zeros((2, 784), int), 12), np.array([0, 1])
    with pytest.raises(ValueError, match=r"of another network: layers.0.slope 10.0, now 5.0"):
        fit(FastSNN([784, 2, 10], slope=5.0), x, y, epochs=1, out=run, resume=True)


@pytest.mark.backend("train")
@pytest.mark.filterwarnings("ignore:hidden layer .* is (dead|mostly silent)")
def test_a_run_goes_on_with_more_to_say_of_an_epoch(tmp_path):
    """Its table has a column for what the first epochs had not."""
    from fastsnn_np.torch import FastSNN, fit

    task = fs.SpikeTimes(np.zeros((4, 3), int), 5), np.array([0, 1, 0, 1])
    fit(FastSNN([3, 2, 2]), *task, epochs=1, out=tmp_path)
    options = {"validation": task, "patience": 5}
    history = fit(FastSNN([3, 2, 2]), *task, epochs=2, out=tmp_path, resume=True, **options)
    first, second = csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines())
    assert first["validation_accuracy"] == ""
    assert float(second["validation_accuracy"]) == history[1]["validation_accuracy"]
