"""``python -m benchmarks.bulk_memory``: inference over more input than fits, and the peak memory.

Random spikes are made block by block inside the tasks, as a file would be read, and dropped with
them. The run fails if the results of a block differ from those of `forward`, or if the process's
largest resident memory passes the limit (Linux only).
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from importlib.metadata import version
from typing import Any

import dask
import dask.array as da
import numpy as np

import fastsnn_np as fs
from fastsnn_np.bulk import forward_blocks

SIZES, STEPS = (784, 200, 10), 100
DENSITY = 13 / 256  # of the spikes
PACKAGES = ("fastsnn-np", "numpy", "numba", "dask")


def block(number: int, samples: int) -> Any:
    """Spikes (samples, neurons, time) as booleans, the same in every call."""
    rng = np.random.default_rng(number)
    noise = rng.integers(0, 256, (samples, SIZES[0], STEPS), dtype=np.uint8)
    return noise < round(256 * DENSITY)


def synthetic(gigabytes: float, samples: int) -> Any:
    """A Dask array of `gigabytes` in blocks of `samples`."""
    count = max(1, round(gigabytes * 1e9 / (samples * SIZES[0] * STEPS)))

    def make(block_info: Any = None) -> Any:
        return block(block_info[None]["chunk-location"][0], samples)

    chunks = ((samples,) * count, (SIZES[0],), (STEPS,))
    return da.map_blocks(make, chunks=chunks, dtype=bool, meta=np.empty((0, 0, 0), bool))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bulk_memory")
    parser.add_argument("--gigabytes", type=float, default=20.0, help="of input in all")
    parser.add_argument("--samples", type=int, default=512, help="a block")
    parser.add_argument("--limit", type=float, default=2.0, help="on the resident memory, in GB")
    arguments = parser.parse_args()
    network = fs.Network.random(SIZES, seed=0)
    x = synthetic(arguments.gigabytes, arguments.samples)
    print(f"{os.cpu_count()} CPUs", *(f"{n} {version(n)}" for n in PACKAGES), sep=", ", flush=True)
    start = time.perf_counter()
    (result,) = dask.compute(forward_blocks(x, network), scheduler="threads")
    took = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    last = len(x.chunks[0]) - 1
    expected = fs.forward(block(last, arguments.samples), network, backend="numba")
    np.testing.assert_array_equal(result.logits[-arguments.samples :], expected.logits)
    assert result.spike_counts[0].all(), "a sample without a spike"
    print(
        f"{len(result.prediction):,} samples of {SIZES[0]} neurons and {STEPS} steps, "
        f"{x.nbytes / 1e9:.1f} GB in {last + 1} blocks of {x.nbytes / (last + 1) / 1e6:.0f} MB: "
        f"{took:.0f} s, peak resident memory {peak:.2f} GB (limit {arguments.limit:g} GB)"
    )
    return 0 if peak <= arguments.limit else 1


if __name__ == "__main__":
    sys.exit(main())
