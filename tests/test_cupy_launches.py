"""What public calls launch, wait for and copy on a GPU, counted on the stand-in CuPy.

784-200-10, 100 steps, a batch of 8. The budget of a prepared call is 16 launches and 1 wait.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import fastsnn_np as fs
from fastsnn_np._namespace import to_numpy

pytestmark = pytest.mark.backend("cupy")
BATCH, STEPS = 8, 100


@pytest.fixture(scope="module")
def cp(cupys):
    if "standin" not in cupys:
        pytest.skip("launches are counted on the stand-in CuPy, with --backend=cupy and no GPU")
    return cupys["standin"]


class Here:
    """A network and its input, in every place and form that a call may find them."""

    def __init__(self, cp: Any) -> None:
        rng = np.random.default_rng(0)
        fires = rng.random((BATCH, 784)) < 0.42
        times = np.where(fires, rng.integers(0, 80, fires.shape), STEPS).astype(np.int32)
        self.times = fs.SpikeTimes(times, STEPS)
        self.events = self.times.to_events()
        self.x = self.times.to_dense()
        self.network = fs.Network.random([784, 200, 10], seed=0)
        self.expected = fs.forward(self.x, self.network, backend="numpy")
        self.there = cp.asarray(self.x)
        self.times_there = fs.SpikeTimes(cp.asarray(times), STEPS)
        self.network_there = self.network.to("cupy")
        self.prepared = fs.prepare(self.network, backend="cupy")
        self.unchecked = fs.prepare(self.network, backend="cupy", check_finite=False)


CALLS = {
    "prepared(x on the GPU)": lambda h: h.prepared(h.there),
    "prepared(SpikeTimes on the GPU)": lambda h: h.prepared(h.times_there),
    "prepared(Events)": lambda h: h.prepared(h.events),
    "prepared(x on the GPU), check_finite=False": lambda h: h.unchecked(h.there),
    "prepared(SpikeTimes on the GPU), check_finite=False": lambda h: h.unchecked(h.times_there),
    "forward(x, network), both on the GPU": lambda h: fs.forward(h.there, h.network_there),
    "forward(SpikeTimes, network), both on the GPU": lambda h: fs.forward(
        h.times_there, h.network_there
    ),
    'forward(x, network, backend="cupy"), both on the GPU': lambda h: fs.forward(
        h.there, h.network_there, backend="cupy"
    ),
    'forward(x, network, backend="cupy"), both on the host': lambda h: fs.forward(
        h.x, h.network, backend="cupy"
    ),
    'forward(x, backend="cupy"), no network': lambda h: fs.forward(h.x, backend="cupy"),
}


@pytest.fixture(scope="module")
def here(cp):
    here = Here(cp)
    for call in CALLS.values():
        call(here)  # whatever is made at a first call
    return here


@pytest.mark.parametrize("name", CALLS)
def test_counts(name, here, request):
    import standin_device

    standin_device.reset()
    result = CALLS[name](here)
    counts = {k: standin_device.COUNTS[k] for k in ("launch", "sync", "h2d", "d2h")}
    sys.stdout.write(f"{name}: {counts} {' '.join(standin_device.LAUNCHED)}\n")
    if result.logits is not None:
        np.testing.assert_array_equal(to_numpy(result.spike_times[0]), here.expected.spike_times[0])
        np.testing.assert_array_equal(to_numpy(result.prediction), here.expected.prediction)
