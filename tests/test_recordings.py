"""N-MNIST, SHD and structured arrays: read from tiny originals, cached, refused when damaged."""

from __future__ import annotations

import gzip
import logging
import os
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fastsnn_np import Events
from fastsnn_np.datasets import _cache, events_from_structured, nmnist, shd, shd_speakers
from fastsnn_np.datasets._sources import user_cache
from fastsnn_np.spikes._binning import bin_recordings
from fastsnn_np.spikes._clock import steps_of

DATA = Path(os.environ.get("FASTSNN_DATA") or os.devnull)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """No test sees or changes the user's data or cache."""
    monkeypatch.setenv("FASTSNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FASTSNN_DATA", raising=False)
    return tmp_path / "cache"


def same(a, b):
    (events, labels), (others, other_labels) = a, b
    np.testing.assert_array_equal(events.indptr, others.indptr)
    np.testing.assert_array_equal(events.indices, others.indices)
    assert events.indptr.dtype == others.indptr.dtype == np.int64
    assert events.indices.dtype == others.indices.dtype == np.int32
    assert events.n_neurons == others.n_neurons
    np.testing.assert_array_equal(labels, other_labels)
    assert labels.dtype == other_labels.dtype == np.uint8


# --- binning ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dt", [0.5, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_time_on_an_edge_gets_its_own_step(dt, dtype):
    """Plain floor(t / dt) puts many of these half-precision times one step too early."""
    step = np.arange(500)
    times = (step * (dt * 1e-3)).astype(dtype)
    if dt == 0.5 and dtype == np.float16:  # steps narrower than a half's rounding near 1 s
        step, times = step[:400], times[:400]
    np.testing.assert_array_equal(steps_of(times, dt, 500, "s"), step)
    if dtype == np.float16 and dt == 2.0:
        assert (np.floor(times.astype(float) / 2e-3) != step).sum() > 100


@pytest.mark.parametrize(("dt", "unit"), [(0.1, "ms"), (0.3, "ms"), (0.1, "s"), (0.7, "us")])
def test_a_decimal_edge_is_where_it_is_meant_to_be(dt, unit):
    """3 x 0.1 is 0.30000000000000004, and an event at 0.3 is at that edge."""
    per_ms = {"ms": 1.0, "s": 1e-3, "us": 1e3}[unit]
    times = np.array([float(f"{k * dt:.6f}") for k in range(500)]) * per_ms
    for dtype in (np.float32, np.float64):
        steps = steps_of(times.astype(dtype), dt, 500, unit)
        np.testing.assert_array_equal(steps, np.arange(500))


def test_any_other_time_is_off_by_its_own_rounding_only(rng):
    true = rng.uniform(0, 1.2, 20_000)
    step = steps_of(true.astype(np.float16), 2.0, 500, "s")
    exact = np.minimum(np.floor(true / 2e-3), 500)
    near = np.abs(true / 2e-3 - np.round(true / 2e-3)) * 2e-3 <= 2 ** np.floor(np.log2(true)) / 1024
    assert (np.abs(step - exact) <= 1).all()
    np.testing.assert_array_equal(step[~near], exact[~near])


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_times_that_have_no_step(dtype):
    times = np.array([np.nan, np.inf, -np.inf, -0.001, 0.0, 0.009, 0.01, 5.0], dtype)
    assert steps_of(times, 1.0, 10, "s").tolist() == [-2, -2, -2, -1, 0, 9, 10, 10]


def test_whole_microseconds():
    assert steps_of(np.array([-1, 0, 1000, 1001, 2001, 2002]), 1.001, 2, "us").tolist() == [
        -1, 0, 0, 1, 1, 2,
    ]  # fmt: skip
    assert steps_of(np.array([1999, 2000], np.uint32), 2.0, 5, "us").tolist() == [0, 1]
    with pytest.raises(TypeError, match="integers or floats, got dtype bool"):
        steps_of(np.array([True]), 1.0, 5, "us")


@pytest.mark.parametrize("n_neurons", [7, 70_000, 1 << 31])
@pytest.mark.parametrize("binary", [True, False])
def test_binning_is_from_arrays(rng, n_neurons, binary):
    """Also where neurons need 32 bits, and neurons times steps 64."""
    size = (40, 0, 90)
    parts = [(rng.integers(0, 9, n), rng.integers(0, 3, n) + n_neurons - 3) for n in size]
    options = {"n_neurons": n_neurons, "n_steps": 8, "binary": binary}
    events = bin_recordings(parts, dt=1.0, time_unit="ms", where="here", **options)
    step, neuron = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    sample = np.repeat(np.arange(3), size)
    inside = step < 8
    expected = Events.from_arrays(
        step[inside], neuron[inside], sample[inside], n_samples=3, **options
    )
    np.testing.assert_array_equal(events.indptr, expected.indptr)
    rows = np.repeat(np.arange(24), np.diff(expected.indptr).ravel())
    np.testing.assert_array_equal(
        events.indices, expected.indices[np.lexsort((expected.indices, rows))]
    )


# --- structured arrays -----------------------------------------------------------------------

FIELDS = [("t", np.int64), ("x", np.int16), ("y", np.int16), ("p", bool)]
RECORDING = np.array([(2500, 1, 2, True), (0, 0, 1, False), (2999, 1, 2, False)], FIELDS)
SENSOR = {"sensor_size": (2, 3), "dt": 1.0, "n_steps": 3}


def test_structured_arrays():
    events = events_from_structured([RECORDING, RECORDING[:0]], **SENSOR)
    assert events.indptr.tolist() == [[0, 1, 1, 2], [2, 2, 2, 2]]
    assert events.indices.tolist() == [2, 5]
    assert events_from_structured([RECORDING], **SENSOR, binary=False).indices.tolist() == [2, 5, 5]
    both = events_from_structured([RECORDING], **SENSOR, polarities="both")
    assert both.indices.tolist() == [2, 5, 11]
    assert both.n_neurons == 12
    units = np.array([(0.018, 4)], [("t", np.float16), ("x", np.uint16)])
    cochlea = events_from_structured(
        [units], sensor_size=(700, 1, 1), dt=2.0, n_steps=10, time_unit="s", polarities="both"
    )
    assert cochlea.indptr[0, 9:].tolist() == [0, 1]
    assert len(events_from_structured([], **SENSOR)) == 0


BAD_STRUCTURED = [
    ([np.zeros(3)], {}, TypeError, r"recordings\[0\] must be a structured"),
    ([[1, 2]], {}, TypeError, "got list"),
    ([RECORDING[["t", "y"]]], {}, ValueError, "no field 'x'"),
    ([RECORDING[["x", "y"]]], {}, ValueError, "no field 't'"),
    ([RECORDING[["t", "x"]]], {"polarities": "both"}, ValueError, "no field 'p'"),
    ([RECORDING], {"polarities": "none"}, ValueError, "'merged' or 'both', got 'none'"),
    ([RECORDING], {"time_unit": "h"}, ValueError, "one of 's', 'ms', 'us', 'ns', got 'h'"),
    ([RECORDING], {"dt": 0.0}, ValueError, "dt must be positive"),
    ([RECORDING], {"dt": float("nan")}, ValueError, "dt must be positive"),
    ([RECORDING], {"n_steps": 0}, ValueError, "n_steps"),
    ([RECORDING], {"sensor_size": (2,)}, ValueError, r"\(width, height\)"),
    ([RECORDING], {"sensor_size": (0, 3)}, ValueError, r"\(width, height\)"),
    ([RECORDING[:0], RECORDING], {"sensor_size": (2, 2)}, ValueError, r"\[1\]\['y'\].*0 ... 1.*2"),
    ([np.array([(0, -1)], FIELDS[:2])], {}, ValueError, "got -1 to -1"),
    ([np.array([(0, 0.5)], [("t", int), ("x", float)])], {}, TypeError, "'x'.*must be integers"),
]


@pytest.mark.parametrize(
    ("recordings", "change", "error", "words"), BAD_STRUCTURED, ids=range(len(BAD_STRUCTURED))
)
def test_bad_structured_arrays(recordings, change, error, words):
    with pytest.raises(error, match=words):
        events_from_structured(recordings, **{**SENSOR, **change})


# --- N-MNIST ---------------------------------------------------------------------------------


def packed(events):
    """(t, x, y, p) rows as the published 5 bytes an event."""
    return b"".join(
        bytes([x, y, p << 7 | t >> 16]) + (t & 0xFFFF).to_bytes(2, "big") for t, x, y, p in events
    )


def digit_events(digit):
    return [(500, digit, 1, 0), (700, digit, 1, 1), (70_500, 33, 33, 1), (300_000, 0, 0, 0)]


@pytest.fixture
def nmnist_folder(tmp_path):
    for split in ("Train", "Test"):
        for digit in range(10):
            folder = tmp_path / "N" / split / str(digit)
            folder.mkdir(parents=True)
            (folder / f"{20 - digit:05d}.bin").write_bytes(packed(digit_events(digit)))
            (folder / ".DS_Store").write_bytes(b"not a recording")
    return tmp_path / "N"


def test_nmnist_in_a_folder(nmnist_folder, caplog):
    with caplog.at_level(logging.INFO, "fastsnn_np"):
        events, labels = nmnist("train", root=nmnist_folder, cache=False)
    assert "0 before time 0, 10 after 300 steps" in caplog.text
    assert labels.tolist() == list(range(9, -1, -1))  # by index
    assert labels.dtype == np.uint8
    assert (len(events), events.n_neurons, events.n_steps) == (10, 1156, 300)
    assert events.indices[:4].tolist() == [9 + 34, 33 + 34 * 33, 8 + 34, 33 + 34 * 33]
    assert np.flatnonzero(np.diff(events.indptr[0])).tolist() == [0, 70]
    twice, _ = nmnist("train", root=nmnist_folder, cache=False, binary=False)
    assert twice.indices[:3].tolist() == [43, 43, 1155]
    both, _ = nmnist("test", root=nmnist_folder, cache=False, polarities="both", dt=2.0)
    assert both.n_neurons == 2312
    assert both.indices[:4].tolist() == [43, 1156 + 43, 1156 + 1155, 0]
    assert np.flatnonzero(np.diff(both.indptr[0])).tolist() == [0, 35, 150]


def test_nmnist_in_the_published_zip_is_the_folder(nmnist_folder, tmp_path):
    shutil.make_archive(tmp_path / "zips" / "Train", "zip", nmnist_folder, "Train")
    for cache in (False, True, True):
        zipped = nmnist("train", root=tmp_path / "zips", cache=cache)
        same(zipped, nmnist("train", root=nmnist_folder, cache=False))


def test_nmnist_clock_overflow(nmnist_folder):
    """As the published readers have it: y = 240 adds 2^13 us from there on and is no event."""
    events = [(100, 1, 0, 0), (0, 0, 240, 0), (100, 2, 0, 0), (0, 0, 240, 0), (100, 3, 0, 0)]
    (nmnist_folder / "Train/9/00011.bin").write_bytes(packed(events))
    read, _ = nmnist("train", root=nmnist_folder, cache=False)
    assert read.indices[:3].tolist() == [1, 2, 3]
    assert np.flatnonzero(np.diff(read.indptr[0])).tolist() == [0, 8, 16]


BAD_BIN = [
    (b"", "00017.bin is truncated.*got 0 bytes"),
    (packed(digit_events(3))[:-1], "00017.bin is truncated.*got 19 bytes"),
    (packed([(0, 34, 0, 0)]), r"00017.bin: x must lie in 0 \.\.\. 33, got 34"),
    (packed([(0, 0, 34, 0)]), r"00017.bin: y must lie in 0 \.\.\. 33, got 34"),
]


@pytest.mark.parametrize(("data", "words"), BAD_BIN, ids=range(len(BAD_BIN)))
def test_damaged_nmnist_recordings(nmnist_folder, own_cache, data, words):
    (nmnist_folder / "Train/3/00017.bin").write_bytes(data)
    with pytest.raises(ValueError, match=words):
        nmnist("train", root=nmnist_folder)
    assert not own_cache.exists()
    shutil.make_archive(nmnist_folder / "zips" / "Train", "zip", nmnist_folder, "Train")
    with pytest.raises(ValueError, match=words):
        nmnist("train", root=nmnist_folder / "zips")


def test_nmnist_that_is_not_whole(nmnist_folder, tmp_path, monkeypatch):
    shutil.rmtree(nmnist_folder / "Train/4")
    with pytest.raises(ValueError, match=r"Train has no recording 4/<index>\.bin"):
        nmnist("train", root=nmnist_folder)
    (nmnist_folder / "Test/9/00011.bin").unlink()
    with pytest.raises(ValueError, match=r"Test has no recording 9/<index>\.bin"):
        nmnist("test", root=nmnist_folder)
    monkeypatch.setenv("FASTSNN_DATA", str(tmp_path / "data"))
    (tmp_path / "data" / "nmnist").mkdir(parents=True)
    with pytest.raises(FileNotFoundError) as error:
        nmnist("train")
    for words in ("Train.zip", str(tmp_path / "data" / "N-MNIST"), "garrickorchard.com", "root="):
        assert words in str(error.value)
    with pytest.raises(ValueError, match="'train' or 'test', got 'valid'"):
        nmnist("valid", root=nmnist_folder)
    with pytest.raises(ValueError, match="polarities"):
        nmnist("test", root=nmnist_folder, polarities="on")


def test_damaged_nmnist_zips(nmnist_folder, tmp_path):
    path = Path(shutil.make_archive(tmp_path / "Train", "zip", nmnist_folder, "Train"))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"Train.zip is truncated or no zip file"):
        nmnist("train", root=tmp_path)
    with zipfile.ZipFile(path, "w") as archive:
        for digit in range(10):
            archive.writestr(f"Train/{digit}/{digit}.bin", packed(digit_events(digit)))
    stored = packed(digit_events(7))
    good = path.read_bytes()
    for method in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2):
        with zipfile.ZipFile(path, "w", method) as archive:
            for digit in range(10):
                archive.writestr(f"Train/{digit}/{digit}.bin", packed(digit_events(digit)))
            info = archive.getinfo("Train/0/0.bin")
        data = bytearray(path.read_bytes())
        start = info.header_offset + 30 + len(info.filename)
        data[start + 6 : start + 20] = bytes(14)
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"Train.zip is damaged at Train/0/0.bin"):
            nmnist("train", root=tmp_path)
    path.write_bytes(good.replace(stored, bytes(len(stored))))
    with pytest.raises(ValueError, match=r"Train.zip is damaged at Train/7/7.bin.*CRC"):
        nmnist("train", root=tmp_path)


def test_found_in_order(nmnist_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("FASTSNN_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    nmnist_folder.rename(tmp_path / "data" / "N-MNIST")
    assert len(nmnist("test", cache=False)[0]) == 10
    (tmp_path / "cache").mkdir()
    (tmp_path / "data" / "N-MNIST").rename(tmp_path / "cache" / "nmnist")
    assert len(nmnist("test", cache=False)[0]) == 10


# --- SHD -------------------------------------------------------------------------------------

SAMPLES = [([0.002, 0.018, np.nan, -0.5, 0.018, 0.9985, 1.3], [5, 6, 7, 8, 6, 699, 9]), ([], [])]


def write_shd(path, samples=SAMPLES, labels=(3, 19), dtype=np.float16, skip=None):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    with h5py.File(path, "w") as file:
        parts = (("times", 0, dtype), ("units", 1, np.uint16))
        for name, column, kind in parts:
            if name != skip:
                part = file.create_dataset(
                    f"spikes/{name}", (len(samples),), h5py.vlen_dtype(np.dtype(kind))
                )
                for i, sample in enumerate(samples):
                    part[i] = np.array(sample[column], kind)
        file["labels"] = np.array(labels)
    return path


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_shd(tmp_path, caplog, dtype):
    write_shd(tmp_path / "shd_train.h5", dtype=dtype)
    with caplog.at_level(logging.INFO, "fastsnn_np"):
        events, labels = shd("train", root=tmp_path, cache=False)
    assert "left out 1 events without a finite time, 1 before time 0, 1 after 500" in caplog.text
    assert labels.tolist() == [3, 19]
    assert labels.dtype == np.uint8
    assert (len(events), events.n_neurons, events.n_steps) == (2, 700, 500)
    assert events.indices.tolist() == [5, 6, 699]
    assert np.flatnonzero(np.diff(events.indptr[0])).tolist() == [1, 9, 499]
    assert shd("train", root=tmp_path, binary=False)[0].indices.tolist() == [5, 6, 6, 699]


def test_speakers_of_shd(tmp_path):
    path = write_shd(tmp_path / "shd_train.h5")
    with pytest.raises(ValueError, match=r"shd_train.h5 has no integers in 'extra/speaker'"):
        shd_speakers("train", root=tmp_path)
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "a") as file:
        file["extra/speaker"] = np.array([4, 11], np.uint16)
    assert shd_speakers("train", root=tmp_path).tolist() == [4, 11]
    with h5py.File(path, "a") as file:
        del file["extra/speaker"]
        file["extra/speaker"] = np.array([4, 11, 0], np.uint16)
    with pytest.raises(ValueError, match="'extra/speaker' and 'labels' do not belong together"):
        shd_speakers("train", root=tmp_path)


def test_shd_in_the_published_gz_is_the_file(tmp_path):
    many = [([0.001 * i], [i]) for i in range(600)]  # more than one slice of samples
    plain = write_shd(tmp_path / "shd_test.h5", many, np.arange(600) % 20)
    expected = shd("test", root=tmp_path, cache=False)
    assert expected[0].indices.tolist() == list(range(600))
    data = plain.read_bytes()
    plain.unlink()
    (tmp_path / "shd_test.h5.gz").write_bytes(gzip.compress(data))
    same(shd("test", root=tmp_path), expected)
    same(shd("test", root=tmp_path), expected)
    (tmp_path / "shd_test.h5.gz").write_bytes(gzip.compress(data)[:-20])
    with pytest.raises(ValueError, match=r"shd_test.h5.gz is truncated or no gzip file"):
        shd("test", root=tmp_path)


BAD_SHD = [
    ({"samples": [([0.1], [700])], "labels": [0]}, r"units of sample 0 must lie in 0 \.\.\. 699"),
    ({"samples": [([0.1], [])], "labels": [0]}, "sample 0 has 1 times and 0 units"),
    (
        {"samples": [([0.1], [1])] * 300 + [([0.1], [700])], "labels": [0] * 301},
        "units of sample 300 must",  # counted on over the slices that are read
    ),
    ({"labels": [0, 20]}, "shd_train.h5: label 20 of 20 classes"),
    ({"labels": [0, -1]}, "label -1 of 20 classes"),
    ({"labels": [0]}, r"times \(2,\), units \(2,\) and labels \(1,\) do not belong together"),
    ({"labels": [0.0, 1.0]}, "labels should be integers, got dtype float64"),
    ({"samples": [([1], [1])], "labels": [0], "dtype": np.int32}, "one array of floats a sample"),
    ({"skip": "units"}, "no data set 'spikes/units'"),
]


@pytest.mark.parametrize(("change", "words"), BAD_SHD, ids=range(len(BAD_SHD)))
def test_bad_shd(tmp_path, own_cache, change, words):
    write_shd(tmp_path / "shd_train.h5", **change)
    with pytest.raises(ValueError, match=words):
        shd("train", root=tmp_path)
    assert not own_cache.exists()


def test_damaged_or_absent_shd(tmp_path):
    path = write_shd(tmp_path / "shd_train.h5", [([0.1] * 5000, [1] * 5000)], [0])
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(ValueError, match="shd_train.h5 is truncated or no HDF5 file"):
        shd("train", root=tmp_path)
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match="no HDF5 file"):
        shd("train", root=tmp_path)
    with pytest.raises(FileNotFoundError, match=r"shd_test.h5.gz is in none of(.|\n)*zenkelab.org"):
        shd("test", root=tmp_path)
    with pytest.raises(ValueError, match="'train' or 'test'"):
        shd("dev", root=tmp_path)


def test_shd_without_h5py(tmp_path, monkeypatch):
    write_shd(tmp_path / "shd_train.h5")
    read = shd("train", root=tmp_path)
    monkeypatch.setitem(sys.modules, "h5py", None)
    same(shd("train", root=tmp_path), read)  # the cache needs none
    with pytest.raises(ImportError, match=r"pip install 'fastsnn-np\[data\]'"):
        shd("train", root=tmp_path, cache=False)


# --- the cache -------------------------------------------------------------------------------


def test_the_cache_is_read_and_follows_files_and_options(nmnist_folder, own_cache, monkeypatch):
    first = nmnist("train", root=nmnist_folder)
    (file,) = own_cache.iterdir()
    assert file.stat().st_size < 10 * 300 + 2 * first[0].n_events + 1000

    def not_read(*args, **options):
        raise AssertionError("read the originals")

    with monkeypatch.context() as patch:
        patch.setattr("fastsnn_np.datasets._nmnist.bin_recordings", not_read)
        same(nmnist("train", root=nmnist_folder), first)
        for change in ({"dt": 2.0}, {"n_steps": 5}, {"polarities": "both"}, {"binary": False}):
            with pytest.raises(AssertionError, match="read the originals"):
                nmnist("train", root=nmnist_folder, **change)
    path = nmnist_folder / "Train/0/00020.bin"
    path.write_bytes(packed([*digit_events(0), (5000, 7, 7, 0)]))
    assert nmnist("train", root=nmnist_folder)[0].n_events == first[0].n_events + 1


def flip(data):
    middle = len(data) - 30
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize(
    "damage", [lambda d: d[:200], lambda d: b"", lambda d: b"\xff" * 500, flip],
    ids=["truncated", "empty", "noise", "one bit"],
)  # fmt: skip
def test_a_damaged_cache_is_built_again(nmnist_folder, own_cache, caplog, damage):
    first = nmnist("train", root=nmnist_folder)
    (file,) = own_cache.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    same(nmnist("train", root=nmnist_folder), first)
    assert "is damaged and is built again" in caplog.text
    assert file.read_bytes() == whole
    assert [f.name for f in own_cache.iterdir()] == [file.name]  # nothing temporary is left


def test_another_file_under_the_same_name_is_not_believed(nmnist_folder, own_cache, caplog):
    first = nmnist("train", root=nmnist_folder)
    (file,) = own_cache.iterdir()
    nmnist("train", root=nmnist_folder, n_steps=7)
    (other,) = set(own_cache.iterdir()) - {file}
    other.replace(file)
    same(nmnist("train", root=nmnist_folder), first)
    assert "not what its header says" in caplog.text


def test_a_cache_that_cannot_be_written_is_no_error(nmnist_folder, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("FASTSNN_CACHE", str(tmp_path / "file" / "cache"))
    with caplog.at_level(logging.INFO, "fastsnn_np"):
        assert len(nmnist("train", root=nmnist_folder)[0]) == 10
    assert "not cached in" in caplog.text


@pytest.mark.parametrize("per_step", [1, 300, 70_000])
def test_counts_of_any_size(own_cache, tmp_path, per_step):
    events = Events(
        np.array([[0, per_step, per_step], [per_step, per_step, per_step + 1]]),
        np.full(per_step + 1, 69_999),
        70_000,
    )
    made = (events, np.array([1, 0], np.uint8))
    fits = {"shape": (70_000, 2), "n_classes": 2}
    same(_cache.cached("set", [], {}, lambda: made, **fits), made)
    same(_cache.cached("set", [], {}, lambda: pytest.fail("built again"), **fits), made)
    none = (Events(np.zeros((0, 3), int), np.zeros(0, int), 5), np.zeros(0, np.uint8))
    fits = {"shape": (5, 2), "n_classes": 2}
    same(_cache.cached("none", [], {}, lambda: none, **fits), none)
    same(_cache.cached("none", [], {}, lambda: pytest.fail("built again"), **fits), none)


def test_where_the_cache_is(monkeypatch, tmp_path):
    assert user_cache() == tmp_path / "cache"
    monkeypatch.delenv("FASTSNN_CACHE")
    monkeypatch.setitem(sys.modules, "pooch", None)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert user_cache() == tmp_path / "xdg" / "fastsnn_np"


# --- real originals --------------------------------------------------------------------------


def originals(*places):
    """The first of these files or folders in FASTSNN_DATA."""
    found = [DATA / place for place in places if (DATA / place).exists()]
    if not found:
        pytest.skip(f"none of {', '.join(places)} in FASTSNN_DATA")
    return found[0].parent


def test_nmnist_originals():
    root = originals("nmnist/Test", "N-MNIST/Test", "nmnist/Test.zip", "N-MNIST/Test.zip")
    events, labels = nmnist("test", root=root)
    assert set(labels.tolist()) == set(range(10))
    assert 2000 < events.n_events / len(events) < 6000
    assert (np.diff(events.indptr[:, [0, -1]]) > 0).all()
    same(nmnist("test", root=root), (events, labels))


def test_shd_originals():
    names = [f"{folder}/shd_test.h5{end}" for folder in ("shd", "SHD") for end in ("", ".gz")]
    root = originals(*names)
    pytest.importorskip("h5py", reason="h5py is not installed")
    events, labels = shd("test", root=root)
    assert len(events) == len(labels) == 2264
    assert set(labels.tolist()) == set(range(20))
    assert 5000 < events.n_events / len(events) < 10_000
    same(shd("test", root=root), (events, labels))
