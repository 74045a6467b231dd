"""Damaged and hostile files: a sentence that names the file, soon, and in little memory."""

from __future__ import annotations

import os
import signal
import sys

import hostile
import numpy as np
import pytest

import fastsnn_np as fs
from fastsnn_np.datasets import _cache, fashion_mnist, nmnist, shd, shd_speakers

try:
    import hostile_hdf5
except ImportError:  # h5py is not installed, which the skipped tests say
    hostile_hdf5 = None
    HDF5 = HDF5_PACKED = FLIPPED = {}
else:
    HDF5, HDF5_PACKED, FLIPPED = hostile_hdf5.FILES, hostile_hdf5.PACKED, hostile_hdf5.FLIPPED

LIMIT = 300 << 20  # bytes of memory that reading may take
HANGS = 60  # seconds after which a reader is taken to hang; each is meant to take less than 2

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no pipes, limits and alarms")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("FASTSNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FASTSNN_DATA", raising=False)
    return tmp_path / "cache"


class bounded:  # noqa: N801 (as contextlib's)
    """In this block memory is scarce and an alarm goes off, so that no reader ends the tests."""

    def __enter__(self):
        signal.signal(signal.SIGALRM, self.rings)
        signal.alarm(HANGS)
        self.limits = None
        if sys.platform == "linux":
            import resource

            with open("/proc/self/statm") as file:
                now = int(file.read().split()[0]) * resource.getpagesize()
            self.limits = resource.getrlimit(resource.RLIMIT_AS)
            resource.setrlimit(resource.RLIMIT_AS, (now + LIMIT, self.limits[1]))

    def __exit__(self, *error):
        signal.alarm(0)
        if self.limits is not None:
            import resource

            resource.setrlimit(resource.RLIMIT_AS, self.limits)

    @staticmethod
    def rings(*args):
        raise AssertionError(f"still reading after {HANGS} s")


def refused(call, name):
    """The call ends in a sentence that names the file."""
    with bounded(), pytest.raises((ValueError, OSError)) as error:
        call()
    assert name in str(error.value)
    assert not isinstance(error.value, UnicodeError)


def test_there_are_many():
    tables = (hostile.NETWORKS, hostile.ZIPS, hostile.BINS, hostile.IDX, CACHES, HDF5, HDF5_PACKED)
    assert sum(map(len, tables)) >= (180 if hostile_hdf5 else 120)


# --- networks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", hostile.NETWORKS)
def test_networks(tmp_path, name):
    path = tmp_path / "n.safetensors"
    path.write_bytes(hostile.NETWORKS[name](hostile.network_bytes(path)))
    refused(lambda: fs.Network.load(path), "n.safetensors")


@pytest.mark.parametrize("name", hostile.NO_FILES)
def test_networks_that_are_no_files(tmp_path, name):
    path = tmp_path / "n.safetensors"
    hostile.NO_FILES[name](path)
    refused(lambda: fs.Network.load(path), "n.safetensors")
    refused(lambda: fs.forward(np.ones((1, 4, 3)), path), "n.safetensors")


def test_a_header_of_80_megabytes(tmp_path):
    hostile.long_header(tmp_path / "n.safetensors")
    refused(lambda: fs.Network.load(tmp_path / "n.safetensors"), "n.safetensors")


def test_the_undamaged_network_is_read(tmp_path):
    path = tmp_path / "n.safetensors"
    path.write_bytes(hostile.described(lambda ours: None)(hostile.network_bytes(path)))
    assert fs.Network.load(path).sizes == (4, 3, 2)


# --- Fashion-MNIST -----------------------------------------------------------------------------

IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"


@pytest.mark.parametrize("name", hostile.IDX)
def test_images(tmp_path, name):
    (tmp_path / IMAGES).write_bytes(hostile.IDX[name])
    (tmp_path / LABELS).write_bytes(hostile.idx(6))
    refused(lambda: fashion_mnist("train", root=tmp_path), str(tmp_path))


@pytest.mark.parametrize(
    "data", [hostile.idx(6, data=b"\12" * 6), hostile.idx(6, 1)], ids=["a tenth class", "two axes"]
)
def test_labels(tmp_path, data):
    (tmp_path / IMAGES).write_bytes(hostile.IMAGES)
    (tmp_path / LABELS).write_bytes(data)
    refused(lambda: fashion_mnist("train", root=tmp_path), str(tmp_path))


@pytest.mark.parametrize("name", hostile.NO_FILES)
def test_images_that_are_no_files(tmp_path, name):
    hostile.NO_FILES[name](tmp_path / IMAGES)
    (tmp_path / LABELS).write_bytes(hostile.idx(6))
    refused(lambda: fashion_mnist("train", root=tmp_path, download=False), str(tmp_path))


def test_a_file_in_several_members_is_read(tmp_path):
    import gzip

    from fastsnn_np.datasets._fashion_mnist import read_idx

    data = gzip.decompress(hostile.IMAGES)
    members = b"".join(gzip.compress(data[i : i + 1000]) for i in range(0, len(data), 1000))
    (tmp_path / IMAGES).write_bytes(members + gzip.compress(b"") + bytes(100))
    assert read_idx(tmp_path / IMAGES).shape == (6, 28, 28)


# --- N-MNIST -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", hostile.ZIPS)
def test_zips(tmp_path, name):
    path = tmp_path / "Train.zip"
    path.write_bytes(hostile.ZIPS[name](path))
    refused(lambda: nmnist("train", root=tmp_path), "Train.zip")


def test_a_name_of_5000_digits_is_no_recording(tmp_path):
    hostile.nmnist_zip(tmp_path / "Train.zip", {f"Train/5/{'1' * 5000}.bin": b""})
    assert len(nmnist("train", root=tmp_path)[0]) == 10


@pytest.mark.parametrize("name", hostile.BINS)
def test_recordings(tmp_path, name):
    hostile.nmnist_folder(tmp_path)
    (tmp_path / "Train/5/5.bin").write_bytes(hostile.BINS[name])
    refused(lambda: nmnist("train", root=tmp_path), "5.bin")


@pytest.mark.parametrize("name", hostile.NO_FILES)
def test_recordings_that_are_no_files(tmp_path, name):
    hostile.nmnist_folder(tmp_path)
    (tmp_path / "Train/5/5.bin").unlink()
    hostile.NO_FILES[name](tmp_path / "Train/5/5.bin")
    refused(lambda: nmnist("train", root=tmp_path), "5.bin")
    hostile.NO_FILES[name](tmp_path / "Test.zip")
    refused(lambda: nmnist("test", root=tmp_path), "Test.zip")


# --- SHD ---------------------------------------------------------------------------------------

needs_h5py = pytest.mark.skipif(hostile_hdf5 is None, reason="h5py is not installed")


@needs_h5py
@pytest.mark.parametrize("name", HDF5)
def test_hdf5(tmp_path, name):
    HDF5[name](tmp_path / "shd_train.h5")
    refused(lambda: shd("train", root=tmp_path), "shd_train.h5")


@needs_h5py
@pytest.mark.parametrize("name", HDF5_PACKED)
def test_packed_hdf5(tmp_path, name):
    HDF5_PACKED[name](tmp_path / "shd_train.h5.gz")
    refused(lambda: shd("train", root=tmp_path), "shd_train.h5.gz")


@needs_h5py
@pytest.mark.parametrize("name", FLIPPED)
def test_flipped_hdf5(tmp_path, name):
    """What is read of a damaged file is right in itself, or it is refused."""
    FLIPPED[name](tmp_path / "shd_train.h5")
    with bounded():
        try:
            events, labels = shd("train", root=tmp_path)
        except (ValueError, OSError) as error:
            said = str(error)
        else:
            fs.Events(events.indptr, events.indices, 700)
            said = "shd_train.h5" if len(labels) == len(events) else ""
    assert "shd_train.h5" in said


@needs_h5py
@pytest.mark.parametrize("name", ["pipe", "device", "folder"])
def test_hdf5_that_is_no_file(tmp_path, name):
    hostile.NO_FILES[name](tmp_path / "shd_train.h5")
    refused(lambda: shd("train", root=tmp_path), "shd_train.h5")
    refused(lambda: shd_speakers("train", root=tmp_path), "shd_train.h5")


@needs_h5py
@pytest.mark.parametrize("values", [[4, 12, 0, 0], [-1, 0, 0, 0], [0.5] * 4, [0] * 3])
def test_speakers(tmp_path, values):
    hostile_hdf5.changed(lambda f, p: f.create_dataset("extra/speaker", data=values))(
        tmp_path / "shd_train.h5"
    )
    refused(lambda: shd_speakers("train", root=tmp_path), "shd_train.h5")


@needs_h5py
def test_the_undamaged_file_is_read(tmp_path):
    """Also one with a user block in front, in chunks, and with a newer structure."""
    import h5py

    for options in ({}, {"userblock_size": 512}, {"libver": "latest"}):
        hostile_hdf5.shd(tmp_path / "shd_train.h5", **options)
        events, labels = shd("train", root=tmp_path, cache=False)
        assert (len(events), events.n_events, labels.tolist()) == (4, 200, [0, 1, 2, 3])
    with h5py.File(tmp_path / "shd_train.h5", "a") as file:
        times = file["spikes/times"][:]
        del file["spikes/times"]
        part = file.create_dataset(
            "spikes/times", (4,), hostile_hdf5.FLOATS, chunks=(2,), compression="gzip"
        )
        for i, values in enumerate(times):
            part[i] = values
    assert shd("train", root=tmp_path, cache=False)[0].n_events == 200


# --- caches ------------------------------------------------------------------------------------

TRUTH = fs.Events(np.array([[0, 1, 3], [3, 3, 5]]), np.array([2, 0, 1, 2, 2]), 3)
GOOD = {
    "counts": np.array([[1, 2], [0, 2]], np.uint8),
    "indices": np.array([2, 0, 1, 2, 2], np.uint16),
    "labels": np.array([1, 0], np.uint8),
}


def wide(values, dtype=np.uint64):
    return {"counts": np.array(values, dtype)}


CACHES = {
    "counts that sum to more": wide([[1, 2], [0, 3]]),
    "counts that sum to fewer": wide([[1, 2], [0, 1]]),
    "counts that wrap around": wide([[2**62, 2**62], [2**62, 2**62]]),
    "counts that wrap around to the sum": wide([[2**63, 2**63], [3, 2]]),
    "negative counts": wide([[-1, 4], [0, 2]], np.int64),
    "counts of floats": wide([[1, 2], [0, 2]], np.float32),
    "counts of truths": wide([[1, 1], [1, 1]], np.bool_),
    "counts of more steps": wide([[1, 2, 0], [0, 2, 0]]),
    "counts of fewer steps": wide([[3], [2]]),
    "counts of one axis": wide([1, 2, 0, 2]),
    "counts of more samples": wide([[1, 2], [0, 2], [0, 0]]),
    "no counts": wide(np.zeros((0, 2))),
    "an index of 3": {"indices": np.array([2, 0, 1, 2, 3], np.uint16)},
    "an index of 2^16 - 1": {"indices": np.array([2, 0, 1, 2, 65535], np.uint16)},
    "an index of 2^31 - 1": {"indices": np.array([2, 0, 1, 2, 2**31 - 1], np.int32)},
    "an index of 2^32 + 1": {"indices": np.array([2, 0, 1, 2, 2**32 + 1], np.int64)},
    "a negative index": {"indices": np.array([2, 0, 1, 2, -1], np.int32)},
    "indices of floats": {"indices": np.array([2, 0, 1, 2, 2], np.float32)},
    "indices of two axes": {"indices": np.array([[2, 0, 1, 2, 2]], np.uint16)},
    "no indices": {"indices": np.zeros(0, np.uint16)},
    "a label of 5": {"labels": np.array([1, 5], np.uint8)},
    "a label for one": {"labels": np.array([1], np.uint8)},
    "labels of two axes": {"labels": np.array([[1, 0]], np.uint8)},
    "labels of floats": {"labels": np.array([1, 0], np.float32)},
    "labels of 64 bits": {"labels": np.array([1, 0], np.int64)},
    **{f"{n!r} neurons": {"n_neurons": n} for n in (2, 4, 0, -3, 2**40, True, "3", None, 3.5)},
    "no header": {"header": []},
    "no key": {"header": {"n_neurons": 3}},
    "no sums": {"sums": None},
    "sums of something else": {"sums": {"counts": 0}},
}


@pytest.mark.parametrize("name", CACHES)
def test_a_forged_cache_is_built_again(own_cache, name, caplog):
    """The right key and the right checksums, and what they stand for is wrong."""
    change = dict(CACHES[name])

    def build():
        return TRUTH, GOOD["labels"]

    def read():
        return _cache.cached("set", [], {}, build, shape=(3, 2), n_classes=5)

    read()
    (path,) = own_cache.iterdir()
    key = _cache._FORMAT.read(path)[0]["key"]
    header = {"key": key, "n_neurons": change.pop("n_neurons", 3)}
    arrays = GOOD | {k: v for k, v in change.items() if k in GOOD}
    header["sums"] = change.get("sums", _cache._sums(arrays))
    _cache._FORMAT.write(path, change.get("header", header) or {}, arrays)
    with bounded():
        events, labels = read()
    assert "is damaged and is built again" in caplog.text
    np.testing.assert_array_equal(events.indptr, TRUTH.indptr)
    np.testing.assert_array_equal(events.indices, TRUTH.indices)
    np.testing.assert_array_equal(labels, GOOD["labels"])


@pytest.mark.parametrize("name", ["pipe", "device", "folder"])
def test_a_cache_that_is_no_file(own_cache, name, tmp_path):
    hostile.nmnist_zip(tmp_path / "Train.zip")
    first = nmnist("train", root=tmp_path)
    (path,) = own_cache.iterdir()
    os.unlink(path)
    hostile.NO_FILES[name](path)
    with bounded():
        events, _ = nmnist("train", root=tmp_path)
    np.testing.assert_array_equal(events.indices, first[0].indices)
