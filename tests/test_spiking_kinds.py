"""Every kind of neuron: the reference against the plain loop that Torch differentiates."""

from __future__ import annotations

import numpy as np
import pytest
from neurons import KINDS, layer_of, train_of

import fastsnn_np as fs
from fastsnn_np import agreement, reference


@pytest.mark.backend("torch")
@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("recurrent", [False, True])
def test_the_reference_is_torchs_loop(kind, recurrent, rng):
    """`SpikingLIF` was written before the reference, on its own."""
    import torch

    from fastsnn_np.torch import SpikingLIF

    scale = ("unit", "normalised")[int(rng.integers(2))]
    layer = layer_of(rng, 9, 11, kind, recurrent=recurrent, scale=scale)
    layer = fs.Layer(**{**vars(layer), "threshold": 0.9})
    module = SpikingLIF(
        9, 11, neuron=kind, recurrent=recurrent, threshold=0.9, input_scale=scale,
        dtype=torch.float64,
    )  # fmt: skip
    with torch.no_grad():
        module.weight.copy_(torch.tensor(layer.weight))
        module.bias.copy_(torch.tensor(layer.bias))
        module.beta.copy_(torch.tensor(layer.beta))
        for name in ("recurrent", "rho", "a", "b"):
            if getattr(layer, name) is not None:
                given = np.minimum(getattr(layer, name), 0.1 if name == "a" else np.inf)
                getattr(module, name).copy_(torch.tensor(given))
                layer = fs.Layer(**{**vars(layer), name: given})
    x = train_of(rng, 3, 9, 50).astype(float)
    found = reference.spiking_layer(x, layer)
    np.testing.assert_array_equal(found.spikes, module(torch.tensor(x)).detach().numpy() > 0)
    assert 0.02 < found.spikes.mean() < 0.98


def trains(recurrent=False):
    """Two samples of three neurons over six steps, of which one is nearly at its threshold once."""
    rng = np.random.default_rng(0)
    distance = rng.choice([-0.5, 0.5], (2, 3, 6))
    distance[0, 1, 2] = 1e-7
    return distance > 0, distance, {"dtype": np.float32, "recurrent": recurrent}


@pytest.mark.parametrize("recurrent", [False, True])
def test_trains_are_compared_up_to_a_near_tie(recurrent):
    expected, distance, options = trains(recurrent)
    left_out = 12 if recurrent else 4  # the sample's, or the neuron's, from its third step on
    agreed = agreement.spike_trains(expected, expected, distance, **options)
    assert agreed == agreement.TrainAgreement(36 - left_out, left_out, 1, 0)
    for place, seen in (((0, 1, 1), 1), ((0, 1, 2), 0), ((0, 1, 5), 0), ((0, 0, 4), not recurrent)):
        other = expected.copy()
        other[place] ^= True
        found = agreement.spike_trains(other, expected, distance, **options)
        assert found.different == seen
        assert found.ok == (not seen)
    wide = agreement.spike_trains(~expected, expected, distance, dtype=np.float64)
    assert wide == agreement.TrainAgreement(36, 0, 0, 36)
    assert str(wide) == "0/36 (0 left out, 0 near-ties)"


def test_many_near_ties_are_no_agreement():
    few = agreement.TrainAgreement(90, 10, 1, 0)
    assert few.ok
    assert not sum([few] * 99, few).ok  # 100 near-ties in 10,000 neuron-steps
    assert not agreement.TrainAgreement(9_000, 1_000, 11, 0).ok
    assert agreement.TrainAgreement(9_000, 1_000, 10, 0).ok
