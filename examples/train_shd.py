"""Spoken digits (SHD) by recurrent adaptive neurons, in minutes on one core of a CPU.

The files of the Spiking Heidelberg Digits are looked for in ``$FASTSNN_DATA``.
"""

import sys
import time

import torch

from fastsnn_np import Neuron, augment, datasets
from fastsnn_np.torch import SpikingSNN, fit


@augment.with_labels
def moved(x, rng, labels):
    return augment.shift_channels(augment.blend(x, rng, labels=labels), rng, channels=40)


torch.manual_seed(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
binning = {"dt": 4.0, "n_steps": 250, "binary": False}  # ms
x, labels = datasets.shd("train", **binning)
test_x, test_labels = datasets.shd("test", **binning)
adaptive = Neuron("always", reset_at="before decay", adaptation="current")
times = {"tau": 20.0, "tau_readout": 40.0, "tau_weight": 1000.0, "dt": 4.0}  # ms
model = SpikingSNN(
    [700, 256, 20], neuron=adaptive, recurrent=True, support=0.5, dropout=0.3, **times
)
start = time.perf_counter()
options = {"epochs": 30, "batch_size": 64, "learning_rate": 2e-3, "schedule": "cosine"}
fit(model, x, labels, augment=moved, **options)
seconds = time.perf_counter() - start
with torch.no_grad():
    parts = [model(test_x[i : i + 128]) for i in range(0, len(test_x), 128)]
accuracy = (torch.cat(parts).argmax(-1).numpy() == test_labels).mean()
print(f"test accuracy {accuracy:.1%} after {seconds:.0f} s of training")
