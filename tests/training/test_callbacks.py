"""Health of the layers, and what stops a run that is no longer finite."""

from __future__ import annotations

import pytest

pytestmark = [
    pytest.mark.backend("train"),
    pytest.mark.filterwarnings("ignore:hidden layer .* is dead"),  # tiny networks may be
]
torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("lightning", reason="lightning is not installed")

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
