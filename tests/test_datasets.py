"""Fashion-MNIST in its original files: found, read, and refused when damaged."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from fastsnn_np import datasets
from fastsnn_np.datasets import _fashion_mnist as module

NAMES = module._FILES["train"]


def idx(array):
    head = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(head + array.astype(np.uint8).tobytes())


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path_factory):
    """The user's cache is neither seen nor filled."""
    monkeypatch.setenv("FASTSNN_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / NAMES[0]).write_bytes(idx(rng.integers(0, 256, (6, 28, 28))))
    (tmp_path / NAMES[1]).write_bytes(idx(np.arange(6)))
    return tmp_path


def test_the_shipped_sample():
    for split, count in (("train", 200), ("test", 100)):
        images, labels = datasets.fashion_mnist_sample(split)
        assert images.shape == (10 * count, 28, 28)
        assert np.bincount(labels).tolist() == [count] * 10
    assert labels[:4].tolist() == [9, 2, 1, 1]  # as in the original file
    assert len(datasets.FASHION_MNIST_CLASSES) == 10
    assert "MIT License" in (module.SAMPLE / "LICENSE").read_text()


def test_reads_a_folder(folder):
    images, labels = datasets.fashion_mnist("train", root=folder)
    assert images.shape == (6, 28, 28)
    assert labels.tolist() == list(range(6))


@pytest.mark.skipif("FASTSNN_DATA" not in os.environ, reason="FASTSNN_DATA is not set")
def test_the_original_files():
    root = Path(os.environ["FASTSNN_DATA"]) / "fashion-mnist"
    for name, md5 in module._MD5.items():
        assert hashlib.md5((root / name).read_bytes()).hexdigest() == md5
    images, labels = datasets.fashion_mnist("test", download=False)
    assert images.shape == (10_000, 28, 28)
    assert np.bincount(labels).tolist() == [1000] * 10
    sample, sample_labels = datasets.fashion_mnist_sample("test")
    first = np.sort(np.concatenate([np.flatnonzero(labels == c)[:100] for c in range(10)]))
    np.testing.assert_array_equal(images[first], sample)
    np.testing.assert_array_equal(labels[first], sample_labels)


def test_found_in_order(folder, tmp_path, monkeypatch):
    nested = tmp_path / "data" / "fashion-mnist"
    nested.mkdir(parents=True)
    for name in NAMES:
        (folder / name).rename(nested / name)
    monkeypatch.setenv("FASTSNN_DATA", str(tmp_path / "data"))
    assert len(datasets.fashion_mnist("train")[0]) == 6
    monkeypatch.delenv("FASTSNN_DATA")
    monkeypatch.setattr(module, "_DEBIAN", nested)
    assert len(datasets.fashion_mnist("train", download=False)[0]) == 6


def test_absent_and_offline(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=f"{NAMES[0]}.*{NAMES[1]}.*\n.*{tmp_path}"):
        datasets.fashion_mnist("train", root=tmp_path)
    monkeypatch.delenv("FASTSNN_DATA", raising=False)
    monkeypatch.setattr(module, "_DEBIAN", tmp_path)
    pooch = pytest.importorskip("pooch", reason="pooch is not installed")

    def offline(*args, **kwargs):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(pooch, "retrieve", offline)
    with pytest.raises(FileNotFoundError, match=r"root=\.\.\.(.|\n)*no route to host"):
        datasets.fashion_mnist("train")
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(FileNotFoundError, match="pip install pooch"):
        datasets.fashion_mnist("train")


def test_downloads_with_a_checksum(folder, tmp_path, monkeypatch):
    pooch = pytest.importorskip("pooch", reason="pooch is not installed")
    monkeypatch.delenv("FASTSNN_DATA", raising=False)
    monkeypatch.setattr(module, "_DEBIAN", tmp_path / "nowhere")
    asked = []

    def retrieve(url, known_hash, fname, path):
        asked.append((url, known_hash))
        path.mkdir(parents=True, exist_ok=True)
        (path / fname).write_bytes((folder / fname).read_bytes())

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    assert len(datasets.fashion_mnist("train")[0]) == 6
    assert asked == [(module._URL + n, f"md5:{module._MD5[n]}") for n in NAMES]
    assert len(datasets.fashion_mnist("train", download=False)[0]) == 6  # from the cache now


IMAGES = idx(np.zeros((6, 28, 28)))

DAMAGE = [
    (IMAGES[: len(IMAGES) // 2], "truncated or no gzip file"),
    (b"not gzip", "truncated or no gzip file"),
    (b"", "no IDX file"),
    (gzip.compress(b"\0\0\x0d\3" + b"\0" * 12), "no IDX file of unsigned bytes"),
    (gzip.compress(gzip.decompress(IMAGES)[:-5]), "should hold 4704 bytes.*got 4699"),
    (gzip.compress(gzip.decompress(IMAGES) + b"x"), "should hold 4704 bytes"),
    (gzip.compress(b"\0\0\x08\3" + b"\xff" * 12), "damaged header"),
    (gzip.compress(b"\0\0\x08\3\0\0"), "truncated or no gzip file: the header ends early"),
    (idx(np.zeros(6)), "do not belong together"),
    (idx(np.zeros((5, 28, 28))), "do not belong together"),
]


@pytest.mark.parametrize(("data", "words"), DAMAGE, ids=range(len(DAMAGE)))
def test_damaged_files(folder, data, words):
    (folder / NAMES[0]).write_bytes(data)
    with pytest.raises(ValueError, match=words):
        datasets.fashion_mnist("train", root=folder)


def test_bad_labels_and_splits(folder):
    (folder / NAMES[1]).write_bytes(idx(np.full(6, 10)))
    with pytest.raises(ValueError, match="label 10 of 10 classes"):
        datasets.fashion_mnist("train", root=folder)
    with pytest.raises(ValueError, match="'train' or 'test', got 'valid'"):
        datasets.fashion_mnist("valid", root=folder)
