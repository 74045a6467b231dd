"""Where the clock of a recording starts, and what is said of a window that misses it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from fastsnn_np.datasets import events_from_structured, nmnist, shd
from fastsnn_np.spikes._clock import steps_of


def recording(times, dtype=np.int64):
    return np.array([(t, i % 3) for i, t in enumerate(times)], [("t", dtype), ("x", np.int16)])


def binned(recordings, **options):
    given = {"sensor_size": (3, 1), "dt": 1.0, "n_steps": 10, "time_unit": "us", **options}
    return events_from_structured(recordings, **given)


EPOCH = 1_700_000_000_000_000  # us: a clock of the year 2023


def test_a_clock_of_the_year_2023_is_told():
    times = EPOCH + np.arange(10) * 1000
    with pytest.warns(
        UserWarning, match="0 of 10 events fall into the 10 steps of 1 ms.*1.7e"
    ) as w:
        assert binned([recording(times)]).n_events == 0
    assert w[0].filename == __file__
    for start in ("first", EPOCH, float(EPOCH), np.int64(EPOCH)):
        events = binned([recording(times)], start=start)
        assert events.indptr.tolist() == [list(range(11))]


def test_each_recording_starts_at_its_own_first_event():
    times = np.array([0, 3500, 9999])
    parts = [recording(times + late) for late in (0, 77, EPOCH, -(10**15))]
    events = binned([*parts, recording([])], start="first")
    assert np.diff(events.indptr, axis=1)[:4].tolist() == [[1, 0, 0, 1, 0, 0, 0, 0, 0, 1]] * 4
    shuffled = recording((times + EPOCH)[[2, 0, 1]])
    assert binned([shuffled], start="first").indptr.tolist() == [[0, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3]]


@pytest.mark.parametrize(
    ("dtype", "start"),
    [
        (np.int64, 1_700_000_000_000_000_123),  # ns, which no float holds
        (np.uint64, 2**64 - 10_000_000),
        (np.int64, -(2**63)),
        (np.uint8, 3),
        (np.int16, -300),
        (np.float64, 1.7e9),
        (np.float32, 1000.0),
    ],
)
def test_no_event_moves_by_another_start(dtype, start):
    kind = np.dtype(dtype)
    offsets = np.array([0, 1, 2, 9, 10, 39, 40])
    if kind.kind == "f":
        times = np.array([start + 0.001 * n for n in offsets], kind)
        steps = steps_of(times, 1.0, 5, "s", start)
        expected = np.minimum(offsets, 5)
    else:
        times = np.array([start + int(n) for n in offsets], kind)
        steps = steps_of(times, 0.001 * 10, 5, "us", start)
        expected = np.minimum(offsets // 10, 5)
    tolerance = 0 if dtype != np.float32 else 1
    assert (np.abs(steps - expected) <= tolerance).all()


def test_what_is_before_the_start_has_no_step():
    assert steps_of(np.array([4, 5, 6], np.uint8), 0.001, 9, "us", 5).tolist() == [-1, 0, 1]
    assert steps_of(np.array([4, 5], np.uint8), 0.001, 9, "us", 500).tolist() == [-1, -1]
    assert steps_of(np.array([0, 5], np.uint8), 0.001, 99, "us", -3).tolist() == [3, 8]
    assert steps_of(np.array([4, 5, 6]), 0.001, 9, "us", 4.5).tolist() == [-1, 0, 1]
    assert steps_of(np.array([0.5, np.nan, 1.5]), 1.0, 9, "ms", 1.5).tolist() == [-1, -2, 0]


@pytest.mark.parametrize(
    ("times", "options", "words"),
    [
        ([100, 200], {"time_unit": "s"}, "0 of 2 events"),  # the wrong unit
        ([100, 200], {"time_unit": "ms"}, "from 100 to 200 ms"),
        ([5000, 9000], {"dt": 0.001}, "10 steps of 0.001 ms"),  # a dt that drops all
        ([-5, -1], {}, "1 of 1 recordings with events keep none"),
        ([0, *range(10**6, 10**6 + 20)], {}, "1 of 21 events"),  # nearly all
    ],
)
def test_a_window_that_misses_the_events_is_told(times, options, words):
    with pytest.warns(UserWarning, match=words):
        binned([recording(times)], **options)


def test_one_recording_of_many_that_keeps_none_is_told():
    parts = [recording([10, 20, 30])] * 5 + [recording([10**9])]
    with pytest.warns(UserWarning, match="1 of 6 recordings with events keep none"):
        binned(parts)


def test_nothing_is_said_where_nothing_is_wrong():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        binned([recording([]), recording([1, 2, 12_000])])
        binned([])


def test_times_without_a_number_are_told():
    parts = [recording([np.nan, np.inf], np.float64)]
    with pytest.warns(UserWarning, match="0 of 2 events"):
        assert binned(parts, start="first").n_events == 0


def test_a_data_set_whose_window_is_empty_says_so_each_time(tmp_path, monkeypatch):
    """Also where it was cached."""
    monkeypatch.setenv("FASTSNN_CACHE", str(tmp_path / "cache"))
    for digit in range(10):
        folder = tmp_path / "Train" / str(digit)
        folder.mkdir(parents=True)
        (folder / f"{digit}.bin").write_bytes(bytes([1, 2, 0, 100, 0]))
    for _ in range(3):
        with pytest.warns(UserWarning, match="0 of 10 events fall into the 300 steps of 0.01 ms"):
            nmnist("train", root=tmp_path, dt=0.01)
    assert nmnist("train", root=tmp_path)[0].n_events == 10


def test_options_that_numpy_gave_are_cached(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTSNN_CACHE", str(tmp_path / "cache"))
    for digit in range(10):
        folder = tmp_path / "Train" / str(digit)
        folder.mkdir(parents=True)
        (folder / f"{digit}.bin").write_bytes(bytes([1, 2, 0, 1, 0]))
    options = {"dt": np.float32(2), "n_steps": np.int64(7), "binary": np.bool_(True)}
    assert nmnist("train", root=tmp_path, **options)[0].n_steps == 7
    assert nmnist("train", root=tmp_path, dt=2, n_steps=7)[0].n_steps == 7
    assert len(list((tmp_path / "cache").iterdir())) == 1  # the same file
    for read in (nmnist, shd):
        for change in ({"dt": "1"}, {"dt": 0}, {"n_steps": 2.5}, {"n_steps": None}):
            with pytest.raises(ValueError, match="must be"):
                read("train", root=tmp_path, **change)
        with pytest.raises(TypeError, match="cache must be True or False|binary must be"):
            read("train", root=tmp_path, binary=2)
