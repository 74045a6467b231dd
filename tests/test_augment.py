"""Augmentation: what moves where, single spikes that stay single, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from fastsnn_np import Events, SpikeTimes, augment

STEPS = 20


def both_forms(times):
    spikes = SpikeTimes(times.reshape(len(times), -1), STEPS)
    return spikes, spikes.to_events()


def spikes_of(shape, rng):
    return rng.integers(0, STEPS + 1, shape)


def moved(image, down, right):
    """One image (rows, columns) moved, pixel by pixel."""
    out = np.full_like(image, STEPS)
    for (y, x), time in np.ndenumerate(image):
        if 0 <= y + down < image.shape[0] and 0 <= x + right < image.shape[1]:
            out[y + down, x + right] = time
    return out


def test_shift_moves_whole_images(rng):
    times = spikes_of((60, 2, 4, 5), rng)
    spikes, events = both_forms(times)
    options = {"shape": (4, 5), "pixels": 2}
    shifted = augment.shift(spikes, np.random.default_rng(1), **options).times.reshape(times.shape)
    seen = set()
    for planes, result in zip(times, shifted, strict=True):
        fits = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-2, 3)
            if all((moved(a, down, right) == b).all() for a, b in zip(planes, result, strict=True))
        ]
        assert len(fits) == 1
        seen.update(fits)
    assert len(seen) > 15  # of 25: each sample its own
    also = augment.shift(events, np.random.default_rng(1), **options)
    np.testing.assert_array_equal(
        also.to_dense(), SpikeTimes(shifted.reshape(60, 40), STEPS).to_dense()
    )


def test_shift_further_than_the_image(rng):
    spikes, events = both_forms(spikes_of((50, 2, 2), rng))
    a = augment.shift(spikes, np.random.default_rng(0), shape=(2, 2), pixels=9)
    b = augment.shift(events, np.random.default_rng(0), shape=(2, 2), pixels=9)
    np.testing.assert_array_equal(a.to_dense(), b.to_dense())
    assert 0 < b.n_events < events.n_events / 4


def test_flip_mirrors_whole_images(rng):
    times = spikes_of((60, 2, 4, 5), rng)
    spikes, events = both_forms(times)
    flipped = augment.flip(spikes, np.random.default_rng(1), shape=(4, 5), p=0.25)
    result = flipped.times.reshape(times.shape)
    same = (result == times).all((1, 2, 3))
    np.testing.assert_array_equal(result[~same], times[~same][..., ::-1])
    assert 5 < (~same).sum() < 30
    also = augment.flip(events, np.random.default_rng(1), shape=(4, 5), p=0.25)
    np.testing.assert_array_equal(also.to_dense(), flipped.to_dense())
    unchanged = augment.flip(spikes, rng, shape=(4, 5), p=0)
    np.testing.assert_array_equal(unchanged.times, spikes.times)


def test_shift_channels(rng):
    times = spikes_of((40, 1, 30), rng)
    spikes, events = both_forms(times)
    a = augment.shift_channels(spikes, np.random.default_rng(2), channels=3)
    b = augment.shift_channels(events, np.random.default_rng(2), channels=3)
    np.testing.assert_array_equal(a.to_dense(), b.to_dense())
    fits = [
        [k for k in range(-3, 4) if (moved(image, 0, k)[0] == result).all()]
        for image, result in zip(times, a.times, strict=True)
    ]
    assert all(len(fit) == 1 for fit in fits)
    assert {fit[0] for fit in fits} == set(range(-3, 4))


def test_jitter(rng):
    times = spikes_of((100, 50), rng)
    spikes = SpikeTimes(times, STEPS)
    after = augment.jitter(spikes, rng, steps=2).times
    never = times == STEPS
    np.testing.assert_array_equal(after == STEPS, never)
    inner = (times >= 2) & (times < STEPS - 2)
    move, count = np.unique((after - times)[inner], return_counts=True)
    assert move.tolist() == [-2, -1, 0, 1, 2]
    assert (abs(count / count.sum() - 0.2) < 0.03).all()
    assert set(after[times == 0].tolist()) == {0, 1, 2}
    assert set(after[times == STEPS - 1].tolist()) == {STEPS - 3, STEPS - 2, STEPS - 1}


def test_drop(rng):
    spikes, events = both_forms(np.zeros((50, 401), int))
    after = augment.drop(spikes, np.random.default_rng(0), p=0.25)
    dropped = after.times == STEPS
    assert 0.23 < dropped.mean() < 0.27
    assert (after.times[~dropped] == 0).all()
    assert len({row.tobytes() for row in dropped}) == 50  # each sample its own
    also = augment.drop(events, np.random.default_rng(0), p=0.25)
    np.testing.assert_array_equal(also.to_dense(), after.to_dense())
    assert augment.drop(events, rng, p=0).n_events == events.n_events
    assert augment.drop(events, rng, p=1).n_events == 0
    assert (augment.drop(spikes, rng, p=1).times == STEPS).all()


def test_values_and_repeated_events_go_along(rng):
    events = Events.from_arrays(
        [0, 0, 3], [1, 1, 2], [0, 0, 1], n_neurons=3, n_steps=4, values=[1.0, 2.0, 4.0]
    )
    same = augment.shift_channels(events, rng, channels=0)
    np.testing.assert_array_equal(same.to_dense(), events.to_dense())
    some = augment.drop(events, np.random.default_rng(5), p=0.5)
    assert len(some.values) == some.n_events


CALLS = {
    "shift": lambda x, rng: augment.shift(x, rng, shape=(4, 5)),
    "flip": lambda x, rng: augment.flip(x, rng, shape=(4, 5)),
    "shift_channels": augment.shift_channels,
    "jitter": augment.jitter,
    "drop": augment.drop,
}


@pytest.mark.parametrize("name", CALLS)
def test_same_seed_same_result_and_valid(name, rng):
    times = spikes_of((30, 20), rng).astype(np.int32)
    times.flags.writeable = False  # what is given is not changed
    forms = [SpikeTimes(times, STEPS), SpikeTimes(times[:0], STEPS)]
    forms += [] if name == "jitter" else [x.to_events() for x in forms]
    for x in forms:
        a, b, c = (CALLS[name](x, np.random.default_rng(seed)) for seed in (3, 3, 4))
        assert type(a) is type(x)
        fields = ("times",) if isinstance(x, SpikeTimes) else ("indptr", "indices")
        for field in fields:
            np.testing.assert_array_equal(getattr(a, field), getattr(b, field))
            assert getattr(a, field).dtype == getattr(x, field).dtype
        last = fields[-1]
        assert not len(x) or not np.array_equal(getattr(a, last), getattr(c, last))
        if isinstance(a, SpikeTimes):
            SpikeTimes(a.times, a.n_steps)  # checked anew
        else:
            Events(a.indptr, a.indices, a.n_neurons)


X = SpikeTimes(np.zeros((2, 6), int), STEPS)
RNG = np.random.default_rng(0)

BAD = [
    (lambda: augment.shift(X, RNG), ValueError, r"6 neurons are not images of shape \(28, 28\)"),
    (lambda: augment.shift(X, RNG, shape=(0, 3)), ValueError, "not images"),
    (lambda: augment.shift(X, RNG, shape=(2, 3), pixels=-1), ValueError, "pixels must be a whole"),
    (lambda: augment.flip(X, RNG), ValueError, r"6 neurons are not images of shape \(28, 28\)"),
    (lambda: augment.flip(X, RNG, shape=(2, 3), p=-1), ValueError, r"probability in \[0, 1\]"),
    (lambda: augment.shift_channels(X, RNG, channels=1.5), ValueError, "whole number.*got 1.5"),
    (lambda: augment.jitter(X, RNG, steps=40_000), ValueError, r"steps.* in 0 \.\.\. 32767"),
    (lambda: augment.jitter(X.to_events(), RNG), TypeError, "jitter takes SpikeTimes, got Events"),
    (lambda: augment.drop(X, RNG, p=1.5), ValueError, r"p is a probability in \[0, 1\], got 1.5"),
    (lambda: augment.drop(X, RNG, p=float("nan")), ValueError, "got nan"),
    (lambda: augment.drop(X.times, RNG), TypeError, "SpikeTimes or Events, got ndarray"),
    (lambda: augment.drop(X, 0), TypeError, r"default_rng\(seed\)"),
]


@pytest.mark.parametrize(("call", "error", "words"), BAD, ids=range(len(BAD)))
def test_bad_augmentation(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.backend("torch")
def test_torch_tensors_on_the_cpu_stay_tensors():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    times = np.arange(12).reshape(2, 6)
    for call in (
        lambda x, rng: augment.shift(x, rng, shape=(2, 3)),
        lambda x, rng: augment.flip(x, rng, shape=(2, 3)),
        augment.shift_channels,
        augment.jitter,
        augment.drop,
    ):
        expected = call(SpikeTimes(times, 12), np.random.default_rng(1))
        got = call(SpikeTimes(torch.from_numpy(times), 12), np.random.default_rng(1))
        assert isinstance(got.times, torch.Tensor) and got.times.dtype == torch.int32
        np.testing.assert_array_equal(got.times.numpy(), expected.times)
    elsewhere = SpikeTimes.unchecked(torch.zeros((1, 2), dtype=torch.int32, device="meta"), 5)
    with pytest.raises(TypeError, match="got times of torch: augment before the batch is moved"):
        augment.drop(elsewhere, RNG)


def test_jitter_in_a_window_that_32_bits_just_hold():
    last = SpikeTimes(np.array([[2**31 - 3, 5]]), 2**31 - 1)
    for seed in range(20):
        moved = augment.jitter(last, np.random.default_rng(seed), steps=32767).times
        assert abs(int(moved[0, 0]) - (2**31 - 3)) <= 32767


def test_shift_time(rng):
    times = spikes_of((40, 30), rng)
    spikes, events = both_forms(times)
    a = augment.shift_time(spikes, np.random.default_rng(2), steps=3)
    b = augment.shift_time(events, np.random.default_rng(2), steps=3)
    np.testing.assert_array_equal(a.to_dense(), b.to_dense())
    seen = set()
    for before, after in zip(spikes.to_dense(), a.to_dense(), strict=True):
        fits = set()
        for later in range(-3, 4):
            expected = np.zeros_like(before)
            if later >= 0:
                expected[:, later:] = before[:, : STEPS - later]
            else:
                expected[:, :later] = before[:, -later:]
            if (expected == after).all():
                fits.add(later)
        assert len(fits) == 1
        seen |= fits
    assert len(seen) > 4


def recordings(rng, values):
    size = 4000
    return Events.from_arrays(
        rng.integers(20, 40, size), rng.integers(25, 45, size), rng.integers(0, 8, size),
        n_neurons=70, n_steps=60, n_samples=8, values=rng.normal(size=size) if values else None,
    )  # fmt: skip


@pytest.mark.parametrize("values", [False, True])
def test_blend_mixes_two_of_a_class(values, rng):
    """Each blend holds about half of either recording, moved to where both are on average."""
    x = recordings(rng, values)
    pairs = [(0, 3), (1, 2), (4, 6)]
    labels = np.array([0, 1, 1, 0, 2, 9, 2, 8])
    y = augment.blend(x, rng, labels=labels, p=1)
    dense, blended = x.to_dense(dtype=np.float64), y.to_dense(dtype=np.float64)
    for alone in (5, 7):
        np.testing.assert_array_equal(blended[alone], dense[alone])
    assert (y.values is None) == (not values)

    def centre(b):
        count = x.indptr[b, -1] - x.indptr[b, 0]
        step = np.repeat(np.arange(60), np.diff(x.indptr[b]))
        return np.array([x.indices[x.indptr[b, 0] : x.indptr[b, -1]].sum(), step.sum()]) / count

    for pair in pairs:
        middle = (centre(pair[0]) + centre(pair[1])) / 2
        moved = [
            np.roll(dense[b], np.rint(middle - centre(b)).astype(int), axis=(0, 1)) for b in pair
        ]
        both = moved[0] + moved[1]
        for b in pair:
            if values:
                own = y.values[y.indptr[b, 0] : y.indptr[b, -1]]
                kept = [x.values[x.indptr[i, 0] : x.indptr[i, -1]] for i in pair]
                assert np.isin(own, np.concatenate(kept)).all()
            else:
                assert (blended[b] <= both).all()
            count = int(np.diff(y.indptr[b]).sum())
            size = sum(int(np.diff(x.indptr[i]).sum()) for i in pair)
            assert abs(count - size / 2) < 5 * np.sqrt(size / 4)


def test_blend_is_the_generators(rng):
    x, labels = recordings(rng, False), np.zeros(8, int)
    a, b = (augment.blend(x, np.random.default_rng(1), labels=labels) for _ in range(2))
    np.testing.assert_array_equal(a.indices, b.indices)
    np.testing.assert_array_equal(a.indptr, b.indptr)
    unchanged = augment.blend(x, rng, labels=labels, p=0)
    np.testing.assert_array_equal(unchanged.to_dense(), x.to_dense())
    changed = augment.blend(x, rng, labels=labels, p=0.5).to_dense()
    same = (changed == x.to_dense()).all((1, 2))
    assert 0 < same.sum() < 8
    assert len(augment.blend(x[:0], rng, labels=np.zeros(0, int))) == 0


def test_what_moves_out_is_lost():
    """Nothing wraps round, at either end of the channels and of the window."""
    x = Events.from_arrays([0, 5], [0, 9], [0, 1], n_neurons=10, n_steps=6)
    seen = [augment.shift_channels(x, np.random.default_rng(s), channels=3) for s in range(20)]
    seen += [augment.shift_time(x, np.random.default_rng(s), steps=3) for s in range(20)]
    for y in seen:
        Events(y.indptr, y.indices, y.n_neurons, y.values)
    assert {y.n_events for y in seen} == {0, 1, 2}


@pytest.mark.parametrize("labels", [[0], [0.5] * 8, [[0]] * 8, None])
def test_blend_wants_a_label_for_each(labels, rng):
    with pytest.raises((TypeError, ValueError), match="labels"):
        augment.blend(recordings(rng, False), rng, labels=labels)
