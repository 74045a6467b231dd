"""snnTorch, SpikingJelly, Norse and sinabs, each as its documentation has it."""

from __future__ import annotations

from typing import Any

import torch

from .tasks import SLOPE, System
from .torch_peers import Neurons, build


def snntorch() -> System:
    """`Leaky` in a loop of one's own, as its tutorials write it; the reset is not needed here."""
    import snntorch as snn
    from snntorch import surrogate

    def make(beta: float, beta_out: float, steps: int) -> Neurons:
        gradient = surrogate.fast_sigmoid(slope=SLOPE)
        lif = snn.Leaky(beta=beta, spike_grad=gradient, reset_mechanism="none")
        out = snn.Leaky(beta=beta_out, spike_grad=gradient, reset_mechanism="none")

        def run(neuron: Any, currents: Any, which: int) -> Any:
            state, kept = neuron.reset_mem(), []
            for current in currents.unbind(0):
                outputs = neuron(current, state)
                state = outputs[1]
                kept.append(outputs[which])
            return torch.stack(kept)

        return Neurons(lambda c: run(lif, c, 0), lambda c: run(out, c, 1))

    return build(make)


def spikingjelly_lif() -> System:
    """`LIFNode` in multi-step mode, reset between calls; the readout is its non-spiking node."""
    from spikingjelly.activation_based import functional, neuron, surrogate

    def make(beta: float, beta_out: float, steps: int) -> Neurons:
        lif = neuron.LIFNode(
            tau=1 / (1 - beta),
            decay_input=False,
            v_reset=None,
            surrogate_function=surrogate.SuperSpike(alpha=SLOPE),
            detach_reset=True,
            step_mode="m",
        )

        def hidden(currents: Any) -> Any:
            functional.reset_net(lif)
            return lif(currents)

        return Neurons(hidden, _spikingjelly_readout(beta_out))

    return build(make)


def spikingjelly_psn() -> System:
    """`PSN`: all steps by one learnt matrix (steps, steps), here that of a LIF neuron's decay."""
    from spikingjelly.activation_based import neuron, surrogate

    def make(beta: float, beta_out: float, steps: int) -> Neurons:
        psn = neuron.PSN(steps, surrogate_function=surrogate.SuperSpike(alpha=SLOPE))
        lag = torch.arange(steps)[:, None] - torch.arange(steps)
        with torch.no_grad():
            psn.weight.copy_((beta ** lag.clamp(min=0)) * (lag >= 0))
            psn.bias.fill_(-1.0)
        return Neurons(psn, _spikingjelly_readout(beta_out))

    return build(make)


def _spikingjelly_readout(beta: float) -> Any:
    from spikingjelly.activation_based import neuron

    node = neuron.NonSpikingLIFNode(tau=1 / (1 - beta))  # it divides its currents by tau
    return lambda currents: torch.stack(node(currents / (1 - beta)))


def norse() -> System:
    """`LIFBoxCell` and `LIBoxCell`, lifted over time."""
    import norse.torch as nt

    def make(beta: float, beta_out: float, steps: int) -> Neurons:
        def inverse(beta: float) -> Any:
            return torch.tensor((1 - beta) / 1e-3)

        parameters = nt.LIFBoxParameters(tau_mem_inv=inverse(beta))
        lif = nt.Lift(nt.LIFBoxCell(parameters))
        out = nt.Lift(nt.LIBoxCell(nt.LIBoxParameters(tau_mem_inv=inverse(beta_out))))
        return Neurons(lambda c: lif(c)[0], lambda c: out(c)[0], normalised=True)

    return build(make)


def sinabs() -> System:
    """`LIF` with a single spike a step, and `ExpLeak`; both are reset between calls."""
    import math

    import sinabs.activation as sa
    import sinabs.layers as sl

    def make(beta: float, beta_out: float, steps: int) -> Neurons:
        lif = sl.LIF(
            tau_mem=-1 / math.log(beta),
            norm_input=False,
            spike_fn=sa.SingleSpike,
            surrogate_grad_fn=sa.SingleExponential(),
        )
        out = sl.ExpLeak(tau_mem=-1 / math.log(beta_out), norm_input=False)
        for part in (lif, out):
            part.requires_grad_(False)

        def run(part: Any, currents: Any) -> Any:
            part.reset_states()
            return part(currents)

        return Neurons(lambda c: run(lif, c), lambda c: run(out, c), layout="btn")

    return build(make)
