"""The peers that are written in Torch: each is a layout, hidden neurons and a readout.

Around them everything is the same: `linear` on all steps at once, the mask after the first spike,
the readout's potential summed over time, Adam.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn

import fastsnn_np as fs
from fastsnn_np.torch import first_spike
from fastsnn_np.torch import spike as surrogate_spike

from . import layers
from . import published as paper
from .tasks import SLOPE, System
from .torch_training import adam_step

_AXES = {"tbn": (2, 0, 1), "btn": (0, 2, 1), "bnt": (0, 1, 2)}  # from (batch, neurons, time)


class Neurons(NamedTuple):
    """A system's own part: what it makes of currents in the layout that it reads."""

    hidden: Callable[[Any], Any]  #: currents to spikes
    readout: Callable[[Any], Any]  #: currents to potentials, over time
    layout: str = "tbn"
    normalised: bool = False  #: whether it multiplies currents by 1 - beta itself
    fires_once: bool = False


Maker = Callable[[float, float, int], Neurons]  # hidden beta, readout beta, steps


def build(maker: Maker) -> System:
    """Both tasks for a way to make neurons."""

    def layer(given: layers.Layer) -> tuple[Callable[[], Any], Callable[[], Any]]:
        neurons = maker(given.beta, given.beta, given.trains.shape[-1])
        axes = _AXES[neurons.layout]
        x, weight, grad = given.tensors()
        x, grad = (a.permute(axes).contiguous() for a in (x, grad))
        scale = 1.0 if neurons.normalised else 1 - given.beta
        weight = (weight.detach() * scale).requires_grad_()

        def forward() -> Any:
            with torch.no_grad():
                return neurons.hidden(_linear(x, weight, None, neurons.layout))

        def both() -> Any:
            weight.grad = None
            neurons.hidden(_linear(x, weight, None, neurons.layout)).backward(grad)
            return weight.grad

        return forward, both

    def network(parts: fs.Network, x: fs.SpikeTimes, labels: Any) -> tuple[Any, Any]:
        betas = [float(part.beta[0]) for part in (parts.layers[0], parts.readout)]
        neurons = maker(*betas, x.n_steps)
        layout, axes = neurons.layout, _AXES[neurons.layout]
        train = torch.from_numpy(x.to_dense()).permute(axes).contiguous()
        parameters = []
        for part, beta in zip((parts.layers[0], parts.readout), betas, strict=True):
            scale = 1 / (1 - beta) if neurons.normalised else 1.0
            parameters += [nn.Parameter(torch.tensor(a * scale)) for a in (part.weight, part.bias)]
        w1, b1, w2, b2 = parameters
        time = layout.index("t")

        def forward(train: Any) -> Any:
            spikes = neurons.hidden(_linear(train, w1, b1, layout))
            if not neurons.fires_once:
                spikes = spikes * (spikes.detach().cumsum(time) - spikes.detach() == 0)
            return neurons.readout(_linear(spikes, w2, b2, layout)).sum(time)

        def infer() -> Any:
            with torch.no_grad():
                return forward(train)

        return infer, adam_step(forward, parameters, train, labels)

    def times(spikes: Any) -> Any:
        layout = maker(0.9, 0.9, 1).layout
        back = [layout.index(axis) for axis in "bnt"]
        return layers.first_times(spikes.detach().permute(back).numpy())

    return System(layer, network, times)


def _linear(x: Any, weight: Any, bias: Any, layout: str) -> Any:
    if layout != "bnt":
        return nn.functional.linear(x, weight, bias)
    return weight @ x if bias is None else weight @ x + bias[:, None]


def spike(potential: Any) -> Any:
    return surrogate_spike(potential, 1.0, slope=SLOPE)


def ours_dense() -> System:
    """The dense core under autograd: blocks, and the spike's closed form."""

    def make(beta: float, beta_out: float, steps: int) -> Neurons:
        def potential(currents: Any, beta: float) -> Any:
            return fs.decay(currents, beta=beta, input_scale="unit")

        def hidden(currents: Any) -> Any:
            return first_spike(potential(currents, beta), slope=SLOPE)

        return Neurons(hidden, lambda c: potential(c, beta_out), "bnt", fires_once=True)

    return build(make)


def published() -> System:
    """FastSNN as the paper's section 2.2 has it: convolutions as long as the time axis."""

    def make(beta: float, beta_out: float, steps: int) -> Neurons:
        def hidden(currents: Any) -> Any:
            return paper.single_spikes(paper.causal(currents, decays[0]), rising, SLOPE)

        decays = [paper.powers(b, steps) for b in (beta, beta_out)]
        rising = paper.ramp(steps)
        return Neurons(hidden, lambda c: paper.causal(c, decays[1]), "bnt", fires_once=True)

    return build(make)


def lean_loop() -> System:
    """A hand-written loop: hoisted products, unbind, no more operations than needed."""

    def make(beta: float, beta_out: float, steps: int) -> Neurons:
        def hidden(currents: Any) -> Any:
            v, silent, spikes = torch.zeros_like(currents[0]), torch.ones_like(currents[0]), []
            for current in currents.unbind(0):
                v = beta * v + current
                s = spike(v) * silent
                silent = silent * (1 - s.detach())
                spikes.append(s)
            return torch.stack(spikes)

        return Neurons(hidden, lambda c: _leak(c, beta_out), fires_once=True)

    return build(make)


def compiled_loop() -> System:
    """The same loop through `torch.compile`, 16 steps at a time; longer chunks compile for long."""

    class Surrogate(torch.autograd.Function):  # one that the compiler can trace
        @staticmethod
        def forward(ctx: Any, v: Any) -> Any:
            ctx.save_for_backward(v)
            return (v > 1).to(v.dtype)

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            (v,) = ctx.saved_tensors
            return grads[0] / (SLOPE * (v - 1).abs() + 1) ** 2

    @torch.compile(dynamic=False)
    def chunk(v: Any, silent: Any, beta: float, currents: Any) -> Any:
        spikes = []
        for current in currents.unbind(0):
            v = beta * v + current
            s = Surrogate.apply(v) * silent
            silent = silent * (1 - s.detach())
            spikes.append(s)
        return v, silent, torch.stack(spikes)

    @torch.compile(dynamic=False)
    def leak(v: Any, beta: float, currents: Any) -> Any:
        potentials = []
        for current in currents.unbind(0):
            v = beta * v + current
            potentials.append(v)
        return v, torch.stack(potentials)

    def make(beta: float, beta_out: float, steps: int) -> Neurons:
        def hidden(currents: Any) -> Any:
            v, silent, parts = torch.zeros_like(currents[0]), torch.ones_like(currents[0]), []
            for part in currents.split(16):
                v, silent, spikes = chunk(v, silent, beta, part)
                parts.append(spikes)
            return torch.cat(parts)

        def readout(currents: Any) -> Any:
            v, parts = torch.zeros_like(currents[0]), []
            for part in currents.split(16):
                v, potentials = leak(v, beta_out, part)
                parts.append(potentials)
            return torch.cat(parts)

        return Neurons(hidden, readout, fires_once=True)

    return build(make)


def _leak(currents: Any, beta: float) -> Any:
    """A leaky integrator, for systems that have none of their own that gives all potentials."""
    v, potentials = torch.zeros_like(currents[0]), []
    for current in currents.unbind(0):
        v = beta * v + current
        potentials.append(v)
    return torch.stack(potentials)
