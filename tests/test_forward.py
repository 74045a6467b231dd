"""`forward`: the function people call."""

from __future__ import annotations

import numpy as np
import pytest
from networks import NAMED

import fastsnn_np as fs
from fastsnn_np import reference


@pytest.fixture
def network():
    return fs.Network.random([12, 9, 7, 3], seed=3)


@pytest.fixture
def x(rng):
    return rng.random((5, 12, 40)) < 0.3


def by_reference(x, network):
    """Spike times of each layer and logits in float64, layer by layer."""
    times, spikes = [], np.asarray(x, np.float64)
    for layer in network.layers:
        out = reference.layer(
            spikes,
            layer.weight.astype(float),
            layer.bias,
            beta=layer.beta,
            threshold=layer.threshold,
            input_scale=layer.input_scale,
        )
        times.append(out.times)
        spikes = fs.SpikeTimes(out.times, x.shape[-1]).to_dense(np.float64)
    last = network.readout
    out = reference.readout(
        spikes,
        last.weight.astype(float),
        last.bias,
        beta=last.beta,
        kind=last.kind,
        input_scale=last.input_scale,
    )
    return times, out.logits


def check(lib, result, x, network):
    times, logits = by_reference(x, network)
    for ours, expected in zip(result.spike_times, times, strict=True):
        np.testing.assert_array_equal(lib.to_numpy(ours), expected)
    for count, expected in zip(result.spike_counts, times, strict=True):
        np.testing.assert_array_equal(lib.to_numpy(count), (expected < x.shape[-1]).sum(-1))
    np.testing.assert_allclose(lib.to_numpy(result.logits), logits, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(lib.to_numpy(result.prediction), logits.argmax(-1))


def test_follows_x(lib, x, network, tmp_path):
    """backend=None: where x is, in its library, with no backend module needed."""
    network.save(tmp_path / "n.safetensors")
    there = lib.asarray(x)
    result = fs.forward(there, tmp_path / "n.safetensors")
    check(lib, result, x, network)
    from fastsnn_np._namespace import namespace

    namespace(x=there, times=result.spike_times[0], logits=result.logits)


def test_without_a_network(lib, rng):
    x = 6 * rng.random((2, 3, 50))
    result = fs.forward(lib.asarray(x), return_potential=True)
    judge = reference.layer(x, beta=np.exp(-0.1), return_potential=True)
    np.testing.assert_array_equal(lib.to_numpy(result.spike_times[0]), judge.times)
    np.testing.assert_allclose(lib.to_numpy(result.potentials[0]), judge.potential, atol=1e-4)
    assert result.logits is None
    assert result.prediction is None


@pytest.mark.parametrize("backend", NAMED, indirect=True)
@pytest.mark.parametrize("form", ["dense", "spike times", "events"])
def test_named_backends(backend, form, rng, network):
    times = rng.integers(0, 60, (5, 12))
    spikes = fs.SpikeTimes(np.minimum(times, 40), 40)
    dense = spikes.to_dense()
    x = {"dense": dense, "spike times": spikes, "events": spikes.to_events()}[form]
    result = fs.forward(x, network, backend=backend, return_potential=True)
    library = fs.backends.get(backend)
    assert isinstance(result.logits, type(library.asarray(dense)))

    class Host:
        to_numpy = staticmethod(fs.backends.get("numpy").asarray)

    check(Host, result, dense, network)
    assert [tuple(v.shape) for v in result.potentials] == [(5, 9, 40), (5, 7, 40), (5, 3, 40)]
    summed = Host.to_numpy(result.potentials[-1]).sum(-1)
    np.testing.assert_allclose(summed, Host.to_numpy(result.logits), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backend", NAMED, indirect=True)
def test_batches_change_nothing(backend, x, network):
    to_numpy = fs.backends.get("numpy").asarray
    whole = fs.forward(x, network, backend=backend, return_potential=True)
    for form in (x, fs.Events.from_dense(x)):
        parts = fs.forward(form, network, backend=backend, batch_size=2, return_potential=True)
        for name in ("spike_times", "spike_counts", "potentials"):
            for a, b in zip(getattr(whole, name), getattr(parts, name), strict=True):
                np.testing.assert_allclose(to_numpy(a), to_numpy(b), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(
            to_numpy(whole.logits), to_numpy(parts.logits), rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("backend", NAMED, indirect=True)
def test_empty_batch(backend, network):
    result = fs.forward(np.zeros((0, 12, 5)), network, backend=backend)
    assert [tuple(t.shape) for t in result.spike_times] == [(0, 9), (0, 7)]
    assert tuple(result.logits.shape) == (0, 3)
    assert tuple(result.prediction.shape) == (0,)


@pytest.mark.parametrize("backend", NAMED, indirect=True)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(backend, x, network, value):
    bad = x.astype(np.float32)
    bad[2, 3, 4] = value
    words = rf"x, as \(batch, neurons, time\), holds {value} at index \(2, 3, 4\)"
    for net in (network, None):
        with pytest.raises(ValueError, match=words):
            fs.forward(bad, net, backend=backend)
    with np.errstate(invalid="ignore"):
        fs.forward(bad, network, backend=backend, check_finite=False)


@pytest.mark.parametrize("backend", NAMED, indirect=True)
def test_overflow_and_spoilt_weights_are_named(backend, x, network):
    huge = fs.Network((fs.Layer(np.full((2, 12), 3e38, np.float32)),), fs.Readout(W22))
    with pytest.raises(ValueError, match="the potential of layer 0 overflows"):
        fs.forward(x, huge, backend=backend)
    network.layers[1].weight[2, 3] = np.nan
    with pytest.raises(ValueError, match=r"weight.* holds nan at index \(2, 3\)"):
        fs.forward(x, network, backend=backend)


W22 = np.ones((2, 2), np.float32)


def test_overflow_of_spikes_is_named_in_any_library(lib):
    """Booleans and integers are finite, and are not asked whether they are."""
    huge = fs.Network((fs.Layer(np.full((2, 3), 3e38, np.float32)),), fs.Readout(W22))
    for dtype in (np.bool_, np.int32):
        spikes = lib.asarray(np.ones((1, 3, 4)), dtype)
        with pytest.raises(ValueError, match="the potential of layer 0 overflows"):
            fs.forward(spikes, huge.mapped(lib.asarray))


@pytest.mark.parametrize("backend", NAMED, indirect=True)
def test_read_only_and_non_contiguous_input(backend, x, network):
    expected = fs.forward(x, network, backend="numpy").prediction
    frozen = x.astype(np.float32)
    frozen.flags.writeable = False
    reversed_twice = np.ascontiguousarray(x[:, :, ::-1])[:, :, ::-1]
    strided = np.repeat(x, 2, axis=0)[::2]
    fortran = np.asfortranarray(x)
    for form in (frozen, reversed_twice, strided, fortran):
        result = fs.forward(form, network, backend=backend)
        got = fs.backends.get("numpy").asarray(result.prediction)
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.uint16, np.int64, np.float64])
def test_dtypes_of_x(x, network, dtype):
    expected = fs.forward(x, network)
    result = fs.forward(x.astype(dtype), network)
    assert result.logits.dtype == network.dtype
    np.testing.assert_array_equal(result.logits, expected.logits)


@pytest.mark.parametrize(("layout", "axes"), [("btn", (0, 2, 1)), ("tbn", (2, 0, 1))])
def test_layouts(lib, x, network, tmp_path, layout, axes):
    network.save(tmp_path / "n.safetensors")
    there = lib.asarray(np.ascontiguousarray(x.transpose(axes)))
    result = fs.forward(there, tmp_path / "n.safetensors", layout=layout)
    check(lib, result, x, network)


def test_max_readout_and_methods(x):
    network = fs.Network.random([12, 9, 3], seed=1, readout="max", input_scale="normalised")
    for layer in network.layers:
        layer.weight[:] *= 20
    for method in ("block", "fft"):
        result = fs.forward(x, network, method=method)
        times, logits = by_reference(x, network)
        np.testing.assert_array_equal(result.spike_times[0], times[0])
        np.testing.assert_allclose(result.logits, logits, rtol=1e-5, atol=1e-6)
    assert result.spike_counts[0].sum() > 0


def test_a_network_without_hidden_layers(x):
    network = fs.Network((), fs.Readout(np.ones((3, 12), np.float32)))
    result = fs.forward(x, network)
    assert result.spike_times == ()
    np.testing.assert_allclose(result.logits, by_reference(x, network)[1], rtol=1e-5)


X = np.zeros((2, 12, 5), np.float32)

BAD = [
    (lambda n: fs.forward(X[0], n), r"shape \(12, 5\), layout 'bnt' expects \(batch, neurons, ti"),
    (lambda n: fs.forward(X[0], n), r"x\[None\]"),
    (lambda n: fs.forward(X[:, :, :0], n), "0 steps in layout 'bnt'"),
    (
        lambda n: fs.forward(X, n, layout="btn"),
        r"x has 5 neurons.*\(2, 12, 5\) and layout 'btn' is \(batch, time, neurons\).*expects 12",
    ),
    (lambda n: fs.forward(X, n, layout="nbt"), "'bnt', 'btn', 'tbn'"),
    (lambda n: fs.forward(X, n, backend="jax"), "no backend 'jax'; known: numpy, numba"),
    (lambda n: fs.forward(X, n, device="cuda"), "needs backend"),
    (lambda n: fs.forward(X, n, backend="numpy", device="cuda"), "live on 'cpu', not on 'cuda'"),
    (lambda n: fs.forward(X, n, batch_size=0), "batch_size"),
    (lambda n: fs.forward(X, n, method="scan"), "'block', 'fft'"),
    (lambda n: fs.forward(X, n, method="fft", backend="numba"), "numba has its own"),
    (lambda n: fs.forward(fs.Events.from_dense(X), n, layout="tbn"), "is for dense arrays"),
    (lambda n: fs.forward(fs.SpikeTimes(np.zeros((2, 5), int), 4), n), "expects 12"),
]


@pytest.mark.parametrize(("call", "words"), BAD, ids=range(len(BAD)))
def test_bad_calls(call, words, network):
    with pytest.raises(ValueError, match=words):
        call(network)


def test_bad_types(network):
    with pytest.raises(TypeError, match="must be an array"):
        fs.forward([[[1.0]]], network)
    with pytest.raises(TypeError, match=r"Network or a path, got dict"):
        fs.forward(X, {})
    with pytest.raises(TypeError, match="float16.*use float32"):
        fs.forward(X.astype(np.float16), network)


def test_a_network_in_another_library_is_refused(lib, network):
    if lib.name == "numpy":
        pytest.skip("needs a library that is not NumPy")
    with pytest.raises(TypeError, match=r"nothing is moved silently.*network\.(to|mapped)\("):
        fs.forward(lib.asarray(X), network)
