"""Makers of damaged and hostile HDF5 files for `test_hostile_files`; they need h5py."""

from __future__ import annotations

import gzip
import struct

import h5py
import numpy as np
from hostile import EMPTY_MEMBERS, bomb

FLOATS, UNITS = h5py.vlen_dtype(np.dtype(np.float16)), h5py.vlen_dtype(np.dtype(np.uint16))
TEN_BILLION = 10**10


def shd(path, *, samples=4, **options):
    """A right file of a few samples."""
    with h5py.File(path, "w", **options) as file:
        times = file.create_dataset("spikes/times", (samples,), FLOATS)
        units = file.create_dataset("spikes/units", (samples,), UNITS)
        for i in range(samples):
            times[i] = np.arange(50, dtype=np.float16) / 100
            units[i] = np.arange(50, dtype=np.uint16)
        file["labels"] = np.arange(samples)
    return path


def changed(change):
    """A right file, opened once more and changed."""

    def make(path):
        with h5py.File(shd(path), "a") as file:
            change(file, path)

    return make


def replaced(name, **how):
    """One data set in place of another."""

    def change(file, path):
        del file[name]
        file.create_dataset(name, **how)

    return changed(change)


def linked(name, link):
    def change(file, path):
        shd(path.with_name("other.h5"))
        del file[name]
        file[name] = link

    return changed(change)


def external(file, path):
    path.with_name("raw").write_bytes(bytes(64))
    del file["labels"]
    file.create_dataset("labels", (4,), "i8", external=[(str(path.with_name("raw")), 0, 64)])


def virtual(file, path):
    shd(path.with_name("other.h5"))
    del file["labels"]
    layout = h5py.VirtualLayout((4,), "i8")
    layout[:] = h5py.VirtualSource(str(path.with_name("other.h5")), "labels", (4,))
    file.create_virtual_dataset("labels", layout)


def declared(file, path):
    """Ten billion samples in all three data sets, of which none is kept."""
    for name, kind in (("spikes/times", FLOATS), ("spikes/units", UNITS), ("labels", "u1")):
        del file[name]
        file.create_dataset(name, (TEN_BILLION,), kind, chunks=(1 << 20,))


def packed(file, path):
    """A hundred million labels of which a few kilobytes are kept."""
    del file["labels"]
    file.create_dataset("labels", data=np.zeros(10**7, "u1"), chunks=(10**6,), compression="gzip")


def group_of_times(file, path):
    del file["spikes/times"]
    file.create_group("spikes/times")


def entries(path, change):
    """Change the 16 bytes that stand for each sample's times: length, place and number."""
    with h5py.File(shd(path)) as file:
        place = file["spikes/times"].id.get_offset()
    data = bytearray(path.read_bytes())
    data[place : place + 64] = change(bytes(data[place : place + 64]))
    path.write_bytes(data)


def longer(path):
    entries(path, lambda d: struct.pack("<L", 2**31 - 1) + d[4:])


def elsewhere(path):
    entries(path, lambda d: d[:4] + struct.pack("<Q", 2**40) + d[12:])


def numbered(path):
    entries(path, lambda d: d[:12] + struct.pack("<L", 2**31) + d[16:])


def shared(path, samples=10_000, spikes=100_000):
    """Every sample is the same large one: 2 GB of a file of 1 MB."""
    with h5py.File(path, "w") as file:
        for name, kind, values in (
            ("spikes/times", FLOATS, np.zeros(spikes, np.float16)),
            ("spikes/units", UNITS, np.zeros(spikes, np.uint16)),
        ):
            part = file.create_dataset(name, (samples,), kind)
            part[0] = values
        file["labels"] = np.zeros(samples, np.uint8)
        places = [file[f"spikes/{name}"].id.get_offset() for name in ("times", "units")]
    data = bytearray(path.read_bytes())
    for place in places:
        data[place : place + 16 * samples] = bytes(data[place : place + 16]) * samples
    path.write_bytes(data)


def cut(part):
    def make(path):
        data = shd(path).read_bytes()
        path.write_bytes(data[: int(len(data) * part)])

    return make


def flipped(seed):
    """Forty bytes of the first 4096 changed, where the structure lies."""

    def make(path):
        rng = np.random.default_rng(seed)
        data = bytearray(shd(path).read_bytes())
        for place in rng.integers(0, min(len(data), 4096), 40):
            data[place] = int(rng.integers(256))
        path.write_bytes(data)

    return make


FILES = {
    "ten billion samples": changed(declared),
    "ten billion labels": replaced("labels", shape=(TEN_BILLION,), dtype="u1", chunks=(1 << 20,)),
    "ten billion labels in one piece": replaced("labels", shape=(TEN_BILLION,), dtype="u1"),
    "ten million packed labels": changed(packed),
    "ten thousand labels that are not there": replaced("labels", shape=(10_000,), dtype="u1"),
    "labels in another file": linked("labels", h5py.ExternalLink("other.h5", "/labels")),
    "spikes in another file": linked("spikes", h5py.ExternalLink("other.h5", "/spikes")),
    "labels in a device": linked("labels", h5py.ExternalLink("/dev/zero", "/labels")),
    "labels by a soft link": linked("labels", h5py.SoftLink("/spikes/times")),
    "spikes by a link to itself": linked("spikes", h5py.SoftLink("/spikes")),
    "labels in raw bytes": changed(external),
    "virtual labels": changed(virtual),
    "one label": replaced("labels", data=3),
    "labels of two axes": replaced("labels", data=np.zeros((4, 1), int)),
    "labels of floats": replaced("labels", data=np.zeros(4)),
    "labels that are words": replaced("labels", data=[b"a", b"b", b"c", b"d"]),
    "labels of fields": replaced("labels", data=np.zeros(4, [("a", "i4")])),
    "labels beyond 20": replaced("labels", data=np.full(4, 20)),
    "negative labels": replaced("labels", data=np.full(4, -1)),
    "no labels at all": replaced("labels", data=h5py.Empty("i8")),
    "fewer labels": replaced("labels", data=np.zeros(3, int)),
    "times that are words": replaced("spikes/times", shape=(4,), dtype=h5py.string_dtype()),
    "times of two axes": replaced("spikes/times", shape=(2, 2), dtype=FLOATS),
    "times in a table": replaced("spikes/times", data=np.zeros(4)),
    "a group of times": changed(group_of_times),
    "spikes that are numbers": replaced("spikes", data=1),
    "no spikes": changed(lambda f, p: f.__delitem__("spikes")),
    "no units": changed(lambda f, p: f.__delitem__("spikes/units")),
    "units that are not there": replaced("spikes/units", shape=(4,), dtype=UNITS),
    "a length of 2^31": longer,
    "times elsewhere": elsewhere,
    "times of an unknown number": numbered,
    "one sample ten thousand times": shared,
    "nothing": lambda path: path.write_bytes(b""),
    "a mark alone": lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n"),
    "noise": lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)),
    "noise behind the mark": lambda path: path.write_bytes(
        b"\x89HDF\r\n\x1a\n" + np.random.default_rng(0).bytes(5000)
    ),
    **{f"cut to {part}": cut(part) for part in (0.02, 0.2, 0.5, 0.9)},
}  # fmt: skip

#: may by chance be right, or say that something is wrong
FLIPPED = {f"flipped {seed}": flipped(seed) for seed in range(12)}


def zipped(change):
    def make(path):
        plain = path.with_name("plain.h5")
        path.write_bytes(change(shd(plain).read_bytes()))
        plain.unlink()

    return make


def promising(data, size):
    """The end of the file that the superblock, of version 0, gives."""
    return data[:40] + struct.pack("<Q", size) + data[48:]


PACKED = {
    "nothing": zipped(lambda d: b""),
    "noise": zipped(lambda d: np.random.default_rng(0).bytes(5000)),
    "cut": zipped(lambda d: gzip.compress(d)[:-30]),
    "not packed": zipped(lambda d: d),
    "packed twice": zipped(lambda d: gzip.compress(gzip.compress(d))),
    "a wrong checksum": zipped(lambda d: gzip.compress(d)[:-8] + bytes(8)),
    "empty members": zipped(lambda d: EMPTY_MEMBERS),
    "zeros": zipped(lambda d: bomb()),
    "zeros behind a right file": zipped(lambda d: bomb(d)),
    "a promise of a terabyte": zipped(lambda d: bomb(promising(d, 10**12))),
    "more than is promised": zipped(lambda d: gzip.compress(d + bytes(10_000))),
    "less than is promised": zipped(lambda d: gzip.compress(d[:-100])),
}
