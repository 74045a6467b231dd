"""Cases of networks whose neurons fire again and again, against loops over time in Torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastsnn_np import Neuron
from fastsnn_np.datasets import fashion_mnist_sample, shd
from fastsnn_np.encoding import latency

from ...harness.contest import Bar, Call, Contest
from .case import Case

OURS, LOOP = "ours, event", "lean torch loop"
_SLOPE = 10.0


def _spike_function(support: float) -> Callable[[Any], Any]:
    """1 above 0, with eq. 20 within the support as its derivative."""
    import torch

    class Spike(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, v: Any) -> Any:
            ctx.save_for_backward(v)
            return (v > 0).to(v.dtype)

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            (v,) = ctx.saved_tensors
            derivative = grads[0] / (_SLOPE * v.abs() + 1) ** 2
            return derivative if support == np.inf else derivative * (v.abs() < support)

    spike: Callable[[Any], Any] = Spike.apply
    return spike


def _lean_loop(model: Any, support: float) -> Callable[[Any], Any]:
    """Logits of dense inputs (steps, batch, inputs) by the parameters of `model`, and no more."""
    import torch

    layer, readout = model.layers[0], model.readout
    spike = _spike_function(support)

    def logits(x: Any) -> Any:
        beta, (rho, a, b) = layer.clamped_beta(), layer.adaptation()
        current = x @ layer.weight.T + layer.bias
        u = torch.zeros_like(current[0])
        s, w, total = u, u, u
        profile = torch.from_numpy(readout.profile(len(x))).to(u.dtype)
        for t, drive in enumerate(current):
            if layer.recurrent is not None:
                drive = drive + s @ layer.recurrent.T
            if rho is not None:
                w = rho * w + a * u + b * s
                drive = drive - w
            u = beta * (u - s.detach()) + drive
            s = spike(u - 1)
            total = total + profile[t] * s
        return total @ readout.weight.T

    return logits


def shd_step(name: str, *, adapts: bool, recurrent: bool, support: float, bar: float) -> Case:
    """A training step on recordings of SHD, Adam included."""

    def setup(names: Sequence[str]) -> Contest:
        import torch

        from fastsnn_np.torch import SpikingSNN

        x, labels = shd("train", dt=4.0, n_steps=250, binary=False)
        chosen = np.random.default_rng(0).permutation(len(x))[:128]
        x, target = x.take(chosen), torch.from_numpy(np.asarray(labels)[chosen]).long()
        dense = torch.from_numpy(x.to_dense()).permute(2, 0, 1).contiguous()

        def contestant(runs: Callable[[Any], Callable[[], Any]]) -> Call:
            torch.manual_seed(0)
            kind = Neuron(
                "always", reset_at="before decay", adaptation="current" if adapts else "none"
            )
            model = SpikingSNN(
                [700, 256, 20], neuron=kind, recurrent=recurrent, tau=20.0, tau_readout=40.0,
                tau_weight=1000.0, dt=4.0, slope=_SLOPE, support=support,
            )  # fmt: skip
            optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
            forward = runs(model)

            def step() -> Any:
                loss = torch.nn.functional.cross_entropy(forward(), target)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                return loss

            return Call(step, lambda loss: float(loss.detach()))

        def loop(model: Any) -> Callable[[], Any]:
            logits = _lean_loop(model, support)
            return lambda: logits(dense)

        def check(outputs: dict[str, float]) -> str:
            one, other = outputs[OURS], outputs[LOOP]
            assert abs(one - other) < 1e-3, outputs
            return f"losses of the first step {one:.6f} and {other:.6f}"

        calls = {OURS: lambda model: lambda: model(x), LOOP: loop}
        return Contest({name: contestant(calls[name]) for name in names}, check)

    return Case(
        name,
        f"700-256-20, T = 250, batch 128 of SHD, {'adLIF' if adapts else 'LIF'}"
        f"{', recurrent' if recurrent else ''}, surrogate of support {support:g}: training step, "
        "Adam included",
        (OURS, LOOP),
        setup,
        (Bar(OURS, LOOP, bar),),
        (OURS,),
        rounds=7,
    )


def standard_step() -> Case:
    """A training step of the paper's standard SNN by either engine."""

    def setup(names: Sequence[str]) -> Contest:
        import torch

        from fastsnn_np.torch import StandardSNN

        images, labels = fashion_mnist_sample("train")
        x, target = latency(images[:128]), torch.from_numpy(np.asarray(labels[:128])).long()

        def contestant(engine: Any) -> Call:
            torch.manual_seed(0)
            model = StandardSNN([784, 200, 10], engine=engine)
            with torch.no_grad():
                model.layers[0].weight.mul_(20)  # as many spikes as trained ones fire
            optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

            def step() -> Any:
                loss = torch.nn.functional.cross_entropy(model(x), target)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                return loss

            return Call(step, lambda loss: float(loss.detach()))

        def check(outputs: dict[str, float]) -> str:
            one, other = outputs[OURS], outputs["StandardSNN, dense"]
            assert abs(one - other) < 1e-3, outputs
            return f"losses of the first step {one:.6f} and {other:.6f}"

        engines = {OURS: "event", "StandardSNN, dense": "dense"}
        return Contest({name: contestant(engines[name]) for name in names}, check)

    return Case(
        "standard-step",
        "784-200-10, T = 100, batch 128, first-spike-coded Fashion-MNIST: training step of the "
        "standard SNN (eq. 2), Adam included",
        (OURS, "StandardSNN, dense"),
        setup,
        (Bar(OURS, "StandardSNN, dense", 12),),
        (OURS, "StandardSNN, dense"),
        rounds=7,
    )


CASES = (
    shd_step("shd-lif", adapts=False, recurrent=False, support=0.5, bar=16),
    shd_step("shd-adlif", adapts=True, recurrent=True, support=0.5, bar=13),
    shd_step("shd-adlif-full", adapts=True, recurrent=True, support=np.inf, bar=6),
    standard_step(),
)
