"""`fit`: what it learns and counts, engines, penalties, precision, patience."""

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
from fastsnn_np import augment  # noqa: E402
from fastsnn_np.torch import FastSNN, StandardSNN, fit  # noqa: E402
from fastsnn_np.torch.training import Batches, estimator  # noqa: E402


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
    whole, _, _ = estimator.fit_network(network, x, labels, epochs=4, **options)
    half, state, _ = estimator.fit_network(network, x, labels, epochs=2, **options)
    again, _, _ = estimator.fit_network(half, x, labels, epochs=2, state=state, **options)
    forgot, _, _ = estimator.fit_network(half, x, labels, epochs=2, **options)
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


def test_augmentation_with_labels(task):
    """It gets those of its own batch."""
    x, labels = task
    seen = []

    @augment.with_labels
    def look(batch, rng, labels):
        seen.append((np.asarray(batch.times), labels))
        return batch

    fit(FastSNN([12, 20, 2]), x, labels, epochs=1, augment=look)
    own = {tuple(times): label for times, label in zip(x.times, labels, strict=True)}
    pairs = [pair for batch in seen for pair in zip(*batch, strict=True)]
    assert len(pairs) == len(x)
    assert all(own[tuple(times)] == label for times, label in pairs)
    with pytest.raises(TypeError, match="callable"):
        augment.with_labels(3)


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
    import lightning.pytorch as pl

    weights = []

    class Keeper(pl.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            weights.append(pl_module.model.readout.weight.detach().clone())

    torch.manual_seed(0)
    model = FastSNN([12, 10, 2])
    options = {"validation": task, "learning_rate": 0.3, "batch_size": 20, "out": tmp_path}
    options |= {"epochs": 60, "patience": 3}
    history = fit(model, *task, **options, callbacks=[Keeper()])
    validated = [record["validation_accuracy"] for record in history]
    best = int(np.argmax(validated))
    assert len(history) == len(weights) == best + 4 < 60
    assert torch.equal(model.readout.weight, weights[best])
    assert not torch.equal(weights[best], weights[-1])
    with torch.no_grad():
        right = (model(task[0]).argmax(-1).numpy() == task[1]).mean()
    assert right == pytest.approx(validated[best])
    again = FastSNN([12, 10, 2])
    assert fit(again, *task, **options, resume=True) == history
    for a, b in zip(again.parameters(), model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_an_epoch_that_is_not_evaluated_has_no_accuracy(task):
    """Neither that of an epoch before, nor the health of its layers."""
    options = {"epochs": 4, "validation": task, "batch_size": 20}
    every_other = {"trainer_options": {"check_val_every_n_epoch": 2}}
    history = fit(FastSNN([12, 9, 2]), *task, **options, **every_other)
    evaluated = ["validation_accuracy" in record for record in history]
    assert evaluated == [False, True, False, True]
    assert "silent.0" in history[1] and "silent.0" not in history[2]
    ended = fit(FastSNN([12, 9, 2]), *task, **options, trainer_options={"max_steps": 3})
    assert "loss" in ended[0]


def test_gradient_norm_with_accumulated_batches(task):
    options = {"accumulate_grad_batches": 2}
    history = fit(FastSNN([12, 9, 2]), *task, epochs=1, batch_size=20, trainer_options=options)
    assert history[0]["gradient_norm"] > 0


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
    options = {"precision": precision, "gradient_clip_val": 1.0}
    history = fit(model, *task, epochs=50, validation=task, patience=1, trainer_options=options)
    assert len(history) < 50
    assert model.readout.weight.dtype == dtype
    assert np.isfinite(history[-1]["loss"])


@pytest.mark.parametrize("name", ["patience", "callbacks"])
def test_what_is_a_parameter_of_fit_is_no_option_of_the_trainer(task, name):
    with pytest.raises(TypeError, match=f"'{name}', which is a parameter of fit: give {name}="):
        fit(FastSNN([12, 9, 2]), *task, epochs=1, trainer_options={name: 1})


def test_callbacks_of_ones_own(task):
    import lightning.pytorch as pl

    class Counter(pl.Callback):
        steps = 0

        def on_train_batch_end(self, *args):
            self.steps += 1

    counter = Counter()
    fit(FastSNN([12, 9, 2]), *task, epochs=2, batch_size=30, callbacks=[counter])
    assert counter.steps == 8


def test_bad_options(task):
    model = FastSNN([12, 9, 2])
    cases = [
        ({"learning_rate": 0.0}, ValueError, "learning_rate must be positive and finite, got 0.0"),
        ({"schedule": "linear"}, ValueError, "schedule must be one of 'constant', 'cosine'"),
        ({"weight_decay": -1}, ValueError, "weight_decay must be 0 or more and finite, got -1"),
        ({"label_smoothing": 1}, ValueError, r"label_smoothing must lie in \[0, 1\), got 1"),
        ({"batch_size": 0}, ValueError, "batch_size must be a whole number of at least 1, got 0"),
        ({"patience": 0.5}, ValueError, "patience must be a whole number of at least 1, got 0.5"),
        ({"momentum": 0.9}, TypeError, "momentum"),
    ]
    for options, error, words in cases:
        with pytest.raises(error, match=words):
            fit(model, *task, epochs=1, **options)


def test_training_says_what_it_reached(task, capsys, caplog):
    """The bar shows loss and accuracy; a line, printed and logged, says how the last epoch went."""
    caplog.set_level("INFO", logger="fastsnn_np")
    history = fit(FastSNN([12, 20, 2]), *task, epochs=2, validation=task, progress=True)
    said = capsys.readouterr()
    bar, line = said.out + said.err, said.err.strip().splitlines()[-1]
    for name in ("loss=", "accuracy=", "validation_accuracy="):
        assert name in bar
    assert line == (
        f"epoch 2 of 2: loss {history[1]['loss']:.4g}, accuracy {history[1]['accuracy']:.4g}, "
        f"validation accuracy {history[1]['validation_accuracy']:.4g}"
    )
    assert line in caplog.text
    fit(FastSNN([12, 20, 2]), *task, epochs=1)
    assert not capsys.readouterr().err


def test_test_data_is_called_that(task):
    history = fit(FastSNN([12, 9, 2]), *task, epochs=1, validation=task, evaluated_on="test")
    assert "test_accuracy" in history[0] and "validation_accuracy" not in history[0]
    for options in ({"validation": task, "evaluated_on": "test"}, {}):
        with pytest.raises(ValueError, match="patience needs validation data that is held out"):
            fit(FastSNN([12, 9, 2]), *task, epochs=1, patience=1, **options)
    with pytest.raises(ValueError, match="evaluated_on must be one of 'validation', 'test'"):
        fit(FastSNN([12, 9, 2]), *task, epochs=1, evaluated_on="training")


def test_an_optimiser_of_another_network_is_refused(task):
    x, labels = task
    network = fs.Network.random([12, 9, 2], seed=0)
    _, state, _ = estimator.fit_network(network, x, labels, epochs=1)
    other = fs.Network.random([12, 8, 2], seed=0)
    with pytest.raises(ValueError, match=r"exp_avg of parameter 0 is torch.float32 of shape \(9"):
        estimator.fit_network(other, x, labels, epochs=1, state=state)
