"""Train a single-spike network on Fashion-MNIST, save it, and look at what it does.

Uses the 2,000 training and 1,000 test images that the package ships; give `fashion_mnist` in place
of `fashion_mnist_sample` for all 70,000.
"""

from pathlib import Path

import torch

from fastsnn_np import forward, metrics, plot
from fastsnn_np.datasets import FASHION_MNIST_CLASSES, fashion_mnist_sample
from fastsnn_np.encoding import latency
from fastsnn_np.torch import FastSNN, fit

out = Path("run")
train_images, train_labels = fashion_mnist_sample("train")
test_images, test_labels = fashion_mnist_sample("test")
train, test = latency(train_images), latency(test_images)  # brighter pixels fire earlier

torch.manual_seed(0)
model = FastSNN([784, 200, 10])
history = fit(model, train, train_labels, epochs=20, validation=(test, test_labels), progress=True)

out.mkdir(exist_ok=True)
network = model.to_network()
network.save(out / "network.safetensors")

result = forward(test, network, backend="numba")
accuracy = (result.prediction == test_labels).mean()
spikes = result.spike_counts[0].mean()
print(f"test accuracy {accuracy:.1%}, {spikes:.1f} of 200 hidden neurons fire for an image")

confusion = metrics.confusion_matrix(test_labels, result.prediction, 10)
plot.training_curve(history, "test").savefig(out / "training.png")
plot.confusion(confusion, FASHION_MNIST_CLASSES).savefig(out / "confusion.png")
sample = plot.activity(test[:1], network, int(test_labels[0]), classes=FASHION_MNIST_CLASSES)
sample.savefig(out / "activity.png")  # input and hidden rasters, readout potentials
