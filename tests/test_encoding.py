"""Images to spike times (eq. 17), and the paper's synthetic spike trains."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastsnn_np.encoding import latency, linear_latency, random_spike_trains


def test_latency_is_equation_17(lib):
    p = np.array([[0.0, 0.2, 0.21, 0.5, 0.9, 1.0]], np.float32)
    times = lib.to_numpy(latency(lib.asarray(p), n_steps=100).times)
    expected = [100, 100, *(round(20 * math.log(q / (q - 0.2))) for q in (0.21, 0.5, 0.9, 1.0))]
    np.testing.assert_array_equal(times, [expected])


def test_latency_of_bytes_is_latency_of_their_fractions():
    p = np.arange(256, dtype=np.uint8)[None]
    times = latency(p).times
    np.testing.assert_array_equal(times, latency(p / np.float32(255)).times)
    assert times[times < 100].max() == 79
    assert (times[0, :52] == 100).all()
    assert times[0, 255] == 4


def test_latency_by_step_size_and_length():
    p = np.array([[0.25, 1.0]])
    assert latency(p, dt=0.5, n_steps=200).times.tolist() == [[64, 9]]
    assert latency(p, n_steps=10).times.tolist() == [[10, 4]]
    with pytest.warns(UserWarning, match="even p = 1 does so at step 4, after the 4 steps"):
        assert latency(p, n_steps=4).times.tolist() == [[4, 4]]  # 4.46 rounds to step 4: too late
    with pytest.warns(UserWarning, match="raise dt or n_steps"):
        latency(p, dt=1e-300)


@pytest.mark.parametrize("encode", [latency, linear_latency])
def test_one_image_without_a_batch_axis_is_refused(encode):
    image = np.full((28, 28), 255, np.uint8)
    for one in (image, image / 255, np.stack([image] * 3, axis=-1)):
        with pytest.raises(ValueError, match=r"one image without a batch axis: pass p\[None\]"):
            encode(one)
        assert len(encode(one[None])) == 1
    assert encode(image[:, None]).shape[:2] == (28, 28)  # 28 samples of 28 values
    assert encode(np.ones((8, 8))).shape[:2] == (8, 8)  # as likely a table


def test_latency_flattens_and_takes_an_empty_batch():
    assert latency(np.zeros((3, 28, 28), np.uint8)).times.shape == (3, 784)
    assert latency(np.zeros((0, 28, 28))).times.shape == (0, 784)


@pytest.mark.parametrize(
    ("p", "options", "words"),
    [
        (np.array([[1.5]]), {}, r"\[0, 1\]"),
        (np.array([[-0.1]]), {}, r"\[0, 1\]"),
        (np.array([[np.nan]]), {}, "NaN"),
        (np.array([0.5]), {}, "axes"),
        (np.array([[0.5]]), {"dt": 0.0}, "dt must be positive"),
        (np.array([[0.5]]), {"tau_eff": -1.0}, "tau_eff must be positive"),
        (np.array([[0.5]]), {"threshold": 1.0}, "threshold"),
        (np.array([[0.5]]), {"n_steps": 0}, "n_steps"),
    ],
)
def test_bad_latency(p, options, words):
    with pytest.raises(ValueError, match=words):
        latency(p, **options)


def test_linear_latency(lib):
    p = np.array([[1.0, 0.75, 0.5, 0.25, 1e-6, 0.0]], np.float32)
    times = lib.to_numpy(linear_latency(lib.asarray(p), n_steps=101).times)
    assert times.tolist() == [[0, 20, 40, 60, 80, 101]]
    assert linear_latency(p, n_steps=5, window=1.0).times.tolist() == [[0, 1, 2, 3, 4, 5]]
    assert linear_latency(p, n_steps=1).times.tolist() == [[0, 0, 0, 0, 0, 1]]


def test_linear_latency_of_bytes():
    images = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    times = linear_latency(images).times
    assert times.shape == (1, 256)
    assert times[0, 0] == 100  # black never fires, the faintest grey at the window's end
    assert times[0, 1] == 79 and times[0, 255] == 0
    assert (np.diff(times[0, 1:]) <= 0).all()
    assert linear_latency(images[:0]).times.shape == (0, 256)


@pytest.mark.parametrize(
    ("p", "options", "words"),
    [
        (np.array([[1.5]]), {}, r"\[0, 1\]"),
        (np.array([[np.nan]]), {}, "NaN"),
        (np.array([0.5]), {}, "axes"),
        (np.array([[0.5]]), {"window": 0.0}, r"window must lie in \(0, 1\]"),
        (np.array([[0.5]]), {"window": 1.1}, "got 1.1"),
        (np.array([[0.5]]), {"window": math.nan}, "window"),
        (np.array([[0.5]]), {"n_steps": 0}, "n_steps"),
    ],
)
def test_bad_linear_latency(p, options, words):
    with pytest.raises(ValueError, match=words):
        linear_latency(p, **options)


def test_random_spike_trains_have_the_rates_of_appendix_c():
    trains = random_spike_trains(200, 50, 400, seed=0)
    rates = trains.mean((1, 2)) * 1000
    assert 90 < rates.mean() < 110
    assert rates.min() < 10
    assert 185 < rates.max() < 205
    assert (trains == random_spike_trains(200, 50, 400, seed=0)).all()
    flat = random_spike_trains(20, 100, 500, rate=(50, 50), seed=1)
    np.testing.assert_allclose(flat.mean((1, 2)), 0.05, atol=0.01)


@pytest.mark.parametrize("rate", [(-1, 5), (5, 1), (0, 1001)])
def test_bad_rates(rate):
    with pytest.raises(ValueError, match="rate must satisfy"):
        random_spike_trains(1, 1, 1, rate=rate)
