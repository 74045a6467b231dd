"""Training runs: recipes, checkpoints, killed and resumed runs, what stops them, what they say."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytestmark = [
    pytest.mark.backend("train"),
    pytest.mark.filterwarnings("ignore:hidden layer .* is dead"),  # tiny networks may be
]
torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("lightning", reason="lightning is not installed")

import fastsnn_np as fs  # noqa: E402
from fastsnn_np import cli, plot  # noqa: E402
from fastsnn_np.torch import (  # noqa: E402
    FastSNN,
    StandardSNN,
    estimator,
    fit,
)
from fastsnn_np.torch import recipe as recipes  # noqa: E402
from fastsnn_np.torch._checkpoint import SafetensorsIO  # noqa: E402
from fastsnn_np.torch.classifier import Classifier  # noqa: E402
from fastsnn_np.torch.data import Batches  # noqa: E402
from fastsnn_np.train import _augment, hold_out  # noqa: E402

SMALL = ["--quiet", "--hidden", "30", "--set", "dropout=0.2", "--set", "shift=1"]


@pytest.fixture
def task():
    """Two classes told apart by which half of the inputs fires first."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 120)
    times = rng.integers(10, 20, (120, 12))
    for sample, label in zip(times, labels, strict=True):
        sample[6 * label : 6 * label + 6] -= 10
    return fs.SpikeTimes(times, 20), labels


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
    assert train(*SMALL, "--epochs", "6", "--out", killed) == 1  # refuses to start over
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
        assert cli.main(arguments) == 1
        assert words in capsys.readouterr().err


@pytest.mark.parametrize("engine", ["event", "dense"])
def test_resuming_in_python(task, tmp_path, engine):
    def model():
        torch.manual_seed(0)
        return FastSNN([12, 20, 2], engine=engine, dropout=0.3)

    options = {"batch_size": 20, "schedule": "cosine", "learning_rate": 0.01, "validation": task}
    whole, first, second = model(), model(), model()
    history = fit(whole, *task, epochs=4, **options)

    class StopError(Exception):
        pass

    def stop(x, rng):  # an exception in the third epoch
        if (
            len(list(tmp_path.glob("metrics.csv")))
            and "\n1," in (tmp_path / "metrics.csv").read_text()
        ):
            raise StopError
        return x

    with pytest.raises(StopError):
        fit(first, *task, epochs=4, out=tmp_path, augment=stop, **options)
    resumed = fit(second, *task, epochs=4, out=tmp_path, resume=True, **options)
    assert resumed == history
    for a, b in zip(second.parameters(), whole.parameters(), strict=True):
        assert torch.equal(a, b)
    for other, words in (
        (FastSNN([12, 9, 2], dropout=0.3), r"network: sizes \[12, 20, 2\], now \[12, 9, 2\]"),
        (FastSNN([12, 20, 2], slope=5.0, dropout=0.3), "slope 10.0, now 5.0"),
        (FastSNN([12, 20, 2], learn_beta=False, dropout=0.3), r"'bias', 'beta'\], now \['weight'"),
        (StandardSNN([12, 20, 2]), "network: model FastSNN, now StandardSNN"),
    ):
        with pytest.raises(ValueError, match=words):
            fit(other, *task, epochs=4, out=tmp_path, resume=True, **options)
    for changed, words in (
        ({"learning_rate": 0.02}, "other settings: learning_rate 0.01, now 0.02"),
        ({"batch_size": 30}, "batch_size 20, now 30"),
        ({"seed": 1}, "seed 0, now 1"),
        ({"epochs": 8}, "epochs 4, now 8"),  # a cosine to another end
    ):
        with pytest.raises(ValueError, match=words):
            fit(model(), *task, out=tmp_path, resume=True, **{"epochs": 4, **options, **changed})
    with pytest.raises(ValueError, match="needs out="):
        fit(model(), *task, resume=True)


def test_checkpoints_that_are_none(task, tmp_path):
    fit(FastSNN([12, 5, 2]), *task, epochs=1, out=tmp_path)
    path = tmp_path / "checkpoints" / "last.ckpt"
    good = path.read_bytes()
    size = struct.unpack("<Q", good[:8])[0]
    pickled = tmp_path / "pickled"
    torch.save({"state_dict": {}}, pickled)
    cases = [
        (good[: len(good) // 2], "truncated or no safetensors file"),
        (b"", "truncated or no safetensors file"),
        (pickled.read_bytes(), "truncated or no safetensors file"),
        (good.replace(b'\\"version\\": 1', b'\\"version\\": 9'), "version 9.*install a newer one"),
        (good[:8] + b"{" + b" " * (size - 2) + b"}" + good[8 + size :], "truncated"),
    ]
    for content, words in cases:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=words):
            fit(FastSNN([12, 5, 2]), *task, epochs=2, out=tmp_path, resume=True)
    network = fs.Network.random([2, 2])
    network.save(path)
    with pytest.raises(ValueError, match="no fastsnn_np checkpoint"):
        SafetensorsIO().load_checkpoint(path)
    with pytest.raises(FileNotFoundError):
        SafetensorsIO().load_checkpoint(tmp_path / "nowhere")
    with pytest.raises(TypeError, match=r"checkpoint\.a is <class 'object'>"):
        SafetensorsIO().save_checkpoint({"a": object()}, path)
    assert path.read_bytes()[8:9] == b"{"  # the file before is still whole


def test_checkpoint_keeps_every_kind_and_layout(tmp_path):
    weight = torch.arange(6.0).reshape(2, 3).t()
    tree = {"a": [1, 2.5, None, True, "x"], 3: (torch.ones(2), {"w": weight}), "e": {}}
    SafetensorsIO().save_checkpoint(tree, tmp_path / "c")
    again = SafetensorsIO().load_checkpoint(tmp_path / "c")
    assert again["a"] == tree["a"]
    assert again["e"] == {}
    assert torch.equal(again[3][0], torch.ones(2))
    assert torch.equal(again[3][1]["w"], weight)
    assert again[3][1]["w"].stride() == weight.stride()


def test_engines_train_alike(task):
    """Final accuracies within half a point, in float32, where rounding may part them."""
    accuracies = []
    for engine in ("event", "dense"):
        torch.manual_seed(0)
        model = FastSNN([12, 20, 2], engine=engine)
        history = fit(model, *task, epochs=8, batch_size=20, learning_rate=0.01, validation=task)
        accuracies.append(history[-1]["validation_accuracy"])
    assert min(accuracies) > 0.95
    assert abs(accuracies[0] - accuracies[1]) <= 0.005


def test_an_optimiser_is_carried_on(task):
    """Adam's state passed from one call to the next: two calls of an epoch are one of two."""
    x, labels = task
    network = fs.Network.random([12, 9, 2], seed=0, dtype=np.float64)
    options = {"batch_size": len(labels), "learning_rate": 0.01}
    whole, _, _ = estimator.train(network, x, labels, epochs=4, **options)
    half, state, _ = estimator.train(network, x, labels, epochs=2, **options)
    again, _, _ = estimator.train(half, x, labels, epochs=2, state=state, **options)
    forgot, _, _ = estimator.train(half, x, labels, epochs=2, **options)
    ours, expected = again.layers[0].weight, whole.layers[0].weight
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-9)
    assert np.abs(forgot.layers[0].weight - expected).max() > 1e-4


def test_batches_are_shared_out():
    """Whatever the number of processes: the same samples in the same steps, each once."""
    labels = torch.arange(103)
    x = fs.SpikeTimes(np.arange(103)[:, None] % 7, 7)
    steps = {}
    for world in (1, 2, 3):
        parts = [
            Batches(x, labels, batch_size=10, shuffle=True, seed=5, rank=r, world=world)
            for r in range(world)
        ]
        for part in parts:
            part.epoch = 4
        together = list(zip(*parts, strict=True))
        steps[world] = [sorted(int(i) for batch in step for i in batch.labels) for step in together]
        for step in together:
            sizes = [len(batch.labels) for batch in step]
            shares = [batch.share for batch in step]
            assert shares == [pytest.approx(n * world / sum(sizes)) for n in sizes]
            assert all(torch.equal(torch.from_numpy(b.x.times[:, 0]), b.labels % 7) for b in step)
    assert steps[1] == steps[2] == steps[3]
    assert sorted(i for step in steps[1] for i in step) == list(range(103))
    first, second = (Batches(x, labels, batch_size=200, shuffle=True, seed=5) for _ in range(2))
    second.epoch = 1
    assert not torch.equal(next(iter(first)).labels, next(iter(second)).labels)


def test_penalties_do_what_they_say(task):
    """The count goes down, or the times do while as many fire, with either engine."""
    for engine in ("event", "dense"):
        counts, latencies = [], []
        for options in ({}, {"count_penalty": 0.1}, {"latency_penalty": 0.1}):
            torch.manual_seed(0)
            model = FastSNN([12, 30, 2], engine=engine)
            fit(model, *task, epochs=10, batch_size=20, learning_rate=0.01, **options)
            _, (activity,) = model(task[0], return_activity=True)
            counts.append(float(activity.spikes.detach().mean()))
            latencies.append(float(activity.latency.detach().mean()))
        assert counts[1] < 0.8 * counts[0]
        assert latencies[2] < 0.8 * latencies[0]
        assert counts[2] >= counts[0]


def test_every_fit_trains(task):
    """Also a model that was evaluated before, or trained: with dropout."""
    modes = []

    def look(x, rng):
        modes.append(model.training)
        return x

    model = FastSNN([12, 20, 2], dropout=0.3).eval()
    for _ in range(2):
        fit(model, *task, epochs=1, augment=look)
        assert not model.training
    assert modes == [True, True]


def test_weight_decay_leaves_time_constants_alone(task):
    betas, norms = [], []
    for decay in (0.0, 1.0):
        torch.manual_seed(0)
        model = FastSNN([12, 20, 2])
        fit(model, *task, epochs=40, learning_rate=0.01, weight_decay=decay)
        betas.append(float(model.layers[0].beta.detach().mean()))
        norms.append(float(model.layers[0].weight.detach().norm()))
    assert norms[1] < 0.9 * norms[0]
    assert abs(betas[1] - betas[0]) < 0.05


def test_patience_ends_with_the_best_epoch(task, tmp_path):
    """And a run that it has stopped is over, however often it is resumed."""
    torch.manual_seed(0)
    model = FastSNN([12, 10, 2])
    options = {"validation": task, "learning_rate": 0.3, "batch_size": 20, "out": tmp_path}
    options |= {"epochs": 60, "trainer_options": {"patience": 3}}
    history = fit(model, *task, **options)
    validated = [record["validation_accuracy"] for record in history]
    best = int(np.argmax(validated))
    assert len(history) == best + 4 < 60
    assert validated[-1] < validated[best]
    with torch.no_grad():
        right = (model(task[0]).argmax(-1).numpy() == task[1]).mean()
    assert right == pytest.approx(validated[best])
    again = FastSNN([12, 10, 2])
    assert fit(again, *task, **options, resume=True) == history
    for a, b in zip(again.parameters(), model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_gradient_norm_with_accumulated_batches(task):
    options = {"accumulate_grad_batches": 2}
    history = fit(FastSNN([12, 9, 2]), *task, epochs=1, batch_size=20, trainer_options=options)
    assert history[0]["gradient_norm"] > 0


def test_a_potential_that_overflows_names_its_layer(task):
    for engine in ("event", "dense"):
        model = FastSNN([12, 9, 2], engine=engine)
        with torch.no_grad():
            model.layers[0].weight.fill_(1)
            model.readout.weight.fill_(3e38)
        with pytest.raises(FloatingPointError, match="step 0: the potential of readout is not"):
            fit(model, *task, epochs=1)


def test_history_and_health(task):
    model = FastSNN([12, 20, 10, 2])
    history = fit(model, *task, epochs=2, validation=task)
    keys = {"loss", "accuracy", "gradient_norm", "learning_rate", "validation_accuracy"}
    assert set(history[0]) == keys | {f"{k}.{i}" for k in ("spikes", "silent") for i in (0, 1)}
    _, activities = model(task[0], return_activity=True)
    assert history[-1]["spikes.1"] == pytest.approx(float(activities[1].spikes.detach().mean()))
    alone = fit(FastSNN([12, 20, 2]), *task, epochs=1)
    assert set(alone[0]) == (keys - {"validation_accuracy"}) | {"spikes.0", "silent.0"}
    dead = FastSNN([12, 20, 2], threshold=1e6)
    with pytest.warns(UserWarning, match="hidden layer 0 is dead: none of its 20 neurons"):
        fit(dead, *task, epochs=1, validation=task)


def test_forms_of_input(task):
    """Spike times, events and dense arrays, of NumPy or Torch: the same losses."""
    x, labels = task
    forms = [x, fs.SpikeTimes(torch.tensor(x.times), 20), x.to_events(), x.to_dense()]
    losses = []
    for form in [*forms, torch.from_numpy(x.to_dense())]:
        torch.manual_seed(0)
        losses.append(fit(FastSNN([12, 9, 2]), form, labels, epochs=2)[-1]["loss"])
    assert losses == pytest.approx([losses[0]] * 5, rel=1e-5)


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_precision_clipping_and_early_stopping(task, precision):
    dtype = torch.float64 if precision == "64-true" else torch.float32
    model = StandardSNN([12, 9, 2], slope=10.0, dtype=dtype)
    options = {"precision": precision, "gradient_clip_val": 1.0, "patience": 1}
    history = fit(model, *task, epochs=50, validation=task, trainer_options=options)
    assert len(history) < 50
    assert model.readout.weight.dtype == dtype
    assert np.isfinite(history[-1]["loss"])


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
    with pytest.raises(ValueError, match="of 5 groups leaves one part empty"):
        hold_out(x, labels, 0.05, speakers)


@pytest.mark.parametrize("name", ["bias", "beta"])
@pytest.mark.parametrize("engine", ["event", "dense"])
def test_a_loss_that_is_not_finite_names_the_checkpoint(task, tmp_path, name, engine):
    model = FastSNN([12, 9, 2], engine=engine)

    def poison(x, rng):
        if (tmp_path / "metrics.csv").exists():
            with torch.no_grad():
                getattr(model.layers[0], name).fill_(float("nan"))
        return x

    with pytest.raises(FloatingPointError) as error:
        fit(model, *task, epochs=3, out=tmp_path, augment=poison)
    assert "epoch 1, step 0: layers.0." in str(error.value)
    assert str(tmp_path / "checkpoints" / "last.ckpt") in str(error.value)


def test_the_first_bad_loss_is_remembered_where_none_is_waited_for():
    """As on a GPU, where looking at each step would wait for it."""
    classifier = Classifier(FastSNN([3, 2, 2]))
    classifier._first_bad = torch.tensor(float("inf"))
    for step, loss in enumerate([1.0, float("nan"), 2.0, float("inf")]):
        classifier._remember_bad(torch.tensor(loss), step)
    assert int(classifier._first_bad) == 1


def test_recipes_are_whole():
    for dataset in ("fashion-mnist", "n-mnist", "shd"):
        for name in ("paper", "best"):
            recipe = recipes.load(name, dataset)
            assert recipe.dataset == dataset
    paper = recipes.load("paper", "fashion-mnist")
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
        ("epochs = 0", "epochs must be positive, got 0"),
        ("epochs = 2.5", "epochs must be int, got 2.5"),
        ("hidden = [2.5]", "hidden must be a list of whole numbers"),
        ("hidden = [0]", "hidden must be numbers of neurons"),
        ("tau = -1.0", "tau must be positive, got -1.0"),
        ('readout = "mean"', "readout must be one of 'sum', 'max', got 'mean'"),
        ("hidden = []", "hidden must be numbers of neurons"),
        ("learning_rate = -1.0", "learning_rate must be positive, got -1.0"),
        ("count_penalty = -1.0", "count_penalty must be 0 or more"),
        ("jitter = 1", "jitter must be 0 for recordings, got 1"),
        ("flip = 0.5", "flip must be 0 where mirror images are not alike, got 0.5"),
        ("dropout = 1.0", r"dropout must be in \[0, 1\)"),
        ("patience = 3", "the test data must not say when to stop: set validation_fraction"),
        ("epochs = = 3", "own.toml is no TOML file"),
    ]
    for line, words in cases:
        own.write_text(base + line)
        with pytest.raises(ValueError, match=words):
            recipes.load(own)
    own.write_text('dataset = "shd"\n')
    with pytest.raises(ValueError, match="encoding"):
        recipes.load(own)
    own.write_text(base)
    with pytest.raises(ValueError, match="own.toml is a recipe for 'shd', not for 'n-mnist'"):
        recipes.load(own, "n-mnist")
    with pytest.raises(ValueError, match="no recipe 'nice' for 'shd'; there are .*shd-best"):
        recipes.load("nice", "shd")
    with pytest.raises(ValueError, match="did you mean 'learning_rate'"):
        recipes.parse_changes(["learning-rate=3"])
    with pytest.raises(ValueError, match="key=value"):
        recipes.parse_changes(["epochs"])
    assert recipes.parse_changes(["hidden=[3, 4]", "readout=max", "slope=5"]) == {
        "hidden": [3, 4],
        "readout": "max",
        "slope": 5,
    }


def test_a_run_without_a_checkpoint_can_start_over(tmp_path, capsys, monkeypatch):
    arguments = ["train", "fashion-mnist-sample", "--quiet", "--out", str(tmp_path / "run")]
    arguments += ["--epochs", "1", "--hidden", "5"]
    monkeypatch.setattr("fastsnn_np.train.build", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(arguments)
    assert (tmp_path / "run" / "recipe.json").exists()
    monkeypatch.undo()
    assert cli.main([*arguments, "--seed", "3"]) == 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["seed"] == 3


@pytest.mark.parametrize("change", ["flip=0.5", "shift=2", "jitter=3", "drop=0.3"])
def test_recipes_augment(change):
    plain = recipes.load("best", "fashion-mnist-sample")
    assert _augment(plain) is None
    recipe = plain.with_changes(recipes.parse_changes([change]))
    x = fs.SpikeTimes(np.random.default_rng(0).integers(0, 101, (9, 784)), 100)
    changed = _augment(recipe)(x, np.random.default_rng(0))
    assert not np.array_equal(changed.times, x.times)


def test_the_curve_names_what_was_evaluated_on():
    history = [{"loss": 1.0, "accuracy": 0.5, "validation_accuracy": 0.4}]
    for options, name in (((), "validation"), (("test",), "test")):
        axes = plot.training_curve(history, *options).axes[1]
        labels = [text.get_text() for text in axes.get_legend().get_texts()]
        assert labels == ["training 50.0 %", f"{name} 40.0 %"]


def test_command_line_errors(capsys, tmp_path):
    out = ["--quiet", "--out", str(tmp_path / "run")]
    cases = [
        (["mnist"], "no recipe 'best' for 'mnist'"),
        (["shd", "--root", str(tmp_path)], "shd_train.h5"),
        (["n-mnist", "--root", str(tmp_path)], "Train"),
        (["fashion-mnist", "--root", str(tmp_path)], "train-images-idx3-ubyte.gz"),
        (["fashion-mnist", "--set", "epoch=3"], "did you mean 'epochs'?"),
        (["fashion-mnist-sample", "--devices", "0"], "--devices must be at least 1, got 0"),
        (["fashion-mnist-sample", "--seed", "-1"], "seed must be 0 or more, got -1"),
    ]
    for arguments, words in cases:
        assert cli.main(["train", *arguments, *out]) == 1
        assert words in capsys.readouterr().err


def test_the_example_runs(tmp_path):
    """In the example's own words, on fewer images and for fewer epochs."""
    example = Path(__file__).parents[1] / "examples" / "train_fashion_mnist.py"
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
