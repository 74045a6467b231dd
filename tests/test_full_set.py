"""All 10,000 test images of Fashion-MNIST: every backend predicts the same from a saved network."""

from __future__ import annotations

import os

import numpy as np
import pytest

pytestmark = [
    pytest.mark.backend("torch"),
    pytest.mark.skipif("FASTSNN_DATA" not in os.environ, reason="FASTSNN_DATA is not set"),
]
torch = pytest.importorskip("torch", reason="torch is not installed")

import fastsnn_np as fs  # noqa: E402
from fastsnn_np import agreement, reference  # noqa: E402
from fastsnn_np.datasets import fashion_mnist, fashion_mnist_sample  # noqa: E402
from fastsnn_np.encoding import latency  # noqa: E402
from fastsnn_np.torch import FastSNN, fit  # noqa: E402


def explained(x, network, dtype):
    """Whether rounding decides something in this one sample: a hidden spike, or the best logit."""
    layer, last = network.layers[0], network.readout
    judge = reference.layer(
        x.to_dense(np.float64),
        layer.weight.astype(np.float64),
        layer.bias,
        beta=layer.beta,
        input_scale=layer.input_scale,
        return_potential=True,
    )
    _, inside = agreement.inside_bound(judge.potential, dtype=dtype)
    logits = reference.readout(
        fs.SpikeTimes(judge.times, x.n_steps).to_dense(np.float64),
        last.weight.astype(np.float64),
        last.bias,
        beta=last.beta,
        input_scale=last.input_scale,
    ).logits[0]
    second, best = np.sort(logits)[-2:]
    return inside.any() or best - second <= 1e-5 * np.abs(logits).max()


def test_same_predictions_everywhere(tmp_path):
    images, labels = fashion_mnist_sample("train")
    x = latency(images)
    torch.manual_seed(0)
    model = FastSNN([784, 200, 10])
    fit(model, fs.SpikeTimes(torch.tensor(x.times), x.n_steps), labels, epochs=2)
    path = tmp_path / "network.safetensors"
    model.to_network().save(path)

    images, labels = fashion_mnist("test", download=False)
    x = latency(images)
    results = {
        name: fs.forward(x, path, backend=name, batch_size=500)
        for name in ("numpy", "numba", "torch")
    }
    first = results["numpy"].prediction
    assert (first == labels).mean() > 0.6
    for name, result in results.items():
        prediction = fs.backends.get("numpy").asarray(result.prediction)
        different = np.flatnonzero(prediction != first)
        assert len(different) < 0.0005 * len(labels), (name, different)
        network = fs.Network.load(path)
        assert all(explained(x[i : i + 1], network, np.float32) for i in different)
        for times in map(fs.backends.get("numpy").asarray, result.spike_times):
            assert times.min() >= 0
            assert times.max() <= x.n_steps
