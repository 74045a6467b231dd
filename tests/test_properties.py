"""Random layers: every engine gives the reference's spikes, for whatever hypothesis thinks of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks import SCALES, cases, make

import fastsnn_np as fs
from conftest import examples
from fastsnn_np import agreement
from fastsnn_np.backends.event import fused

SHARED = settings(
    max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def dense_core(lib, case, method):
    """The core's layer on a library: spike times and potential, back in NumPy."""
    x, weight, bias, beta, initial = map(
        lib.asarray, (case.x, case.weight, case.bias, case.beta, case.initial)
    )
    out = fs.layer(
        x,
        weight,
        bias,
        beta=beta,
        initial_potential=initial,
        input_scale=case.input_scale,
        method=method,
        return_potential=True,
    )
    return lib.to_numpy(out.times), lib.to_numpy(out.potential)


def numba_kernel(case):
    out = fused.layer(
        case.x,
        case.weight,
        case.bias,
        beta=case.beta,
        initial_potential=case.initial,
        input_scale=case.input_scale,
        return_potential=True,
    )
    return out.times, out.potential


def compare(case, times, potential):
    """Hold one engine's spikes and potential against the judge's."""
    judge = case.reference()
    result = agreement.spike_times(times, judge.potential, dtype=case.dtype, scale=case.scale())
    assert result.different == 0, result
    # the potential's error is in proportion to what was added up, not to what is left of it
    error = np.abs(potential - judge.potential).max() / max(1e-30, case.scale().max())
    assert error <= agreement.POTENTIAL_TOLERANCE[case.dtype.name]
    return result


@pytest.mark.parametrize("method", ["block", "fft"])
@given(case=cases())
@SHARED
def test_dense_core(lib, method, case):
    if case.dtype == np.float64 and not lib.has_float64():
        return
    compare(case, *dense_core(lib, case, method))


@pytest.mark.backend("numba")
@given(case=cases())
@SHARED
def test_numba_kernel(case):
    compare(case, *numba_kernel(case))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("method", ["block", "fft"])
def test_few_neurons_are_left_to_rounding(lib, method, dtype):
    """Over a pool of 12,800 neurons at T = 300, at most 0.1 % are too close to call."""
    total = agreement.Agreement(0, 0, 0)
    for seed in range(4):
        case = make(
            seed,
            dtype=dtype,
            batch=16,
            inputs=30,
            neurons=200,
            steps=300,
            input_scale=SCALES[seed % 2],
        )
        total = total + compare(case, *dense_core(lib, case, method))
    assert total.neurons == 12_800
    assert total.ok, total


@pytest.mark.backend("numba")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_few_neurons_are_left_to_rounding_by_numba(dtype):
    case = make(0, dtype=dtype, batch=60, inputs=30, neurons=200, steps=300)
    assert compare(case, *numba_kernel(case)).ok


@given(seed=st.integers(0, 2**32 - 1), shift=st.sampled_from([-1, 1]))
@settings(max_examples=examples(20))
def test_the_comparison_can_fail(seed, shift):
    """A spike one step off, or a potential a shade off, is seen."""
    case = make(seed, steps=100)
    judge = case.reference()
    moved = np.clip(judge.times + shift, 0, 100)
    fires = (judge.times > 0) & (judge.times < 100)
    if fires.any():
        _, inside = agreement.inside_bound(judge.potential, dtype=np.float32)
        found = agreement.spike_times(moved, judge.potential, dtype=np.float32).different
        assert found >= (fires & ~inside).sum()
    with pytest.raises(AssertionError):
        compare(case, judge.times, judge.potential * 1.001 + 0.01)
