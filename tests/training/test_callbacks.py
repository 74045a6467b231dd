"""Health of the layers, and what stops a run that is no longer finite."""

from __future__ import annotations

import math
import warnings

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
from fastsnn_np.torch import FastSNN, fit  # noqa: E402
from fastsnn_np.torch.training import FiniteGuard  # noqa: E402


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


@pytest.mark.filterwarnings("default:hidden layer .* is (dead|mostly silent)")
def test_a_layer_that_is_mostly_silent_is_said_so(task):
    """Once, with what helps."""
    torch.manual_seed(0)
    model = FastSNN([12, 20, 2])
    with torch.no_grad():
        model.layers[0].weight.abs_()
        model.layers[0].weight[:19].zero_()
    words = r"hidden layer 0 is mostly silent: 19 of its 20 neurons.*weight.data \*= 1.5"
    with pytest.warns(UserWarning, match=words) as seen:
        fit(model, *task, epochs=3, validation=task, learning_rate=1e-9)
    assert len(seen) == 1


@pytest.mark.filterwarnings("error:hidden layer .* is (dead|mostly silent)")
@pytest.mark.parametrize("sizes", [[784, 200, 10], [784, 20, 10], [784, 200, 200, 10]])
def test_neurons_that_are_silent_only_to_begin_with_are_no_matter(sizes):
    """The first batch finds a layer dead or mostly silent; some steps later its neurons fire."""
    images, labels = fs.datasets.fashion_mnist_sample("train")
    x = fs.encoding.latency(images[:1000])
    torch.manual_seed(0)
    history = fit(FastSNN(sizes), x, labels[:1000], epochs=2)
    assert history[-1]["silent.0"] < 0.9


@pytest.mark.filterwarnings("default:hidden layer .* is (dead|mostly silent)")
def test_a_layer_must_be_silent_for_some_epochs_to_be_warned_of(task):
    model = FastSNN([12, 20, 2])
    with torch.no_grad():
        model.layers[0].weight.abs_()
        model.layers[0].weight[:19].zero_()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(model, *task, epochs=2, validation=task, learning_rate=1e-9)


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
    guard = FiniteGuard()
    guard._first_bad = torch.tensor(float("inf"))
    for step, loss in enumerate([1.0, float("nan"), 2.0, float("inf")]):
        guard._remember_bad(torch.tensor(loss), step)
    assert int(guard._first_bad) == 1


@pytest.mark.parametrize("clip", [None, 1.0])
def test_six_layers_at_2000_steps_train(clip):
    """Straight-through gradients grow as T^2 a layer: unscaled, their norm is infinite here."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 64)
    times = rng.integers(0, 2000, (64, 20))
    for sample, label in zip(times, labels, strict=True):
        sample[4 * label : 4 * label + 4] = rng.integers(0, 200, 4)
    torch.manual_seed(0)
    model = FastSNN([20, 50, 50, 50, 50, 50, 50, 5])
    with torch.no_grad():
        for layer in model.layers:
            layer.weight.mul_(5)  # spikes reach the readout
    options = {} if clip is None else {"gradient_clip_val": clip}
    x = fs.SpikeTimes(times, 2000)
    history = fit(model, x, labels, epochs=4, batch_size=16, trainer_options=options)
    assert all(math.isfinite(record["gradient_norm"]) for record in history)
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]


@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_gradient_that_is_not_finite_names_its_layer(task, clip):
    model = FastSNN([12, 9, 7, 2])
    model.layers[1].weight.register_hook(lambda gradient: gradient * torch.inf)
    options = {} if clip is None else {"gradient_clip_val": clip}
    with pytest.raises(
        FloatingPointError, match=r"step 0: the gradient of layers\.1\.weight is not"
    ):
        fit(model, *task, epochs=1, trainer_options=options)


def test_gradients_too_large_to_be_squared(task):
    """Adam divides by their squares: infinite ones would stop every parameter, silently."""
    model = FastSNN([12, 9, 2])
    model.layers[0].weight.register_hook(lambda gradient: gradient + 1e30)
    with pytest.raises(
        FloatingPointError, match=r"the square of the gradient of layers\.0\.weight"
    ):
        fit(model, *task, epochs=1)
    before = model.layers[0].weight.detach().clone()
    fit(model.train(), *task, epochs=1, trainer_options={"gradient_clip_val": 1.0})
    assert not torch.equal(model.layers[0].weight, before)


def test_an_optimiser_that_no_longer_moves_is_found(task):
    """Between the steps at which gradients are looked at."""
    model, calls = FastSNN([12, 9, 2]), []

    def late(gradient):
        calls.append(None)
        return gradient + 1e30 * (len(calls) == 3)

    model.layers[0].weight.register_hook(late)
    with pytest.raises(FloatingPointError, match=r"the optimiser's state of layers\.0\.weight"):
        fit(model, *task, epochs=1, batch_size=20)


@pytest.mark.parametrize("value", [0.02, 1e9])
def test_clipping_is_that_of_torch(task, value):
    """Where float32 is enough: the same weights as with Torch's own clipping."""
    x, labels = task
    models = []
    for _ in range(2):
        torch.manual_seed(0)
        models.append(FastSNN([12, 9, 2], dtype=torch.float64))
    options = {"gradient_clip_val": value}
    fit(models[0], x, labels, epochs=1, batch_size=len(labels), trainer_options=options)
    logits = models[1](x)
    torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels)).backward()
    torch.nn.utils.clip_grad_norm_(models[1].parameters(), value)
    torch.optim.Adam(models[1].parameters(), 1e-3).step()
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)
