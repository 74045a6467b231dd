"""Recipes: what ships, what is refused, and the data that they ask for."""

from __future__ import annotations

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
from fastsnn_np.experiments import DATA_SETS, Recipe, build_model, hold_out, load_recipe  # noqa: E402
from fastsnn_np.experiments.data import augmentation  # noqa: E402
from fastsnn_np.experiments.recipe import parse_changes  # noqa: E402
from fastsnn_np.torch import SpikingSNN  # noqa: E402


def test_held_out_samples(task):
    x, labels = task
    (kept, kept_labels), (held, held_labels) = hold_out(x, labels, 0.25)
    assert (len(kept), len(held)) == (90, 30)
    both = np.concatenate([kept.times, held.times])
    rows = np.concatenate([kept_labels, held_labels])
    order = np.lexsort(np.column_stack([both, rows]).T)
    expected = np.column_stack([x.times, labels])
    assert np.array_equal(
        np.column_stack([both, rows])[order], expected[np.lexsort(expected.T)]
    )  # every sample once, with its label
    again = hold_out(x, labels, 0.25)[1][0]
    assert np.array_equal(again.times, held.times)
    with pytest.raises(ValueError, match=r"validation_fraction=0.001 of 120 samples leaves one"):
        hold_out(x, labels, 0.001)


def test_held_out_groups_are_whole(task):
    x, labels = task
    speakers = np.arange(120) % 5
    (kept, _), (held, _) = hold_out(x, labels, 0.4, speakers)
    assert (len(kept), len(held)) == (72, 48)
    found = {tuple(row) for row in held.times.tolist()}
    held_speakers = {int(s) for s, row in zip(speakers, x.times.tolist(), strict=True)
                     if tuple(row) in found}  # fmt: skip
    assert len(held_speakers) == 2
    folds = [set(hold_out(x, speakers, 0.4, speakers, fold=fold)[1][1]) for fold in range(3)]
    assert folds[0].isdisjoint(folds[1])
    assert folds[0] | folds[1] | folds[2] == set(range(5))
    with pytest.raises(ValueError, match="of 5 groups leaves one part empty"):
        hold_out(x, labels, 0.05, speakers)


def test_recipes_are_whole():
    for dataset in ("fashion-mnist", "n-mnist", "shd"):
        for name in ("paper", "best"):
            recipe = load_recipe(name, dataset)
            assert recipe.dataset == dataset
    paper = load_recipe("paper", "fashion-mnist")
    assert (paper.epochs, paper.hidden, paper.learning_rate) == (150, (200,), 2e-4)
    assert (paper.gradient, paper.readout, paper.slope) == ("paper", "max", 100.0)
    # as its authors' code: no factor 1 - beta, and a decay that is learnt
    assert (paper.input_scale, paper.learn_beta) == ("unit", True)
    assert not paper.shift and not paper.dropout


def test_bad_recipes(tmp_path):
    own = tmp_path / "own.toml"
    base = 'dataset = "shd"\nencoding = "events"\n'
    cases = [
        ("epoch = 3", "no recipe key 'epoch' in own.toml; did you mean 'epochs'?"),
        ("epochs = 0", "epochs must be a whole number of at least 1, got 0"),
        ("epochs = 2.5", "epochs must be a whole number, got 2.5"),
        ("hidden = [2.5]", "hidden must be a list of whole numbers"),
        ("hidden = [0]", "hidden must be numbers of neurons"),
        ("tau = -1.0", "tau must be positive and finite, got -1.0"),
        ('readout = "mean"', "readout must be one of 'sum', 'max', got 'mean'"),
        ("hidden = []", "hidden must be numbers of neurons"),
        ("learning_rate = -1.0", "learning_rate must be positive and finite, got -1.0"),
        ("count_penalty = -1.0", "count_penalty must be 0 or more"),
        ("jitter = 1", "jitter must be 0 for recordings, got 1"),
        ("flip = 0.5", "flip must be 0 where mirror images are not alike, got 0.5"),
        ("dropout = 1.0", r"dropout must lie in \[0, 1\), got 1.0"),
        ("patience = 3", "the test data must not say when to stop: set validation_fraction"),
        ("blend = 1.5", r"blend must lie in \[0, 1\), got 1.5"),
        ("recurrent = true", "recurrent must be False with model = .fast., which has no choice"),
        ('adaptation = "current"', "adaptation must be 'none' with model = .fast."),
        ('model = "spiking"\nreadout = "max"', "readout must be 'sum' with model = .spiking."),
        ('model = "spiking"\ngradient = "paper"', "gradient must be 'straight_through' with"),
        ('model = "spiking"\nprecision = "bf16-mixed"', "precision must be 32-true or 64-true"),
        ("epochs = = 3", "own.toml is no TOML file"),
    ]
    for line, words in cases:
        own.write_text(base + line)
        with pytest.raises(ValueError, match=words):
            load_recipe(own)
    own.write_text('dataset = "shd"\n')
    with pytest.raises(ValueError, match="encoding"):
        load_recipe(own)
    own.write_text(base)
    with pytest.raises(ValueError, match="own.toml is a recipe for 'shd', not for 'n-mnist'"):
        load_recipe(own, "n-mnist")
    with pytest.raises(ValueError, match="no recipe 'nice' for 'shd'; there are .*shd-best"):
        load_recipe("nice", "shd")
    with pytest.raises(ValueError, match="did you mean 'learning_rate'"):
        parse_changes(["learning-rate=3"])
    with pytest.raises(ValueError, match="key=value"):
        parse_changes(["epochs"])
    assert parse_changes(["hidden=[3, 4]", "readout=max", "slope=5"]) == {
        "hidden": [3, 4],
        "readout": "max",
        "slope": 5,
    }


@pytest.mark.parametrize("change", ["flip=0.5", "shift=2", "jitter=3", "drop=0.3"])
def test_recipesaugmentation(change):
    plain = load_recipe("best", "fashion-mnist-sample")
    assert augmentation(plain) is None
    recipe = plain.with_changes(parse_changes([change]))
    x = fs.SpikeTimes(np.random.default_rng(0).integers(0, 101, (9, 784)), 100)
    changed = augmentation(recipe)(x, np.random.default_rng(0))
    assert not np.array_equal(changed.times, x.times)


def test_every_option_of_a_recipe_reaches_the_model():
    changes = {"tau": 5.0, "tau_readout": 8.0, "dt": 2.0, "learn_beta": False, "readout": "max"}
    changes |= {"input_scale": "normalised", "slope": 3.0, "surrogate": "arctan", "hidden": [4, 5]}
    recipe = load_recipe("best", "fashion-mnist-sample").with_changes(changes)
    for name in ("fast", "standard"):
        model = build_model(recipe.with_changes({"model": name, "dropout": 0.3}), 7, 3)
        assert model.sizes == (7, 4, 5, 3)
        assert model.dt == 2.0
        layer = model.layers[0]
        assert (layer.slope, layer.surrogate, layer.input_scale) == (3.0, "arctan", "normalised")
        assert layer.beta.mean().item() == pytest.approx(np.exp(-2 / 5))
        assert model.readout.beta.mean().item() == pytest.approx(np.exp(-2 / 8))
        assert model.readout.kind == "max" and not layer.beta.requires_grad
    paper = build_model(recipe.with_changes({"gradient": "paper", "dropout": 0.3}), 7, 3)
    assert (paper.layers[0].gradient, paper.dropout) == ("paper", 0.3)
    wide = build_model(recipe.with_changes({"precision": "64-true"}), 7, 3)
    assert wide.readout.weight.dtype == torch.float64


def test_a_recipe_with_neurons_that_fire_again():
    recipe = load_recipe("record", "shd").with_changes({"refractory": 2, "dropout": 0.25})
    model = build_model(recipe, 7, 3)
    assert isinstance(model, SpikingSNN) and model.dropout == 0.25
    layer = model.layers[0]
    assert layer.neuron == fs.Neuron("always", "subtract", "before decay", 2, "current")
    assert layer.support == 0.5 and layer.recurrent is not None
    assert model.readout.gamma == pytest.approx(np.exp(-4 / 1000))
    plain = build_model(load_recipe("best", "shd").with_changes({"model": "spiking"}), 7, 3)
    assert plain.layers[0].recurrent is None and plain.layers[0].support == np.inf
    assert plain.readout.gamma == 1


def test_blended_recordings_get_their_labels():
    recipe = load_recipe("record", "shd").with_changes({"shift": 0, "shift_time": 1})
    x = fs.Events.from_arrays([3, 4, 5], [1, 2, 3], [0, 1, 2], n_neurons=700, n_steps=250)
    changed = augmentation(recipe)(x, np.random.default_rng(0), labels=np.arange(3))
    assert changed.shape == x.shape
    assert changed.n_events == 3  # each is the only one of its class


def test_records_of_data_sets():
    """A recipe takes any data set that has a record; each of them has recipes."""
    for name, data_set in DATA_SETS.items():
        assert load_recipe("best", name).data_set is data_set
    with pytest.raises(ValueError, match="dataset must be one of 'fashion-mnist', .* got 'mnist'"):
        Recipe(dataset="mnist", encoding="latency")


@pytest.mark.parametrize("name", ["n-mnist", "shd"])
def test_recordings_are_shifted_as_they_are_arranged(name):
    """Rows and columns of a sensor, or channels: by one, at most."""
    recipe = load_recipe("best", name).with_changes({"shift": 1})
    n = {"n-mnist": 34 * 34, "shd": 700}[name]
    centre = n // 2 + (17 if name == "n-mnist" else 0)
    x = fs.Events.from_arrays([0] * 60, [centre] * 60, range(60), n_neurons=n, n_steps=2)
    moved = augmentation(recipe)(x, np.random.default_rng(0)).indices - centre
    near = [-1, 0, 1]
    expected = near if name == "shd" else [34 * row + column for row in near for column in near]
    assert sorted(set(moved.tolist())) == expected
