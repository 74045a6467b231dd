"""The standard, multi-spike SNN that FastSNN is compared with (eq. 2): one step after another."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .. import network as _network
from .._decay import InputScale
from .._layer import ReadoutKind
from ..spikes import Events, SpikeTimes
from .functional import Surrogate, check_gradient, spike
from .modules import Activity, Readout, _Neurons, as_dense, checked_sizes


class StandardLIF(_Neurons):
    """Leaky integrate-and-fire neurons that may fire at every step.

    V[t+1] = beta V[t] + scale I[t+1] - theta S[t] (eq. 2): the reset, by subtraction, is felt one
    step after the spike. The currents of all steps are computed before the loop over time.

    Parameters
    ----------
    n_inputs, n_neurons, tau, dt, learn_beta, share_beta, threshold, input_scale
        As in `FastLIF`.
    slope, surrogate
        As in `spike`.
    detach_reset : bool
        Whether gradients stop at the reset; the paper does not say, and by default they go through.
    single_spike : bool
        Whether a neuron is silenced after its first spike, sequentially: the same spikes as
        `FastLIF`, though not the same gradient.

    Examples
    --------
    >>> StandardLIF(3, 2)(torch.ones(1, 3, 5)).shape
    torch.Size([1, 2, 5])
    """

    def __init__(
        self,
        n_inputs: int,
        n_neurons: int,
        *,
        tau: float = _network.TAU_HIDDEN,
        dt: float = 1.0,
        bias: bool = True,
        learn_beta: bool = False,
        share_beta: bool = False,
        threshold: float = 1.0,
        input_scale: InputScale = "normalised",
        slope: float = 100.0,
        surrogate: Surrogate = "fast_sigmoid",
        detach_reset: bool = False,
        single_spike: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            n_inputs,
            n_neurons,
            tau=tau,
            dt=dt,
            bias=bias,
            learn_beta=learn_beta,
            share_beta=share_beta,
            input_scale=input_scale,
            device=device,
            dtype=dtype,
        )
        check_gradient("paper", slope, surrogate)
        self.threshold, self.slope, self.surrogate = threshold, slope, surrogate
        self.detach_reset, self.single_spike = detach_reset, single_spike

    def forward(self, x: Tensor, initial_potential: Tensor | None = None) -> Tensor:
        """Spikes (..., neurons, time) of inputs (..., inputs, time)."""
        beta = self.inside_beta()
        current = self.current(x)
        if self.input_scale == "normalised":
            current = current * (1 - beta)[:, None]
        # Time first and contiguous: every step reads and writes one stretch of memory. `unbind`,
        # not indexing, whose backward pass would fill a whole tensor of zeros at every step.
        steps = current.movedim(-1, 0).contiguous().unbind(0)
        v = torch.zeros_like(steps[0]) if initial_potential is None else initial_potential
        run = self._once if self.single_spike else self._with_reset
        return torch.stack(run(steps, v, beta)).movedim(0, -1)

    def _with_reset(self, steps: Any, v: Tensor, beta: Tensor) -> list[Tensor]:
        spikes, reset = [], None
        for current in steps:
            v = beta * v + current if reset is None else beta * v + current - reset
            s = spike(v, self.threshold, slope=self.slope, surrogate=self.surrogate)
            spikes.append(s)
            reset = s.detach() if self.detach_reset else s
            reset = reset if self.threshold == 1 else self.threshold * reset
        return spikes

    def _once(self, steps: Any, v: Tensor, beta: Tensor) -> list[Tensor]:
        spikes, silent = [], torch.ones_like(steps[0])
        for current in steps:
            v = beta * v + current
            s = spike(v, self.threshold, slope=self.slope, surrogate=self.surrogate) * silent
            silent = silent * (1 - s.detach())
            spikes.append(s)
        return spikes


class StandardSNN(nn.Module):
    """Hidden layers of `StandardLIF` and a `Readout`: the paper's baseline, with its defaults.

    Parameters
    ----------
    sizes : sequence of int
        Inputs, neurons of each hidden layer, classes.
    tau, tau_readout, dt : float
        In ms.
    readout : {"max", "sum"}
    learn_beta, share_beta, threshold, input_scale, slope, surrogate, detach_reset, single_spike
        As in `StandardLIF`, for every layer.

    Examples
    --------
    >>> StandardSNN([784, 200, 10])(torch.zeros(5, 784, 20)).shape
    torch.Size([5, 10])
    """

    def __init__(
        self,
        sizes: Any,
        *,
        tau: float = _network.TAU_HIDDEN,
        tau_readout: float = _network.TAU_READOUT,
        dt: float = 1.0,
        bias: bool = True,
        readout: ReadoutKind = "max",
        learn_beta: bool = False,
        share_beta: bool = False,
        input_scale: InputScale = "normalised",
        device: Any = None,
        dtype: torch.dtype | None = None,
        **spiking: Any,
    ) -> None:
        super().__init__()
        sizes = checked_sizes(sizes)
        shared: dict[str, Any] = {
            "dt": dt,
            "bias": bias,
            "learn_beta": learn_beta,
            "share_beta": share_beta,
            "input_scale": input_scale,
            "device": device,
            "dtype": dtype,
        }
        self.layers = nn.ModuleList(
            StandardLIF(n_in, n_out, tau=tau, **shared, **spiking)
            for n_in, n_out in zip(sizes[:-2], sizes[1:-1], strict=True)
        )
        self.readout = Readout(*sizes[-2:], tau=tau_readout, kind=readout, **shared)
        self.sizes, self.dt = sizes, dt

    def forward(self, x: Tensor | SpikeTimes | Events, *, return_activity: bool = False) -> Any:
        """Logits (batch, classes) of inputs (batch, inputs, time), dense or sparse.

        With ``return_activity=True`` also an `Activity` of each hidden layer.
        """
        spikes = as_dense(x, self.readout.weight)
        activities = []
        for layer in self.layers:
            spikes = layer(spikes)
            if return_activity:
                activities.append(Activity.of(spikes))
        logits = self.readout(spikes)
        return (logits, activities) if return_activity else logits
