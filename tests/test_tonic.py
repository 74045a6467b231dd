"""tonic's transforms and a data set in its format, with our transform at the end."""

from __future__ import annotations

import numpy as np
import pytest

import fastsnn_np as fs
from fastsnn_np.datasets import ToEvents, collate

pytestmark = pytest.mark.backend("exchange")


@pytest.fixture
def folder(tmp_path, rng):
    """N-MNIST as tonic keeps it, with two recordings of each digit."""
    for split, count in (("Train", 2), ("Test", 1)):
        for digit in range(10):
            place = tmp_path / "NMNIST" / split / str(digit)
            place.mkdir(parents=True)
            for i in range(count):
                events = rng.integers(0, [34, 34, 2, 300_000], (400, 4))
                t = np.sort(events[:, 3])
                high = (events[:, 2] << 7) | (t >> 16)
                columns = (events[:, 0], events[:, 1], high, (t >> 8) & 255, t & 255)
                data = np.stack(columns, axis=1).astype(np.uint8)
                (place / f"{10 * i + digit:05d}.bin").write_bytes(data.tobytes())
    return tmp_path


@pytest.fixture
def tonic():
    return pytest.importorskip("tonic", reason="tonic is not installed")


def a_set(tonic, folder, transform):
    class Small(tonic.datasets.NMNIST):
        def _check_exists(self):
            return True

    Small.__name__ = "NMNIST"  # the name of its folder
    return Small(str(folder), train=True, transform=transform)


@pytest.mark.parametrize("polarities", ["merged", "both"])
def test_the_same_events_as_our_reader(tonic, folder, polarities, monkeypatch):
    monkeypatch.setenv("FASTSNN_CACHE", str(folder / "cache"))
    size = tonic.datasets.NMNIST.sensor_size
    to_events = ToEvents(size, dt=1.0, n_steps=300, polarities=polarities)
    samples = a_set(tonic, folder, tonic.transforms.Compose([to_events]))
    x, labels = collate([samples[i] for i in range(len(samples))])
    expected, numbers = fs.datasets.nmnist("train", root=folder / "NMNIST", polarities=polarities)
    assert len(x) == 20
    by_label = np.argsort(numbers, kind="stable")
    np.testing.assert_array_equal(labels, numbers[by_label])
    np.testing.assert_array_equal(x.to_dense(), expected.take(by_label).to_dense())


def test_among_transforms_of_tonic(tonic, folder):
    """Downsampled, denoised and dropped there; a batch of it runs here."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    transform = tonic.transforms.Compose(
        [
            tonic.transforms.Denoise(filter_time=100_000),
            tonic.transforms.Downsample(spatial_factor=0.5),
            tonic.transforms.DropEvent(p=0.2),
            ToEvents((17, 17, 2), dt=2.0, n_steps=150),
        ]
    )
    samples = a_set(tonic, folder, transform)
    loader = torch.utils.data.DataLoader(samples, batch_size=8, collate_fn=collate)
    network = fs.Network.random([289, 20, 10], seed=0)
    sizes = []
    for x, labels in loader:
        assert x.shape[1:] == (289, 150)
        assert 0 < x.n_events < 400 * len(x)
        sizes.append((len(labels), len(fs.forward(x, network, backend="numpy").prediction)))
    assert sizes == [(8, 8), (8, 8), (4, 4)]
