"""Makers of damaged and hostile files for `test_hostile_files`."""

from __future__ import annotations

import gzip
import json
import os
import struct
import zipfile
import zlib

import numpy as np

import fastsnn_np as fs

# --- files that are no files -------------------------------------------------------------------


def pipe(path):
    os.mkfifo(path)


def device(path):
    path.symlink_to("/dev/zero")


def folder(path):
    path.mkdir()


NO_FILES = {"pipe": pipe, "device": device, "folder": folder}

# --- gzip --------------------------------------------------------------------------------------


def bomb(start=b"", megabytes=1600):
    """A gzip file of a few megabytes that unpacks to `start` and then zeros."""
    packer = zlib.compressobj(9, wbits=-15)
    first = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    piece = packer.compress(bytes(16 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    body = first + piece * (megabytes // 16) + packer.flush()
    return b"\x1f\x8b\x08" + bytes(6) + b"\xff" + body + struct.pack("<LL", 0, 0)


EMPTY_MEMBERS = gzip.compress(b"") * 100_000
LONG_NAME = b"\x1f\x8b\x08\x08" + bytes(5) + b"\xff" + b"n" * (8 << 20)

# --- networks ----------------------------------------------------------------------------------

NETWORK = fs.Network.random([4, 3, 2], seed=0)


def network_bytes(path):
    NETWORK.save(path)
    return path.read_bytes()


def parts(data):
    (size,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def whole(header, body):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def described(change):
    """Change the JSON that describes the network."""

    def damage(data):
        header, body = parts(data)
        ours = json.loads(header["__metadata__"]["fastsnn_np.network"])
        ours = change(ours) or ours
        header["__metadata__"]["fastsnn_np.network"] = json.dumps(ours)
        return whole(header, body)

    return damage


def text(words):
    """Other words in place of the JSON that describes the network."""

    def damage(data):
        header, body = parts(data)
        header["__metadata__"]["fastsnn_np.network"] = words
        return whole(header, body)

    return damage


def tensors(change):
    """Change the entries of the arrays."""

    def damage(data):
        header, body = parts(data)
        return whole(change(header) or header, body)

    return damage


def arrays(change):
    """Change the arrays themselves; everything else stays right."""

    def damage(data):
        from safetensors.numpy import load, save

        header, _ = parts(data)
        held = load(data)
        change(held)
        return save(held, header["__metadata__"])

    return damage


def put(*path, value):
    def change(ours):
        place = ours
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = value

    return described(change)


def drop(*path):
    def change(ours):
        place = ours
        for part in path[:-1]:
            place = place[part]
        del place[path[-1]]

    return described(change)


def with_array(name, array):
    return arrays(lambda held: held.__setitem__(name, array))


def recast(name, dtype):
    return arrays(lambda held: held.__setitem__(name, held[name].astype(dtype)))


def entry(name, **change):
    return tensors(lambda header: header[name].update(change))


def cut(size):
    return lambda data: data[:size]


def header_length(size):
    return lambda data: struct.pack("<Q", size) + data[8:]


def bit(place):
    return lambda data: data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]


NETWORKS = {
    **{f"cut at {n}": cut(n) for n in (0, 1, 7, 8, 9, 100, 400)},
    "one byte short": lambda d: d[:-1],
    "one byte more": lambda d: d + b"\0",
    **{f"header of {n} bytes": header_length(n) for n in (0, 1, 2**31, 2**62, 2**64 - 1)},
    "noise": lambda d: np.random.default_rng(0).bytes(1000),
    "a zip": lambda d: b"PK\3\4" + bytes(500),
    "a pickle": lambda d: b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    **{f"a bit of byte {n}": bit(n) for n in (3, 9, 12)},
    "no description": tensors(lambda h: h.pop("__metadata__") and None),
    "deep": text("[" * 100_000),
    "a list": text("[]"),
    "a long number": text('{"version": ' + "1" * 5000 + "}"),
    "no JSON": text("{'version': 1}"),
    **{
        f"version {v!r}": put("version", value=v)
        for v in (True, None, "1", 1.5, 2, -1, [1], float("nan"))
    },
    **{f"layers {v!r}": put("layers", value=v) for v in ("", {}, 7, None, [7], [[]], [None], [{}])},
    "no layers": drop("layers"),
    "no readout": drop("readout"),
    "no dt": drop("dt"),
    **{
        f"dt {v!r}": put("dt", value=v)
        for v in (True, 0, -1, "1", None, float("nan"), float("inf"), 10**400, [1])
    },
    **{
        f"threshold {v!r:.9}": put("layers", 0, "threshold", value=v)
        for v in (True, "1", None, float("nan"), float("-inf"), 10**400, [1.0], {})
    },
    "no threshold": drop("layers", 0, "threshold"),
    "no scale": drop("readout", "input_scale"),
    "an unknown option": put("layers", 0, "fires", value="never"),
    "weights as an option": put("layers", 0, "weight", value=[[1.0]]),
    **{f"kind {v!r}": put("readout", "kind", value=v) for v in (True, "mean", ["sum"], None)},
    **{f"scale {v!r}": put("layers", 0, "input_scale", value=v) for v in (1, "none", {})},
    **{f"weights of {t}": recast("layers.0.weight", t) for t in ("i4", "i8", "?", "f2", "f8")},
    **{f"betas of {t}": recast("readout.beta", t) for t in ("f8", "i4")},
    "a strange array": with_array("layers.7.weight", np.ones((3, 3), np.float32)),
    "no weights": arrays(lambda held: held.pop("layers.0.weight")),
    "no betas": arrays(lambda held: held.pop("readout.beta")),
    "weights of one axis": with_array("layers.0.weight", np.ones(12, np.float32)),
    "weights of three axes": with_array("layers.0.weight", np.ones((3, 2, 2), np.float32)),
    "no inputs": with_array("layers.0.weight", np.ones((3, 0), np.float32)),
    "other inputs": with_array("readout.weight", np.ones((2, 5), np.float32)),
    "betas of 1": with_array("layers.0.beta", np.ones(3, np.float32)),
    "NaN in the weights": with_array("layers.0.weight", np.full((3, 4), np.nan, np.float32)),
    "an infinite bias": with_array("readout.bias", np.full(2, np.inf, np.float32)),
    "a huge shape": entry("layers.0.weight", shape=[2**40, 2**40]),
    "a shape beyond the file": entry("layers.0.weight", shape=[10**6, 10**6]),
    "offsets beyond the file": entry("layers.0.weight", data_offsets=[0, 10**12]),
    "offsets that overlap": entry("layers.0.bias", data_offsets=[0, 12]),
    "offsets that decrease": entry("layers.0.bias", data_offsets=[12, 0]),
    "an unknown dtype": entry("layers.0.weight", dtype="F128"),
    "a dtype of other size": entry("layers.0.weight", dtype="F64"),
}


def long_header(path):
    """A file of 80 MB without contents whose header claims all of it."""
    with path.open("wb") as file:
        file.write(struct.pack("<Q", (80 << 20) - 8))
        file.truncate(80 << 20)


# --- N-MNIST -----------------------------------------------------------------------------------

EVENT = bytes([1, 2, 0, 1, 0])


def nmnist_zip(path, recordings=None, method=zipfile.ZIP_DEFLATED):
    """A zip of one recording per digit; `recordings` changes some by name."""
    entries = {f"Train/{digit}/{digit}.bin": EVENT for digit in range(10)} | (recordings or {})
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path.read_bytes()


def nmnist_folder(path):
    for digit in range(10):
        place = path / "Train" / str(digit)
        place.mkdir(parents=True)
        (place / f"{digit}.bin").write_bytes(EVENT)


def poked(data, mark, offset, values):
    """Bytes at an offset from the first `mark` replaced."""
    at = data.index(mark) + offset
    return data[:at] + values + data[at + len(values) :]


CENTRAL, END = b"PK\1\2", b"PK\5\6"


def zip_cut(size):
    return lambda path: nmnist_zip(path)[:size]


ZIPS = {
    **{f"cut at {n}": zip_cut(n) for n in (3, 30, 700)},
    "empty": lambda p: b"",
    "noise": lambda p: np.random.default_rng(1).bytes(3000),
    "only an end": lambda p: END + bytes(18),
    "a long directory": lambda p: poked(nmnist_zip(p), END, 12, struct.pack("<L", 2**31)),
    "a directory elsewhere": lambda p: poked(nmnist_zip(p), END, 16, struct.pack("<L", 2**31)),
    "a bad mark": lambda p: poked(nmnist_zip(p), CENTRAL, 0, b"XX"),
    "an unknown method": lambda p: poked(nmnist_zip(p), CENTRAL, 10, struct.pack("<H", 99)),
    "encrypted": lambda p: poked(nmnist_zip(p), CENTRAL, 8, struct.pack("<H", 1)),
    "a wrong checksum": lambda p: poked(nmnist_zip(p), CENTRAL, 16, b"\1\2\3\4"),
    "a member of 4 GB": lambda p: poked(nmnist_zip(p), CENTRAL, 24, struct.pack("<L", 2**32 - 2)),
    "a member past the end": lambda p: poked(nmnist_zip(p), CENTRAL, 20, struct.pack("<L", 2**30)),
    "a member elsewhere": lambda p: poked(nmnist_zip(p), CENTRAL, 42, struct.pack("<L", 2**30)),
    "a member of version 99": lambda p: poked(nmnist_zip(p), CENTRAL, 6, struct.pack("<H", 99)),
    "zeros of 64 MB": lambda p: nmnist_zip(p, {"Train/5/5.bin": bytes(64 << 20)}),
    "many of 4 MB": lambda p: nmnist_zip(
        p, {f"Train/5/{n}.bin": bytes(4_000_000) for n in range(100, 116)}
    ),
    "packed by lzma": lambda p: nmnist_zip(p, method=zipfile.ZIP_LZMA),
    "packed by bzip2": lambda p: nmnist_zip(p, method=zipfile.ZIP_BZIP2),
    "a recording of no event": lambda p: nmnist_zip(p, {"Train/5/5.bin": b""}),
    "a recording cut": lambda p: nmnist_zip(p, {"Train/5/5.bin": EVENT[:4]}),
    "an event off the sensor": lambda p: nmnist_zip(p, {"Train/5/5.bin": b"\xff" * 5}),
}

BINS = {
    "empty": b"",
    "cut": EVENT * 3 + b"\0",
    "off the sensor": bytes([34, 0, 0, 0, 0]),
    "of 5 MB": EVENT * (1 << 20),
    "noise": np.random.default_rng(2).bytes(1000),
}

# --- IDX ---------------------------------------------------------------------------------------


def idx(*shape, data=None, kind=8, magic=b"\0\0"):
    head = magic + bytes([kind, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
    return gzip.compress(head + (bytes(int(np.prod(shape))) if data is None else data))


IMAGES = idx(6, 28, 28)

IDX = {
    **{f"cut at {n}": IMAGES[:n] for n in (0, 1, 2, 10, 11, 20, len(IMAGES) - 8, len(IMAGES) - 1)},
    "noise": np.random.default_rng(3).bytes(1000),
    "a wrong checksum": IMAGES[:-8] + bytes(8),
    "not packed": gzip.decompress(IMAGES),
    "of floats": idx(6, 28, 28, kind=13),
    "another magic": idx(6, 28, 28, magic=b"\1\0"),
    "a header cut": gzip.compress(b"\0\0\x08\3\0\0"),
    "255 axes": gzip.compress(b"\0\0\x08\xff" + struct.pack(">255I", *[2] * 255)),
    "2^96 bytes": idx(*[2**32 - 1] * 3, data=b""),
    "4 GB": idx(2**32 - 1, data=b""),
    "no axis": idx(),
    "one axis": idx(4704),
    "other images": idx(6, 28, 29),
    "too many images": idx(7, 28, 28),
    "a byte short": idx(6, 28, 28, data=bytes(4703)),
    "a byte more": idx(6, 28, 28, data=bytes(4705)),
    "a large image": idx(6, 5000, 5000, data=b""),
    "something after it": IMAGES + b"more",
    "a second one after it": IMAGES + IMAGES,
    "empty members": EMPTY_MEMBERS,
    "a long name": LONG_NAME,
    "1.6 GB of zeros": bomb(gzip.decompress(IMAGES)),
    "a large header and zeros": bomb(b"\0\0\x08\3" + struct.pack(">3I", 2**21, 28, 28)),
}
