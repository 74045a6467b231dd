"""Checkpoints: resuming in Python, files that are none, every kind of content."""

from __future__ import annotations

import json
import struct

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
from fastsnn_np.torch import FastSNN, StandardSNN, fit  # noqa: E402
from fastsnn_np.torch.training import SafetensorsIO, checkpoint  # noqa: E402


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
    assert again[3][1]["w"].is_contiguous()


def _spoiled(path, change):
    """The checkpoint at `path` with `change` made to what it holds."""
    io = SafetensorsIO()
    content = io.load_checkpoint(path)
    change(content)
    io.save_checkpoint(content, path)


def _adam(checkpoint):
    return checkpoint["optimizer_states"][0]["state"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: _adam(c)[0].update(exp_avg=torch.zeros(2, 3)), r"exp_avg of .* \(2, 3\), and"),
        (lambda c: _adam(c)[0].update(exp_avg_sq=torch.zeros(1)), r"exp_avg_sq of .* \(1,\), and"),
        (
            lambda c: _adam(c)[1].update(exp_avg=torch.zeros(5).double()),
            "is torch.float64 of shape",
        ),
        (lambda c: _adam(c)[1].update(exp_avg=[0.0] * 5), "is no tensor"),
        (lambda c: _adam(c)[2].update(step=torch.zeros(3)), "the optimiser's step is"),
        (lambda c: _adam(c)[2].update(step=torch.tensor(-1.0)), "the optimiser's step is"),
        (lambda c: _adam(c)[2].pop("exp_avg"), "that of Adam is step, exp_avg, exp_avg_sq"),
        (lambda c: _adam(c).update({17: _adam(c)[0]}), "has a parameter 17"),
        (lambda c: c["optimizer_states"][0].update(state=3), "optimiser's state must be a dict"),
        (
            lambda c: c["state_dict"].update({"model.layers.0.weight": torch.zeros(5, 11)}),
            "does not",
        ),
        (
            lambda c: c["state_dict"].update({"model.readout.bias": torch.zeros(2).double()}),
            r"model\.readout\.bias is torch\.float64 of shape \(2,\), and torch\.float32",
        ),
        (lambda c: c["state_dict"].pop("model.readout.bias"), r"readout\.bias is missing"),
        (lambda c: c["state_dict"].update(other=torch.zeros(1)), "other is no parameter of this"),
        (lambda c: c.pop("state_dict"), "state_dict"),
        (lambda c: c.pop("optimizer_states"), "optimizer_states"),
        (lambda c: c.pop("history"), "history"),
        (lambda c: c.pop("loops"), "loops"),
        (lambda c: c.update(loops={"fit_loop": {}}), "last.ckpt does not continue this run"),
        (lambda c: c.update(architecture=[1]), "last.ckpt does not continue this run"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(task, tmp_path, change, words):
    """Shapes and dtypes of parameters and optimiser, before fused kernels read out of bounds."""
    fit(FastSNN([12, 5, 2]), *task, epochs=1, out=tmp_path)
    _spoiled(tmp_path / "checkpoints" / "last.ckpt", change)
    with pytest.raises(ValueError, match=words):
        fit(FastSNN([12, 5, 2]), *task, epochs=2, out=tmp_path, resume=True)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_a_transposed_checkpoint_is_continued(task, tmp_path, weight_decay):
    """As weights and their optimiser's state were stored before version 0.2."""
    options = {"weight_decay": weight_decay, "learning_rate": 0.01}
    models = []
    for name in ("whole", "half"):
        torch.manual_seed(0)
        models.append(FastSNN([12, 5, 2]))
        epochs = 2 if name == "whole" else 1
        fit(models[-1], *task, epochs=epochs, out=tmp_path / name, **options)
    path = tmp_path / "half" / "checkpoints" / "last.ckpt"
    header, tensors = checkpoint._FORMAT.read(path)
    text = json.dumps(header)
    for name, tensor in tensors.items():
        if tensor.ndim == 2:
            tensors[name] = tensor.t().contiguous()
            text = text.replace(f'{{"tensor": "{name}"}}', f'{{"transposed": "{name}"}}')
    assert text.count('"transposed"') == 6
    checkpoint._FORMAT.write(path, json.loads(text), tensors)
    again = FastSNN([12, 5, 2])
    fit(again, *task, epochs=2, out=tmp_path / "half", resume=True, **options)
    for a, b in zip(again.parameters(), models[0].parameters(), strict=True):
        assert torch.equal(a, b)
