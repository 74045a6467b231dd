"""Peak extra memory, each contestant in a fresh process (Linux only)."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from .peers import ANCHOR
from .runner import Bar, Case, Duel

_TRAIN = """
from benchmarks import memory, peers
print(memory.peak(peers.call_of(peers.system("{contestant}"), "train 128")))
"""

_STREAM = """
import numpy as np, fastsnn_np as fs
from benchmarks import memory
network = fs.Network.random([500, 200, 10], seed=0)
rng = np.random.default_rng(0)
def chunks():
    for _ in range({chunks}):
        yield fs.Events.from_arrays(rng.integers(0, 1000, 5000), rng.integers(0, 500, 5000),
                                    n_neurons=500, n_steps=1000)
def run():
    for result in fs.stream(network, chunks()):
        pass
    assert result.state.step == 1000 * {chunks}
print(memory.peak(run, absolute=True))
"""


def peak(call: Callable[[], Any], *, absolute: bool = False) -> float:
    """Peak of the resident memory during a second call, in MB, less what was held before it.

    What the first call gave back to the allocator is returned to the system, so that it counts.
    """
    call()
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # resets the peak
    before = 0 if absolute else _status("VmRSS")
    call()
    return (_status("VmHWM") - before) / 1024


def _status(key: str) -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(key))


def _in_a_process(code: str) -> Callable[[], float]:
    def run() -> float:
        done = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        )
        return float(done.stdout.splitlines()[-1])

    return run


def _case(name: str, about: str, calls: dict[str, str], bar: Bar) -> Case:
    def setup() -> Duel:
        contestants = {who: _in_a_process(code) for who, code in calls.items()}
        return Duel(contestants, lambda outputs: "each process checks its own result")

    return Case(name, about, setup, (bar,), rounds=3, unit="MB")


CASES = (
    _case(
        "memory-train",
        "peak extra memory of a training step, 784-200-10, T = 100, batch 128",
        {
            "ours": _TRAIN.format(contestant=ANCHOR),
            "lean torch loop": _TRAIN.format(contestant="lean torch loop"),
        },
        Bar("ours", "lean torch loop", 5.0),
    ),
    _case(
        "memory-stream",
        "peak memory of the whole process, 500-200-10 in chunks of 1,000 steps",
        {"T = 1,000": _STREAM.format(chunks=1), "T = 100,000": _STREAM.format(chunks=100)},
        Bar("T = 100,000", "T = 1,000", 1 / 1.1),
    ),
)
