"""Delays of the inputs of a layer: the three forms of spikes arrive at the same steps."""

from __future__ import annotations

import numpy as np
import pytest

import fastsnn_np as fs
from fastsnn_np._delays import delayed, through_lines


def shifted(x, delay):
    """Each input later by its delay, one after another."""
    out = np.zeros_like(x)
    for j, d in enumerate(delay):
        if d < x.shape[-1]:
            out[:, j, d:] = x[:, j, : x.shape[-1] - d]
    return out


@pytest.mark.parametrize("delay", [[0, 0, 0], [0, 1, 5], [7, 8, 9], [2**31 - 1, 0, 3]])
def test_every_form_is_late(lib, rng, delay):
    delay = np.array(delay)
    x = (rng.random((4, 3, 8)) < 0.4) * rng.normal(size=(4, 3, 8)).astype(np.float32)
    expected = shifted(x, delay)
    np.testing.assert_array_equal(lib.to_numpy(delayed(lib.asarray(x), delay)), expected)
    events = delayed(fs.Events.from_dense(x), delay)
    np.testing.assert_array_equal(events.to_dense(), expected)
    assert events.shape == x.shape
    times = rng.integers(0, 9, (4, 3)).astype(np.int32)
    spikes = delayed(fs.SpikeTimes(lib.asarray(times), 8), delay)
    expected = shifted(fs.SpikeTimes(times, 8).to_dense(), delay)
    np.testing.assert_array_equal(lib.to_numpy(spikes.to_dense()), expected)
    assert str(spikes.times.dtype).endswith("int32")


def test_lines_go_on(lib, rng):
    """In chunks, some shorter than the longest delay, nothing is lost."""
    delay, x = np.array([0, 3, 5]), rng.normal(size=(2, 3, 20))
    parts, line = [], None
    for a, b in ((0, 2), (2, 3), (3, 11), (11, 20)):
        arrived = through_lines(lib.asarray(x[..., a:b]), delay, line)
        parts.append(lib.to_numpy(arrived.x))
        line = arrived.line
    np.testing.assert_array_equal(
        np.concatenate(parts, axis=-1), shifted(lib.to_numpy(lib.asarray(x)), delay)
    )
    np.testing.assert_array_equal(lib.to_numpy(line), lib.to_numpy(lib.asarray(x[..., -5:])))


def test_no_sample_at_all():
    delay, none = np.array([0, 1, 2]), np.zeros((0, 3, 8))
    assert delayed(none, delay).shape == none.shape
    assert delayed(fs.Events.from_dense(none), delay).shape == none.shape
