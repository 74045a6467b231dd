"""Checkpoints: resuming in Python, files that are none, every kind of content."""

from __future__ import annotations

import struct

import pytest

pytestmark = [
    pytest.mark.backend("train"),
    pytest.mark.filterwarnings("ignore:hidden layer .* is dead"),  # tiny networks may be
]
torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("lightning", reason="lightning is not installed")

import fastsnn_np as fs  # noqa: E402
from fastsnn_np.torch import FastSNN, StandardSNN, fit  # noqa: E402
from fastsnn_np.torch.training import SafetensorsIO  # noqa: E402


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
