"""What public calls launch and wait for on a GPU, counted on the stand-in CuPy.

784-200-10, 100 steps, a batch of 8; `x`, spike times and network lie on the GPU unless it says so.
The budget of a prepared call is 16 launches and 1 wait.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

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


class Counted(NamedTuple):
    """Launches and waits before the kernels came, today, and the call."""

    before: tuple[int, int]
    today: tuple[int, int]
    call: Callable[[Here], Any]


CALLS = {
    "prepared(x)": Counted((114, 4), (16, 1), lambda h: h.prepared(h.there)),
    "prepared(SpikeTimes)": Counted((117, 4), (13, 1), lambda h: h.prepared(h.times_there)),
    "prepared(Events)": Counted((116, 4), (12, 1), lambda h: h.prepared(h.events)),
    "prepared(x), check_finite=False": Counted((110, 2), (11, 0), lambda h: h.unchecked(h.there)),
    "prepared(SpikeTimes), check_finite=False": Counted(
        (113, 2), (8, 0), lambda h: h.unchecked(h.times_there)
    ),
    "forward(x, network)": Counted(
        (114, 4), (19, 1), lambda h: fs.forward(h.there, h.network_there)
    ),
    "forward(SpikeTimes, network)": Counted(
        (117, 4), (17, 1), lambda h: fs.forward(h.times_there, h.network_there)
    ),
    'forward(x, network, backend="cupy")': Counted(
        (140, 12), (19, 1), lambda h: fs.forward(h.there, h.network_there, backend="cupy")
    ),
    'forward(x, network, backend="cupy") from the host': Counted(
        (140, 12), (19, 1), lambda h: fs.forward(h.x, h.network, backend="cupy")
    ),
    'forward(x, backend="cupy") from the host, no network': Counted(
        (55, 2), (9, 1), lambda h: fs.forward(h.x, backend="cupy")
    ),
}


@pytest.fixture(scope="module")
def here(cp):
    here = Here(cp)
    for counted in CALLS.values():
        counted.call(here)  # whatever is made at a first call
    return here


@pytest.mark.parametrize("name", CALLS)
def test_counts(name, here):
    import standin_device

    standin_device.reset()
    result = CALLS[name].call(here)
    counts, launched = standin_device.COUNTS.copy(), " ".join(standin_device.LAUNCHED)
    assert (counts["launch"], counts["sync"]) == CALLS[name].today, launched
    if name.startswith("prepared"):
        assert counts["launch"] <= 16 and counts["sync"] <= 1
        assert counts["h2d"] == (2 if "Events" in name else 0)
    if result.logits is not None:
        np.testing.assert_array_equal(to_numpy(result.spike_times[0]), here.expected.spike_times[0])
        np.testing.assert_array_equal(to_numpy(result.prediction), here.expected.prediction)


def test_the_table_in_the_guide():
    guide = (Path(__file__).parents[1] / "docs" / "gpu.md").read_text()
    for name, (before, today, _) in CALLS.items():
        row = f"| `{name}` | {before[0]} | {before[1]} | {today[0]} | {today[1]} |"
        assert row in guide, row


@pytest.mark.parametrize("more", [{"engine": "dense"}, {"method": "fft"}, {"engine": "event"}])
def test_other_engines_agree(more, here):
    for x in (here.there, here.times_there, here.events):
        if more == {"engine": "event"} and x is here.there:
            continue
        result = fs.forward(x, here.network_there, **more)
        assert result.engine == {"dense": "dense kernel"}.get(more.get("engine"), result.engine)
        np.testing.assert_array_equal(to_numpy(result.spike_times[0]), here.expected.spike_times[0])


def test_a_nan_is_found_where_it_is(here):
    x = here.there + 0
    x[3, 5, 7] = float("nan")
    with pytest.raises(ValueError, match=r"x, as \(batch, neurons, time\), holds nan at index"):
        here.prepared(x)
    huge = here.network.mapped(lambda a: a * 1e30 if a.ndim == 2 else a)
    with pytest.raises(ValueError, match="the potential of layer 0 overflows float32"):
        fs.forward(here.there * 1e20, huge, backend="cupy")
