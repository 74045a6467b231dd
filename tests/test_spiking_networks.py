"""Networks of every kind of neuron: each engine and way of computing gives the reference's spikes.

Float64 is compared whole, float32 by the rule of `agreement.spike_trains`.
"""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks import NAMED
from neurons import KINDS, ONCE, judged, layer_of, long_after, network_of, networks, train_of, wide

import fastsnn_np as fs
from fastsnn_np import agreement, reference
from fastsnn_np._spiking import Standing, goes_in_blocks, spiking

SHARED = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
#: JAX compiles each operation anew for each shape; `test_jax.py` has its share
SLOW = "minutes on JAX"
FORMS = {"dense": lambda x: x, "events": fs.Events.from_dense}


def dense(spikes, lib=None):
    """Spikes of any form as a boolean NumPy array."""
    if isinstance(spikes, fs.Events):
        return spikes.to_dense() > 0
    train = spikes.to_dense() if isinstance(spikes, fs.SpikeTimes) else spikes
    train = lib.to_numpy(train) if lib else fs.backends.get("numpy").asarray(train)
    return train > 0


def check(result, network, x, lib=None):
    """Hold a result in float64 against the reference."""
    to_numpy = lib.to_numpy if lib else fs.backends.get("numpy").asarray
    layers, logits = judged(network, x)
    steps = x.shape[-1]
    for spikes, times, counts, expected in zip(
        result.spikes, result.spike_times, result.spike_counts, layers, strict=True
    ):
        np.testing.assert_array_equal(dense(spikes, lib), expected.spikes)
        first = np.where(expected.spikes.any(-1), expected.spikes.argmax(-1), steps)
        np.testing.assert_array_equal(to_numpy(times), first)
        np.testing.assert_array_equal(to_numpy(counts), expected.spikes.sum((1, 2)))
        assert str(times.dtype).endswith("int32")
        assert str(counts.dtype).endswith("int32")
    np.testing.assert_allclose(to_numpy(result.logits), logits, rtol=1e-9, atol=1e-9)


@given(case=networks(), form=st.sampled_from(list(FORMS)))
@SHARED
def test_the_dense_engine(lib, case, form):
    """The plain loop and the blocks, on every array library."""
    if lib.name == "jax":
        pytest.skip(SLOW)
    network, x = case
    given_x = lib.asarray(x) if form == "dense" else FORMS[form](x)
    result = fs.forward(given_x, network.mapped(lib.asarray), engine="dense", return_potential=True)
    assert result.engine == "dense"
    check(result, network, x, lib)
    for potential, expected in zip(result.potentials, judged(network, x)[0], strict=False):
        scale = max(1.0, np.abs(expected.potential).max())
        np.testing.assert_allclose(
            lib.to_numpy(potential), expected.potential, atol=1e-12 * scale, rtol=0
        )


@pytest.mark.backend("numba")
@given(case=networks(), form=st.sampled_from(list(FORMS)))
@SHARED
def test_the_event_engine(case, form):
    network, x = case
    result = fs.forward(FORMS[form](x), network, engine="event")
    assert result.engine == "event"
    check(result, network, x)


@pytest.mark.parametrize("backend", NAMED, indirect=True)
def test_every_backend(backend, rng, tmp_path):
    """Three layers of three kinds, through `forward`, `prepare` and `bulk`."""
    from fastsnn_np import bulk

    kinds = (KINDS[5], ONCE, fs.Neuron("always", refractory=3))
    network = network_of(rng, kinds, recurrent=True, delay=4, readout="weighted")
    x = train_of(rng, 5, 12, 40)
    run = fs.prepare(network, backend=backend)
    for form in FORMS.values():
        check(fs.forward(form(x), network, backend=backend), network, x)
        check(run(form(x)), network, x)
        check(fs.forward(form(x), network, backend=backend, batch_size=2), network, x)
    (batch,) = bulk.forward_iter(network, [x], backend=backend)
    check(batch.result, network, x)


def test_float32_agrees_up_to_near_ties(lib):
    """Over all kinds, at most 0.1 % of neuron-steps are near-ties."""
    if lib.name == "jax":
        pytest.skip(SLOW)
    rng = np.random.default_rng(0)
    total = agreement.TrainAgreement(0, 0, 0, 0)
    for i, kind in enumerate(KINDS):
        recurrent = bool(i % 2)
        layer = layer_of(rng, 12, 20, kind, recurrent=recurrent, dtype=np.float32)
        x = train_of(rng, 4, 12, 50)
        expected = reference.spiking_layer(x, wide(layer))
        moved = fs.Network([layer], fs.Readout(np.ones((2, 20), np.float32))).mapped(lib.asarray)
        result = fs.forward(lib.asarray(x), moved, engine="dense")
        total += agreement.spike_trains(
            lib.to_numpy(result.spikes[0]),
            expected.spikes,
            expected.distance,
            dtype=np.float32,
            scale=np.abs(expected.potential).max(-1),
            recurrent=recurrent,
        )
    assert total.ok, total
    assert total.compared > 0.9 * (total.compared + total.left_out)


@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
@pytest.mark.parametrize("at", ["after decay", "before decay"])
def test_a_block_ends_right_after_a_spike_anywhere_in_it(lib, reset, at):
    """One neuron, a spike at step f of a block of n, for every f and n, and a second block."""
    if lib.name == "jax":
        pytest.skip(SLOW)
    for n in range(1, 6):
        kind = fs.Neuron("always", reset=reset, reset_at=at, refractory=n - 1)
        for f in range(n):
            x = np.full((1, 1, 2 * n + 1), 0.3)
            x[0, 0, f] = 3.0
            layer = fs.Layer(np.ones((1, 1)), beta=np.array([0.6]), neuron=kind)
            there = fs.Network([layer], fs.Readout(np.ones((1, 1)))).mapped(lib.asarray).layers[0]
            expected = reference.spiking_layer(x, layer)
            assert expected.spikes[0, 0, f]
            for goes_on in (False, True):
                out = spiking(lib.asarray(x), there, return_potential=True, goes_on=goes_on)
                np.testing.assert_array_equal(lib.to_numpy(out.spikes), expected.spikes)
                np.testing.assert_allclose(
                    lib.to_numpy(out.potential), expected.potential, atol=1e-14
                )


def test_blocks_go_on_from_where_neurons_stand(rng):
    """Both ways take a `Standing` and give the same one."""
    for kind in KINDS:
        layer = layer_of(rng, 5, 8, kind)
        if not goes_in_blocks(layer):
            continue
        before = Standing(
            rng.normal(size=(3, 8)),
            rng.random((3, 8)) < 0.5,
            rng.integers(0, 9, (3, 8)).astype(np.int32),
            None,
        )
        x = train_of(rng, 3, 5, 23)
        ways = [spiking(x, layer, before=before, goes_on=way) for way in (False, True)]
        np.testing.assert_array_equal(ways[0].spikes, ways[1].spikes)
        for ours, theirs in zip(ways[0].final[:3], ways[1].final[:3], strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-13)


def test_a_period_and_a_delay_longer_than_the_recording(lib, rng):
    kind = long_after(30)
    network = network_of(rng, [kind, kind], delay=0)
    x = train_of(rng, 3, 12, 30)
    moved = network.mapped(lib.asarray)
    counts = fs.forward(lib.asarray(x), moved).spike_counts
    assert all((lib.to_numpy(count) > 0).any() for count in counts)
    late = fs.Layer(network.layers[0].weight, delay=np.full(12, 2**31 - 1))
    lost = fs.Network([late], fs.Readout(np.ones((2, 20)))).mapped(lib.asarray)
    for given_x in (lib.asarray(x), fs.Events.from_dense(x)):
        assert not lib.to_numpy(fs.forward(given_x, lost).logits).any()


def test_no_sample_and_odd_arrays(rng):
    """An empty batch, read-only and non-contiguous input, in both engines."""
    network = network_of(rng, [KINDS[0], fs.Neuron("always", refractory=2)], delay=2)
    x = train_of(rng, 3, 12, 20)
    odd = np.asfortranarray(np.repeat(x, 2, axis=-1))[..., ::2]
    odd.flags.writeable = False
    for engine in ("dense", "event"):
        check(fs.forward(odd, network, engine=engine), network, x)
        for none in (x[:0], fs.Events.from_dense(x[:0])):
            result = fs.forward(none, network, engine=engine)
            assert result.logits.shape == (0, 3)
            assert [len(spikes) for spikes in result.spikes] == [0, 0]


def test_a_prepared_network_is_pickled(rng):
    network = network_of(rng, [KINDS[3]], recurrent=True)
    x = train_of(rng, 2, 12, 20)
    run = pickle.loads(pickle.dumps(fs.prepare(network, backend="numpy")))
    check(run(x), network, x)


def test_a_network_that_never_stops_firing(lib):
    layer = fs.Layer(
        np.ones((4, 2)), np.full(4, 9.0), neuron=fs.Neuron("always"), recurrent=np.ones((4, 4))
    )
    network = fs.Network([layer], fs.Readout(np.ones((2, 4)))).mapped(lib.asarray)
    result = fs.forward(lib.asarray(np.ones((3, 2, 50))), network)
    assert (lib.to_numpy(result.spike_counts[0]) == 200).all()


def test_explain_says_which_way(caplog, rng):
    kinds = [KINDS[0], ONCE, fs.Neuron("always", refractory=3)]
    network = network_of(rng, kinds)
    x = train_of(rng, 2, 12, 20)
    with caplog.at_level("WARNING", "fastsnn_np"):
        fs.forward(x, network, explain=True)
        fs.forward(x, network, explain=True, return_state=True)
        fs.forward(fs.Events.from_dense(x), network, explain=True)
        fs.forward(fs.Events.from_dense(x), network, explain=True, return_potential=True)
        fs.forward(x, network, backend="numba", explain=True)
        fs.forward(x, network, backend="numba", explain=True, return_state=True)
    lines = [record.getMessage() for record in caplog.records]
    assert "layer 0 in a plain loop over time; layer 2 by blocks of 4 steps" in lines[0]
    assert "layer 2 in a plain loop over time" in lines[1]
    assert lines[2] == "engine 'event': x is sparse"
    assert "it keeps no potentials of neurons that fire again and again" in lines[3]
    assert "engine 'event': x is dense, and its neurons have no dense kernel" in lines[4]
    assert "'dense'" in lines[5]
    assert "keeps no states" in lines[5]
    for wanted in ({"return_state": True}, {"return_potential": True}):
        with pytest.raises(ValueError, match="engine='event' cannot compute this: it keeps no"):
            fs.forward(x, network, engine="event", **wanted)


def test_nan_is_found(lib, rng):
    network = network_of(rng, [fs.Neuron("always", refractory=2), KINDS[0]])
    x = train_of(rng, 2, 12, 20).astype(float)
    x[1, 2, 3] = np.nan
    with pytest.raises(ValueError, match=r"x, as \(batch, neurons, time\), holds nan at index \(1"):
        fs.forward(lib.asarray(x), network.mapped(lib.asarray))
    if lib.name == "numpy":
        with pytest.raises(ValueError, match=r"x, as \(batch, neurons, time\), holds nan at index"):
            fs.forward(x, network, engine="event")
        network.layers[1].threshold[3] = np.nan
        for engine in ("dense", "event"):
            with pytest.raises(ValueError, match=r"threshold of layer 1 holds nan at index \(3,\)"):
                fs.forward(x[:1], network, engine=engine)
            fs.forward(x, network, engine=engine, check_finite=False)
