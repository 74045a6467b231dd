"""What a GPU cannot take, and what it must take although it looks odd."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

import fastsnn_np as fs
from fastsnn_np._namespace import to_numpy
from fastsnn_np.backends import _cuda as cuda

pytestmark = pytest.mark.backend("cupy")
NETWORK = fs.Network.random([12, 70, 4], seed=1)


@pytest.fixture(scope="module")
def cp(cupys):
    if not cupys:
        pytest.skip("runs with --backend=cupy")
    return importlib.import_module("cupy")


@pytest.fixture
def x(rng):
    return fs.SpikeTimes(rng.integers(0, 31, (5, 12)).astype(np.int32), 30)


def unlaunched(name, grid, block, args):
    raise AssertionError(f"{name} was launched with {grid}")


#: rows and columns of a grid that no GPU takes
BEYOND = [(2**31, 1), (1, 64 * 65_535 + 1), (2**31, 2**30)]


@pytest.mark.parametrize(("rows", "columns"), BEYOND)
def test_a_grid_beyond_the_limits(rows, columns):
    kernels = cuda.Kernels("float32", unlaunched, lambda a: a, lambda a: a)
    with pytest.raises(ValueError, match=r"sort_times would need \d+ x \d+ blocks of 64 threads"):
        kernels("sort_times", rows, columns, None, 1, 1, None, None)


def test_nothing_to_do_is_not_launched():
    kernels = cuda.Kernels("float32", unlaunched, lambda a: a, lambda a: a)
    for rows, columns in ((0, 5), (5, 0)):
        kernels("sort_times", rows, columns, None, 1, 1, None, None)


def test_numbers_that_the_kernel_cannot_hold():
    kernels = cuda.Kernels("float32", unlaunched, lambda a: a, lambda a: a)
    with pytest.raises(OverflowError):
        kernels("sort_times", 1, 1, None, 2**31, 1, None, None)
    with pytest.raises(ValueError, match="zip"):
        kernels("sort_times", 1, 1, None, 1, 1, None)


def test_out_of_memory(cp, x, monkeypatch):
    def refuses(*args, **kwargs):
        raise cp.cuda.memory.OutOfMemoryError(
            "Out of memory allocating 36,000 bytes (allocated so far: 0 bytes)."
        )

    run = fs.prepare(NETWORK, backend="cupy")
    there = fs.SpikeTimes(cp.asarray(x.times), x.n_steps)
    run(there)
    monkeypatch.setattr(importlib.import_module("array_api_compat.cupy"), "empty", refuses)
    with pytest.raises(MemoryError, match=r"36,000 bytes .*; forward\(\.\.\., batch_size=\.\.\.\)"):
        run(there)


@pytest.mark.parametrize("engine", ["auto", "dense"])
def test_odd_inputs(cp, x, engine):
    """Not contiguous, read-only, of other dtypes, from every library, and none at all."""
    dense = x.to_dense()
    expected = fs.forward(x, NETWORK).spike_times[0]
    read_only = dense.copy()
    read_only.flags.writeable = False
    apart = cp.asarray(np.repeat(dense, 2, axis=1))[:, ::2]
    assert not apart.flags.c_contiguous
    transposed = cp.asarray(np.ascontiguousarray(dense.transpose(2, 0, 1))).transpose(1, 2, 0)
    times = cp.asarray(np.asfortranarray(x.times))
    for odd in (
        read_only,
        apart,
        transposed,
        cp.asarray(dense.astype(bool)),
        cp.asarray(dense.astype(np.int64)),
        dense[::-1][::-1],
        fs.SpikeTimes(times, x.n_steps),
        fs.SpikeTimes(cp.asarray(np.repeat(x.times, 2, axis=1))[:, ::2], x.n_steps),
    ):
        result = fs.forward(odd, NETWORK, backend="cupy", engine=engine)
        np.testing.assert_array_equal(to_numpy(result.spike_times[0]), expected)
    for empty in (dense[:0], x[:0], x.to_events()[:0], cp.asarray(dense)[:0]):
        result = fs.forward(empty, NETWORK, backend="cupy", engine=engine, return_potential=True)
        assert result.spike_times[0].shape == (0, 70) and result.logits.shape == (0, 4)
        assert result.potentials[0].shape == (0, 70, 30)


def test_float64(cp, x):
    network = fs.Network.random([12, 70, 4], seed=1, dtype=np.float64)
    expected = fs.forward(x, network, return_potential=True)
    for given in (x, x.to_events(), x.to_dense(np.float64)):
        result = fs.forward(given, network, backend="cupy", return_potential=True)
        assert result.logits.dtype == np.float64
        np.testing.assert_array_equal(to_numpy(result.spike_times[0]), expected.spike_times[0])
        np.testing.assert_allclose(to_numpy(result.logits), expected.logits, rtol=1e-12)


def test_values_too_large_for_float32(cp):
    """An event that overflows when it is rounded is found, as in the CPU engine."""
    events = fs.Events.from_arrays([0], [0], n_neurons=12, n_steps=30, values=np.array([1e300]))
    for backend in ("cupy", "numpy"):
        with (
            np.errstate(over="ignore"),
            pytest.raises(ValueError, match="the potential of layer 0 overflows float32"),
        ):
            fs.forward(events, NETWORK, backend=backend)


def test_explain_names_the_density(cp, caplog):
    """Events go as dense input does above a density that the backend names."""
    full = fs.Events.from_dense(np.ones((2, 12, 30), np.float32))
    result = fs.forward(full, NETWORK, backend="cupy", explain=True)
    assert result.engine == "dense kernel"
    assert "of density 100.0%: computed as a matrix product (events up to 5%)" in caplog.text
    assert fs.forward(full, NETWORK, backend="cupy", engine="event").engine == "event"
    few = fs.Events.from_arrays([1], [2], n_neurons=12, n_steps=30, n_samples=2)
    assert fs.forward(few, NETWORK, backend="cupy").engine == "event"
