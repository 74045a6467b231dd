"""Run by `nox -s wheel` from an empty folder, with the wheel installed and nothing else of ours."""

import pathlib

import numpy as np

import fastsnn_np as fs
from fastsnn_np.backends import _cuda as cuda
from fastsnn_np.encoding import latency

assert "site-packages" in fs.__file__, fs.__file__
assert not list(pathlib.Path.cwd().iterdir()), "this should run in an empty folder"
images, labels = fs.datasets.fashion_mnist_sample("test")
network = fs.Network.random([784, 50, 10], seed=0)
expected = fs.forward(latency(images[:50]), network)
assert expected.spike_counts[0].sum() > 0
for backend in ("numpy", "numba"):
    result = fs.forward(latency(images[:50]), network, backend=backend)
    np.testing.assert_array_equal(result.spike_times[0], expected.spike_times[0])
assert "layer_events" in cuda.parameters(), cuda.SOURCE  # the CUDA source is in the wheel
fs.doctor()
print("the wheel works")
