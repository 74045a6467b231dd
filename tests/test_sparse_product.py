"""Sparse spikes in the dense engine: the sparse product of every library against dense trains."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks import SCALES, make

import fastsnn_np as fs
from conftest import examples
from fastsnn_np import agreement, backends
from fastsnn_np._currents import takes_product
from fastsnn_np.spikes import _compressed, compressed

SHARED = settings(
    max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@st.composite
def sparse_cases(draw):
    """A layer and its input as `SpikeTimes` or as `Events` with sizes, densities 0 to 60 %."""
    case = make(
        draw(st.integers(0, 2**32 - 1)),
        dtype=draw(st.sampled_from([np.float32, np.float64])),
        batch=draw(st.integers(1, 5)),
        inputs=draw(st.integers(1, 12)),
        neurons=draw(st.integers(1, 16)),
        steps=draw(st.integers(1, 300)),
        input_scale=draw(st.sampled_from(SCALES)),
        density=draw(st.sampled_from([0.0, 0.01, 0.1, 0.6])),
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if draw(st.booleans()):
        batch, inputs, steps = case.x.shape
        x = fs.SpikeTimes(rng.integers(0, steps + 1, (batch, inputs)), steps)
    else:
        sample, neuron, step = np.nonzero(case.x)
        twice = np.concatenate([np.arange(len(step))] * 2)  # repeated events add
        x = fs.Events.from_arrays(
            step[twice],
            neuron[twice],
            sample[twice],
            n_samples=len(case.x),
            n_neurons=case.x.shape[1],
            n_steps=case.x.shape[2],
            values=rng.choice([-1.5, -0.0, 0.0, 0.25, 2.0], len(twice)).astype(case.dtype),
        )
    object.__setattr__(case, "x", x.to_dense(dtype=case.dtype))
    return case, x


def there(lib, x):
    """Sparse spikes of a library; events live on the host."""
    return fs.SpikeTimes(lib.asarray(x.times), x.n_steps) if isinstance(x, fs.SpikeTimes) else x


@given(drawn=sparse_cases())
@SHARED
def test_spikes_are_those_of_the_reference(lib, drawn):
    case, x = drawn
    if case.dtype == np.float64 and not lib.has_float64():
        return
    weight, bias, beta, initial = map(
        lib.asarray, (case.weight, case.bias, case.beta, case.initial)
    )
    out = fs.layer(
        there(lib, x),
        weight,
        bias,
        beta=beta,
        initial_potential=initial,
        input_scale=case.input_scale,
        return_potential=True,
    )
    judge = case.reference()
    times, potential = lib.to_numpy(out.times), lib.to_numpy(out.potential)
    result = agreement.spike_times(times, judge.potential, dtype=case.dtype, scale=case.scale())
    assert result.different == 0, result
    error = np.abs(potential - judge.potential).max() / max(1e-30, case.scale().max())
    assert error <= agreement.POTENTIAL_TOLERANCE[case.dtype.name]


@given(drawn=sparse_cases())
@SHARED
def test_the_product_takes_any_density(lib, drawn):
    """Also beyond the density up to which it is worth it, and as the transpose."""
    case, x = drawn
    if case.dtype == np.float64 and not lib.has_float64():
        return
    product = backends.of(lib.xp).sparse_product
    if product is None:
        return
    like = lib.asarray(case.weight)
    matrix = compressed(there(lib, x), like)
    dense = case.x.transpose(0, 2, 1).reshape(matrix.shape)
    found = lib.to_numpy(product(matrix, lib.asarray(np.ascontiguousarray(case.weight.T))))
    tolerance = {"rtol": 1e-5, "atol": 1e-4}
    np.testing.assert_allclose(found, dense @ case.weight.T, **tolerance)
    current = np.random.default_rng(0).standard_normal((matrix.shape[0], 3)).astype(case.dtype)
    found = lib.to_numpy(product(matrix.transposed, lib.asarray(current)))
    np.testing.assert_allclose(found, dense.T @ current, **tolerance)


NETWORK = fs.Network.random([12, 30, 8, 3], seed=0)
for _layer in NETWORK.layers:
    _layer.weight[:] *= 6


@pytest.mark.parametrize("batch", [0, 1, 300])
@pytest.mark.parametrize("form", ["SpikeTimes", "Events", "dense"])
def test_chunks_change_nothing(lib, batch, form):
    """A batch is computed in chunks that stay in cache, down to none and one sample."""
    rng = np.random.default_rng(1)
    times = fs.SpikeTimes(rng.integers(0, 1001, (batch, 12)), 1000)
    x = {"SpikeTimes": times, "Events": times.to_events(), "dense": times.to_dense()}[form]
    network = NETWORK.mapped(lib.asarray)
    x = lib.asarray(x) if form == "dense" else there(lib, x)
    whole = fs.forward(x, network, engine="dense")
    parts = fs.forward(x, network, engine="dense", batch_size=7)
    assert whole.logits.shape == (batch, 3)
    for ours, theirs in zip(whole.spike_times, parts.spike_times, strict=True):
        np.testing.assert_array_equal(lib.to_numpy(ours), lib.to_numpy(theirs))
    np.testing.assert_allclose(
        lib.to_numpy(whole.logits), lib.to_numpy(parts.logits), rtol=1e-4, atol=1e-4
    )


def test_a_data_set_needs_no_batch_size():
    """The potentials of 60,000 samples would take 2.9 GB; a chunk's take two megabytes."""
    times = np.full((60_000, 4), 120, np.int32)
    times[:, 0] = 3
    network = fs.Network.random([4, 100, 2], seed=0)
    forward = fs.prepare(network, backend="numpy", engine="dense")
    forward(fs.SpikeTimes(times[:1], 120))  # imports
    tracemalloc.start()
    forward(fs.SpikeTimes.unchecked(times, 120))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200e6


def test_the_density_decides(caplog):
    """Few events go through the sparse product, many are made dense; `explain` tells."""
    rng = np.random.default_rng(0)
    few, many = (
        fs.Events.from_dense((rng.random((4, 12, 60)) < p).astype(np.float32)) for p in (0.02, 0.6)
    )
    assert takes_product(backends.get("numpy"), few)
    assert not takes_product(backends.get("numpy"), many)
    with caplog.at_level("WARNING", "fastsnn_np"):
        fs.forward(few, NETWORK, engine="dense", explain=True)
        fs.forward(many, NETWORK, engine="dense", explain=True)
        fs.forward(few.to_dense(), NETWORK, explain=True)
        fs.forward(many.to_dense(), NETWORK, explain=True)
    lines = [record.getMessage() for record in caplog.records]
    assert "; by the sparse product, at a density of" in lines[0]
    assert "; made dense, at a density of" in lines[1]
    assert "SpikeTimes or Events would be multiplied" in lines[2]
    assert lines[3] == "engine 'dense': x is dense"


def test_a_nan_is_found_by_its_event():
    events = fs.Events.from_arrays([0, 1, 2], [0, 1, 2], n_neurons=12, n_steps=60)
    values = np.array([1.0, np.nan, 1.0], np.float32)
    events = fs.Events.unchecked(events.indptr, events.indices, 12, values)
    with pytest.raises(ValueError, match=r"x\.values, by event,.*\[1\]|x\.values, by event,.*1"):
        fs.forward(events, NETWORK, engine="dense")


@pytest.mark.backend("strict")
def test_spike_times_elsewhere_are_refused():
    import array_api_strict as xp

    weight = xp.asarray(NETWORK.layers[0].weight)
    times = np.zeros((2, 12), np.int32)
    with pytest.raises(TypeError, match="x is a numpy array and weight is a array_api_strict"):
        fs.currents(fs.SpikeTimes(times, 5), weight)
    elsewhere = xp.asarray(times, device=xp.Device("device1"))
    with pytest.raises(ValueError, match="x is on device .* and weight on"):
        fs.currents(fs.SpikeTimes(elsewhere, 5), weight)


@pytest.mark.parametrize(("size", "name"), [(2**31 - 1, "int32"), (2**31, "int64")])
def test_indices_at_their_limit(size, name):
    assert _compressed.index_dtype(np, 1, size).__name__ == name


@pytest.mark.parametrize(
    "library", ["numpy", pytest.param("torch", marks=pytest.mark.backend("torch"))]
)
def test_more_rows_than_int32_counts(library, monkeypatch):
    """With int64 indices the product is the same."""
    weight = backends.get(library).asarray(NETWORK.layers[0].weight.T.copy())
    times = fs.SpikeTimes(np.random.default_rng(0).integers(0, 61, (3, 12)), 60)
    x = fs.SpikeTimes(backends.get(library).asarray(times.times), 60)
    product = backends.get(library).sparse_product
    narrow = np.asarray(product(compressed(x, weight), weight))
    monkeypatch.setattr(_compressed, "index_dtype", lambda xp, *sizes: xp.int64)
    for form in (x, times.to_events()):
        wide = compressed(form, weight)
        assert "int64" in str(wide.indices.dtype)
        np.testing.assert_allclose(np.asarray(product(wide, weight)), narrow, rtol=1e-6)


@pytest.mark.backend("cupy")
def test_cupy_refuses_what_it_cannot_number():
    weight = backends.get("cupy").asarray(NETWORK.layers[0].weight.T.copy())
    x = fs.SpikeTimes(backends.get("cupy").asarray(np.zeros((3, 12), np.int32)), 60)
    matrix = compressed(x, weight)
    wide = matrix._replace(indices=matrix.indices.astype(np.int64))
    with pytest.raises(ValueError, match="fewer than 2\\^31 rows.*fewer samples at a time"):
        backends.get("cupy").sparse_product(wide, weight)
