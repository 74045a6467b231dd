"""A network in one compiled call: the same as its layers one after another."""

from __future__ import annotations

import numpy as np
import pytest

import fastsnn_np as fs
from fastsnn_np.backends.event import layers as engine
from fastsnn_np.backends.event import networks
from fastsnn_np.backends.event.networks import LayerParameters

pytestmark = pytest.mark.backend("numba")
CLOSE = {np.float32: {"rtol": 2e-5, "atol": 2e-5}, np.float64: {"rtol": 1e-11, "atol": 1e-11}}


def network_of(rng, sizes, scale, dtype, *, order="C", factors=None):
    gain = 12 if scale == "normalised" else 2.5
    factors = factors or [1.0] * len(sizes)
    layers = []
    for i, (inputs, neurons) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        weight = gain / np.sqrt(inputs) * rng.uniform(-1, 1, (neurons, inputs))
        layers.append(
            LayerParameters(
                np.asarray(weight, dtype, order),
                rng.uniform(-0.1, 0.1, neurons).astype(dtype) if i != 1 else None,
                rng.uniform(0.3, 0.98, neurons).astype(dtype),
                scale,
                0.9,
                factors[i],
            )
        )
    return layers


def layer_by_layer(x, layers, dlogits, *, summed, papers, passes, initial, activity, dtype):
    """The same with the functions of one layer."""
    rows, steps = engine.rows_of(x, np.dtype(dtype)), x.n_steps
    kept, times = [], []
    for i, layer in enumerate(layers):
        weight = layer.weight * dtype(layer.factor)
        weights = engine.weights_of(weight, layer.bias, layer.beta, layer.input_scale)
        start = None if initial is None else initial[i]
        if i == len(layers) - 1:
            read = engine.readout(rows, weights, summed=summed, initial=start)
            break
        out = engine.layer(rows, weights, threshold=layer.threshold, initial=start)
        kept.append((rows, weights, out, start))
        times.append(out.times)
        fired = out.times
        if passes is not None and passes[i] is not None:
            fired = np.where(passes[i], fired, np.int32(steps))
        rows = engine.rows_of_times(fired, steps, np.dtype(dtype))
    found = engine.readout_backward(rows, weights, read, dlogits, summed=summed, initial=start)
    gradients = [found]
    for i in range(len(kept) - 1, -1, -1):
        above = np.ascontiguousarray(weights.weight.T)
        rows, weights, out, start = kept[i]
        found = engine.layer_backward(
            rows,
            weights,
            out,
            found.current,
            above,
            threshold=layers[i].threshold,
            slope=7.0,
            paper=papers[i],
            initial=start,
            keep_current=True,
            dropout=None if passes is None else passes[i],
            activity=None if activity is None else activity[i],
        )
        gradients.append(found)
    return read.logits, times, gradients[::-1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("summed", [True, False])
@pytest.mark.parametrize("sizes", [[11, 4], [11, 70, 4], [11, 20, 33, 9, 4]])
@pytest.mark.parametrize("options", ["plain", "everything"])
def test_as_layer_by_layer(dtype, summed, sizes, options, rng):
    steps, batch, hidden = 60, 7, len(sizes) - 2
    scale = "unit" if summed else "normalised"
    factors, passes, initial, activity = None, None, None, None
    if options == "everything":
        factors = [1.0, *[1.25] * hidden]
        passes = [rng.random((batch, n)) < 0.7 if n != 33 else None for n in sizes[1:-1]]
        initial = [rng.standard_normal((batch, n)).astype(dtype) for n in sizes[1:]]
        activity = [tuple(rng.standard_normal((2, batch)).astype(dtype)) for _ in range(hidden)]
    order = "F" if options == "everything" else "C"
    layers = network_of(rng, sizes, scale, dtype, order=order, factors=factors)
    papers = [bool(i % 2) for i in range(hidden)]
    x = fs.SpikeTimes(rng.integers(0, steps + 20, (batch, 11)).clip(max=steps), steps)
    dlogits = rng.standard_normal((batch, 4)).astype(dtype)
    logits, times, expected = layer_by_layer(
        x,
        layers,
        dlogits,
        summed=summed,
        papers=papers,
        passes=passes,
        initial=initial,
        activity=activity,
        dtype=dtype,
    )
    network = networks.prepared(layers)
    for given in (x, engine.rows_of(x, np.dtype(dtype))):
        run = networks.network_forward(
            given, network, summed=summed, initial=initial, passes=passes
        )
        np.testing.assert_allclose(run.logits, logits, **CLOSE[dtype])
        for ours, theirs in zip(run.times, times, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        found = networks.network_backward(
            network,
            run,
            dlogits,
            slopes=[7.0] * hidden,
            papers=papers,
            activity=activity,
            keep_current=True,
        )
        for i, (ours, theirs) in enumerate(zip(found.layers, expected, strict=True)):
            largest = np.abs(theirs.weight).max() or 1
            weight = theirs.weight * (1.0 if factors is None else factors[i])
            for a, b in ((ours.weight, weight), (ours.bias, theirs.bias), (ours.beta, theirs.beta)):
                np.testing.assert_allclose(a / largest, b / largest, **CLOSE[dtype])
            assert ours.weight.T.flags.c_contiguous == layers[i].weight.flags.c_contiguous
        first = expected[0].current
        largest = np.abs(first).max() or 1
        np.testing.assert_allclose(found.current / largest, first / largest, **CLOSE[dtype])


def test_what_is_handed_down_can_be_scaled(rng):
    """Only the gradients of the layers below change, and in proportion."""
    layers = network_of(rng, [11, 20, 13, 4], "unit", np.float64)
    network = networks.prepared(layers)
    x = fs.SpikeTimes(rng.integers(0, 40, (5, 11)), 40)
    run = networks.network_forward(x, network, summed=True)
    dlogits = rng.standard_normal((5, 4))
    options = {"slopes": [5.0, 5.0], "papers": [False, True]}
    plain = networks.network_backward(network, run, dlogits, **options).layers
    scaled = networks.network_backward(network, run, dlogits, **options, handed=[0.5, 4.0]).layers
    for before, after, factor in zip(plain, scaled, (2.0, 4.0, 1.0), strict=True):
        np.testing.assert_allclose(after.weight, factor * before.weight, rtol=1e-12)


def test_what_does_not_fit_is_refused(rng):
    layers = network_of(rng, [11, 20, 4], "unit", np.float32)
    network = networks.prepared(layers)
    with pytest.raises(ValueError, match="x has 5 neurons and the network expects 11"):
        networks.network_forward(fs.SpikeTimes(np.zeros((2, 5), np.int32), 9), network, summed=True)
    with pytest.raises(ValueError, match="x has 20 neurons and layer 1 expects 11"):
        networks.prepared([layers[0], layers[0]])
