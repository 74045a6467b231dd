"""Who is measured against whom, on what, and when a peer's output counts as right.

Two tasks, the same for all: one layer of 1000 to 200 neurons over 128 steps with a batch of 128,
and the network 784-200-10 over 100 steps on first-spike-coded Fashion-MNIST, inference and training
with Adam. Every system is written the way its documentation recommends, starts from the same
weights, has its matrix products taken out of its time loop, and reads spikes that were laid out for
it before the clock starts. Its own neuron runs as it is; where it fires more than once, the spikes
after the first are masked on the way to the next layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import fastsnn_np as fs
from fastsnn_np import agreement, reference
from fastsnn_np.datasets import fashion_mnist_sample
from fastsnn_np.encoding import latency

from ..harness.contest import Call, Contest
from . import layers

SIZES = (784, 200, 10)
SLOPE = 10.0
RATE = 1e-3  # Adam's


class System(NamedTuple):
    """How one system does the two tasks; each call brings no result to NumPy by itself."""

    #: takes a layer and gives two calls: forward returns spikes, both returns the weight's gradient
    layer: Callable[[layers.Layer], tuple[Callable[[], Any], Callable[[], Any]]]
    #: takes a network, its input and labels, and gives two calls that return logits and the loss
    network: Callable[..., tuple[Callable[[], Any], Callable[[], Any]]]
    #: what `forward` returned, as first spike times (batch, neurons)
    times: Callable[[Any], Any]


def layer_task(seed: int = 0) -> layers.Layer:
    return layers.Layer.random(128, 200, 128, seed=seed, device="cpu")


def network_task(batch: int, seed: int = 0) -> tuple[fs.Network, fs.SpikeTimes, Any]:
    """The paper's network with weights that make it fire, and real first-spike-coded images."""
    network = fs.Network.random(SIZES, seed=seed)
    network.layers[0].weight[:] *= 2
    images, labels = fashion_mnist_sample("train")
    return network, latency(images[:batch]), labels[:batch]


def call_of(made: System, task: str, seed: int = 0) -> Callable[[], Any]:
    """A task made ready: the call that is timed."""
    kind, part = task.split()
    if kind == "layer":
        return made.layer(layer_task(seed))[part == "both"]
    return made.network(*network_task(int(part), seed))[kind == "train"]


def output_of(made: System, task: str, kept: Any) -> Any:
    """What a call returned, as a NumPy array to be compared."""
    return np.asarray(made.times(kept) if task == "layer forward" else kept)


def contest(systems: Mapping[str, System], task: str, seed: int = 0) -> Contest:
    """Systems in one task, each judged by itself."""
    judge = Judge(seed)
    calls = {
        name: Call(call_of(made, task, seed), partial(output_of, made, task))
        for name, made in systems.items()
    }
    return Contest(calls, partial(judge.check_only, task), one_by_one=True)


class Judge:
    """The expected outputs, by the sequential reference in float64."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self._known: dict[str, Any] = {}

    def check(self, task: str, output: Any) -> str:
        """A remark for the table.

        Raises
        ------
        AssertionError
            If a spike that rounding cannot explain differs, a logit or loss is off by over 0.1 %,
            or a gradient is not finite. Gradients differ by design: ours and the published one
            are those of g(phi(V)), a loop's are not.
        """
        if task not in self._known:
            self._known[task] = self._expected(task)
        known = self._known[task]
        if task == "layer forward":
            same = agreement.spike_times(output, known, dtype=np.float32)
            assert same.ok, f"{same.different} of {same.neurons} spike times are wrong"
            return f"spike times {same}"
        if task == "layer both":
            assert output.shape == known, f"the gradient has shape {output.shape}, not {known}"
            assert np.isfinite(output).all() and np.any(output), "the gradient is not finite, or 0"
            return "gradients finite; the models' gradients differ"
        expected, sure = known
        if task.startswith("infer"):
            error = np.abs(output - expected)[sure].max() / np.abs(expected).max()
            assert error <= 1e-3, f"a logit is off by {error:.1e} of the largest"
            return f"logits of {sure.sum()} samples to {error:.0e}"
        error = abs(float(output) - expected) / expected
        assert error <= 1e-3, f"the loss {float(output):.5f} should be {expected:.5f}"
        return f"loss to {error:.0e}"

    def check_only(self, task: str, outputs: dict[str, Any]) -> str:
        """The remark on one system's output."""
        (output,) = outputs.values()
        return self.check(task, output)

    def _expected(self, task: str) -> Any:
        if task.startswith("layer"):
            given = layer_task(self.seed)
            if task.endswith("both"):
                return given.weight.shape
            return reference.layer(
                given.trains.astype(np.float64),
                given.weight.astype(np.float64),
                beta=given.beta,
                return_potential=True,
            ).potential
        network, x, labels = network_task(int(task.split()[1]), self.seed)
        wide = network.mapped(lambda a: a.astype(np.float64))
        result = fs.forward(x, wide, return_potential=True)
        assert result.potentials is not None and result.logits is not None
        _, inside = agreement.inside_bound(result.potentials[0], dtype=np.float32)
        if task.startswith("infer"):
            return result.logits, ~inside.any(-1)
        shifted = result.logits - result.logits.max(-1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
        return -log_p[np.arange(len(labels)), labels].mean(), None
