"""Inference over blocks of a Dask array, on threads and on a cluster, and over batches."""

from __future__ import annotations

import os
import pickle
import signal
import time

import numpy as np
import pytest

import fastsnn_np as fs
from fastsnn_np.bulk import forward_blocks, forward_iter

pytestmark = pytest.mark.backend("reach")
dask = pytest.importorskip("dask", reason="dask is not installed")
da = pytest.importorskip("dask.array", reason="dask[array] is not installed")


@pytest.fixture
def network():
    network = fs.Network.random([12, 9, 7, 3], seed=3)
    return network.mapped(lambda array: array * (4 if array.ndim == 2 else 1))  # so that it fires


@pytest.fixture
def x(rng):
    return rng.random((23, 12, 40)) < 0.1


def same(bulk, result, *, rtol=0):
    """To the last bit, unless a matrix product adds in an order that follows the block's size."""
    np.testing.assert_array_equal(bulk.prediction, result.prediction)
    np.testing.assert_allclose(bulk.logits, result.logits, rtol=rtol, atol=rtol)
    assert len(bulk.spike_counts) == len(result.spike_counts)
    for ours, expected in zip(bulk.spike_counts, result.spike_counts, strict=True):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_blocks(x, network, backend, scheduler, tmp_path):
    """Numba's kernels are entered by several threads at once: backends/_jit.py locks."""
    network.save(tmp_path / "n.safetensors")
    lazy = forward_blocks(
        da.from_array(x, chunks=(2, -1, -1)), tmp_path / "n.safetensors", backend=backend
    )
    assert lazy.logits.shape == (23, 3) and lazy.logits.dtype == np.float32
    assert lazy.prediction.chunks == ((*[2] * 11, 1),)
    (bulk,) = dask.compute(lazy, scheduler=scheduler, num_workers=4)
    expected = fs.forward(x, network, backend=backend)
    same(bulk, expected, rtol=1e-5 if backend == "numpy" else 0)
    assert all(count.any() for count in bulk.spike_counts)


def test_many_threads_enter_the_parallel_kernels(rng):
    network = fs.Network.random([100, 200, 10], seed=0)  # enough work for several threads
    x = rng.random((256, 100, 100)) < 0.05
    lazy = forward_blocks(da.from_array(x, chunks=(16, -1, -1)), network)
    expected = fs.forward(x, network, backend="numba")
    for _ in range(3):
        same(dask.compute(lazy, scheduler="threads", num_workers=8)[0], expected)


def test_no_hidden_layer_and_no_sample(x):
    bare = fs.Network.random([12, 3], seed=0)
    (bulk,) = dask.compute(forward_blocks(da.from_array(x, chunks=(9, -1, -1)), bare))
    assert bulk.spike_counts == ()
    same(bulk, fs.forward(x, bare, backend="numba"))
    (none,) = dask.compute(forward_blocks(da.from_array(x[:0], chunks=(9, -1, -1)), bare))
    assert none.logits.shape == (0, 3)


def test_the_network_travels_once_and_by_content(x, network):
    """One task holds it, and a process prepares it once however many blocks and copies come."""
    from fastsnn_np import bulk

    blocks = da.from_array(x, chunks=(2, -1, -1))
    graph = dict(forward_blocks(blocks, network).logits.__dask_graph__())
    carriers = [key for key, task in graph.items() if b"_Shipped" in pickle.dumps(task)]
    assert len(carriers) == 1
    bulk._prepared.cache_clear()
    copy = pickle.loads(pickle.dumps(network))
    for held in (network, copy):
        dask.compute(forward_blocks(blocks, held), scheduler="sync")
    assert bulk._prepared.cache_info().misses == 1
    other = fs.Network.random([12, 9, 7, 3], seed=4)
    (result,) = dask.compute(forward_blocks(blocks, other), scheduler="sync")
    same(result, fs.forward(x, other, backend="numba"))
    assert bulk._prepared.cache_info().misses == 2


def test_refused_blocks(x, network):
    expected = fs.forward(x, network, backend="numba")
    for chunks in ((5, 6, -1), (5, -1, 10)):
        with pytest.raises(ValueError, match="only the batch may be cut") as error:
            forward_blocks(da.from_array(x, chunks=chunks), network)
        call = str(error.value).split(": ", 1)[1]
        scope = {"x": da.from_array(x, chunks=chunks)}
        exec(call, scope)  # the call that the message says to make
        same(dask.compute(forward_blocks(scope["x"], network))[0], expected)
    with pytest.raises(ValueError, match="has 11 neurons and 40 steps.* expects 12"):
        forward_blocks(da.from_array(x[:, 1:], chunks=(5, -1, -1)), network)
    with pytest.raises(ValueError, match=r"\(batch, neurons, time\), got shape \(12, 40\)"):
        forward_blocks(da.from_array(x[0]), network)
    with pytest.raises(TypeError, match=r"must be a dask.array.Array, got ndarray"):
        forward_blocks(x, network)
    spoilt = x.astype(float)
    spoilt[17, 3, 2] = np.nan
    lazy = forward_blocks(da.from_array(spoilt, chunks=(5, -1, -1)), network)
    with pytest.raises(ValueError, match=r"holds nan at index \(2, 3, 2\)"):
        dask.compute(lazy)


def _slow(block):
    time.sleep(0.3)  # so that a worker dies with work in hand
    return block


def test_a_killed_worker_loses_nothing(x, network, tmp_path, caplog):
    """A cluster of two processes, one of them killed while it computes."""
    distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")
    expected = fs.forward(x, network, backend="numba")
    settings = {"distributed.worker.daemon": True, "temporary-directory": str(tmp_path)}
    with (
        dask.config.set(settings),
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            silence_logs="CRITICAL",
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.run(lambda: fs.prepare(fs.Network.random([12, 3], seed=0)))  # imports are done
        blocks = da.from_array(x, chunks=(1, -1, -1)).map_blocks(_slow, dtype=x.dtype)
        future = client.compute(dask.delayed(forward_blocks(blocks, network)))
        started = client.run(os.getpid)
        deadline = time.monotonic() + 60
        while not client.cluster.scheduler.total_occupancy and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1)
        assert future.status == "pending"
        os.kill(next(iter(started.values())), signal.SIGKILL)
        bulk = future.result(timeout=60)
        assert set(client.run(os.getpid).values()) != set(started.values())
    same(bulk, expected)


def test_iterator(x, network, rng):
    whole = fs.forward(x, network, backend="numba")
    labels = rng.integers(0, 3, 23)
    cuts = [slice(0, 10), slice(10, 20), slice(20, 23)]
    forms = {
        "dense": lambda cut: x[cut],
        "pair": lambda cut: (x[cut], labels[cut]),
        "list": lambda cut: [x[cut], labels[cut]],
        "events": lambda cut: fs.Events.from_dense(x[cut]),
        "events with labels": lambda cut: (fs.Events.from_dense(x[cut]), labels[cut]),
    }
    for name, form in forms.items():
        out = list(forward_iter(network, (form(cut) for cut in cuts)))
        predictions = np.concatenate([batch.result.prediction for batch in out])
        np.testing.assert_array_equal(predictions, whole.prediction, err_msg=name)
        if name in ("dense", "events"):
            assert [batch.labels for batch in out] == [None] * 3
        else:
            np.testing.assert_array_equal(np.concatenate([b.labels for b in out]), labels)
    turned = forward_iter(network, [x.transpose(0, 2, 1)], layout="btn")
    np.testing.assert_array_equal(next(turned).result.prediction, whole.prediction)


def test_iterator_is_lazy(x, network):
    def batches():
        for number in range(3):
            taken.append(number)
            yield x

    taken: list[int] = []
    run = forward_iter(network, batches())
    next(run)
    assert taken == [0]


def test_data_loader(x, network):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    data = torch.utils.data.TensorDataset(torch.tensor(x), torch.arange(23))
    out = list(forward_iter(network, torch.utils.data.DataLoader(data, batch_size=8)))
    predictions = np.concatenate([batch.result.prediction for batch in out])
    np.testing.assert_array_equal(predictions, fs.forward(x, network).prediction)
    assert torch.cat([batch.labels for batch in out]).tolist() == list(range(23))


def test_another_shape_midway(x, network):
    batches = [x, x[:4], x[:, :, :30]]
    with pytest.raises(ValueError, match="batch 2: 12 neurons and 30 steps, .* 12 and 40: pad"):
        list(forward_iter(network, batches))
    with pytest.raises(ValueError, match="batch 1: 11 neurons"):
        list(forward_iter(network, [x, (x[:, 1:], None)]))
    with pytest.raises(ValueError, match="batch 0: x has 11 neurons .* expects 12"):
        list(forward_iter(network, [x[:, 1:]]))
    with pytest.raises(ValueError, match=r"batch 1: .*add a batch axis with x\[None\]"):
        list(forward_iter(network, [x, x[0]]))
    with pytest.raises(TypeError, match="batch 0: x must be an array .* got str"):
        list(forward_iter(network, ["nonsense"]))


@pytest.mark.parametrize("method", ["block", "fft"])
@pytest.mark.parametrize("per_neuron", [False, True])
def test_currents_and_decay_are_lazy(rng, method, per_neuron):
    """These two steps take Dask arrays, and compute nothing but the check of beta."""
    x, weight = rng.random((6, 5, 130)), rng.random((4, 5))
    bias, initial = rng.random(4), rng.random((6, 4))
    beta = rng.uniform(0.4, 0.9, 4) if per_neuron else 0.9
    blocks = da.from_array(x, chunks=(2, -1, -1))
    lazy = fs.currents(blocks, da.from_array(weight), da.from_array(bias))
    current = fs.currents(x, weight, bias)
    np.testing.assert_allclose(lazy.compute(), current, rtol=1e-12)
    options = {"input_scale": "unit", "method": method}
    there = {
        "beta": da.from_array(beta) if per_neuron else beta,
        "initial_potential": da.from_array(initial),
    }
    found = fs.decay(lazy, **there, **options)
    assert isinstance(found, da.Array)
    expected = fs.decay(current, beta=beta, initial_potential=initial, **options)
    np.testing.assert_allclose(found.compute(), expected, rtol=1e-10)
