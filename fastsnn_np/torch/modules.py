"""Layers and networks as `torch.nn.Module`s, over the same core as everything else."""

from __future__ import annotations

from typing import Any, Literal, cast

import array_api_compat.torch as xp
import torch
from torch import Tensor, nn

from .. import network as _network
from .._currents import currents
from .._decay import InputScale, beta_from_tau, check_beta, check_option, decay_unchecked
from .._layer import ReadoutKind
from .._namespace import require_time_axis
from ..spikes import Events, SpikeTimes
from .functional import Gradient, check_gradient, first_spike

Engine = Literal["auto", "dense", "event"]
Keep = Literal["nothing", "potential"]


class _Neurons(nn.Module):
    """Synapses and leaky neurons: weight, bias and one beta a neuron."""

    def __init__(
        self,
        n_inputs: int,
        n_neurons: int,
        *,
        tau: float,
        dt: float,
        bias: bool,
        learn_beta: bool,
        input_scale: InputScale,
        device: Any,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        if n_inputs < 1 or n_neurons < 1:
            raise ValueError(f"a layer needs inputs and neurons, got {n_inputs} and {n_neurons}")
        check_option("input_scale", input_scale, InputScale)
        self.input_scale = input_scale
        empty = torch.empty(n_neurons, device=device, dtype=dtype)
        # transposed in memory, as the event kernels read it; to everyone else (neurons, inputs)
        weight = torch.empty(n_inputs, n_neurons, device=device, dtype=dtype).t()
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.empty_like(empty)) if bias else None
        beta = torch.full_like(empty, beta_from_tau(tau, dt))
        check_beta(xp, beta)
        if learn_beta:
            self.beta = nn.Parameter(beta)
        else:
            self.register_buffer("beta", beta)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights from U(-sqrt(1/N), sqrt(1/N)), N inputs, and biases 0, as in the paper."""
        bound = self.weight.shape[1] ** -0.5
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def potential(self, x: Tensor, initial_potential: Tensor | None = None) -> Tensor:
        """Membrane potential without reset, (..., neurons, time)."""
        require_time_axis("x", x)
        beta = self.inside_beta()
        current = currents(x, self.weight, self.bias)
        v: Tensor = decay_unchecked(xp, current, beta, initial_potential, self.input_scale)
        return v

    def inside_beta(self) -> Tensor:
        """beta, held inside (0, 1) whatever an optimiser did to it."""
        beta: Tensor = _Inside.apply(self.beta)
        return beta

    def extra_repr(self) -> str:
        n, k = self.weight.shape
        learnt = isinstance(self.beta, nn.Parameter)
        return f"{k}, {n}, learn_beta={learnt}, input_scale={self.input_scale!r}"


class FastLIF(_Neurons):
    """Leaky integrate-and-fire neurons that fire at most once.

    Parameters
    ----------
    n_inputs, n_neurons : int
    tau, dt : float
        Membrane time constant and step in ms, from which beta = exp(-dt / tau) starts.
    learn_beta : bool
        Whether beta is learnt, for each neuron on its own.
    threshold : float
    input_scale : {"unit", "normalised"}
        Whether the current is multiplied by 1 or by 1 - beta.
    gradient, slope
        As in `first_spike`.
    """

    def __init__(
        self,
        n_inputs: int,
        n_neurons: int,
        *,
        tau: float = _network.TAU_HIDDEN,
        dt: float = 1.0,
        bias: bool = True,
        learn_beta: bool = True,
        threshold: float = 1.0,
        input_scale: InputScale = "unit",
        gradient: Gradient = "straight_through",
        slope: float = 10.0,
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
            input_scale=input_scale,
            device=device,
            dtype=dtype,
        )
        check_gradient(gradient, slope)
        self.threshold, self.gradient, self.slope = threshold, gradient, slope

    def forward(self, x: Tensor, initial_potential: Tensor | None = None) -> Tensor:
        """Spikes (..., neurons, time), at most one along time, of inputs (..., inputs, time)."""
        v = self.potential(x, initial_potential)
        return first_spike(v, self.threshold, gradient=self.gradient, slope=self.slope)

    def to_layer(self) -> _network.Layer:
        """The same parameters, bit for bit, as a `fastsnn_np.Layer` of NumPy arrays."""
        return _network.Layer(**_arrays(self), threshold=self.threshold)


class Readout(_Neurons):
    """Neurons that never fire; their logits are the sum or maximum of the potential over time.

    Parameters
    ----------
    kind : {"sum", "max"}
    n_inputs, n_neurons, tau, dt, learn_beta, input_scale
        As in `FastLIF`.
    """

    def __init__(
        self,
        n_inputs: int,
        n_neurons: int,
        *,
        tau: float = _network.TAU_READOUT,
        dt: float = 1.0,
        bias: bool = True,
        learn_beta: bool = True,
        kind: ReadoutKind = "sum",
        input_scale: InputScale = "unit",
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
            input_scale=input_scale,
            device=device,
            dtype=dtype,
        )
        check_option("kind", kind, ReadoutKind)
        self.kind = kind

    def forward(self, x: Tensor, initial_potential: Tensor | None = None) -> Tensor:
        """Logits (..., classes) of inputs (..., inputs, time)."""
        v = self.potential(x, initial_potential)
        # Torch's amax shares a tied maximum's gradient out; its first step should have it all.
        return v.sum(-1) if self.kind == "sum" else v.max(-1).values

    def to_readout(self) -> _network.Readout:
        """The same parameters, bit for bit, as a `fastsnn_np.Readout` of NumPy arrays."""
        return _network.Readout(**_arrays(self), kind=self.kind)


class FastSNN(nn.Module):
    """Hidden layers of `FastLIF` and a `Readout`, with the defaults that train well.

    Parameters
    ----------
    sizes : sequence of int
        Inputs, neurons of each hidden layer, classes.
    tau, tau_readout, dt : float
        Time constants of hidden layers and readout, and the step, in ms.
    readout : {"sum", "max"}
    learn_beta, threshold, input_scale, gradient, slope
        As in `FastLIF`, for every layer.
    engine : {"auto", "dense", "event"}
        "event" computes on the events, on the CPU, at a cost that follows the spikes; "dense" on
        dense tensors, on any device. "auto" takes the event engine for `SpikeTimes` and `Events`
        where it can, and the dense one otherwise.
    keep : {"nothing", "potential"}
        Whether the event engine computes the potential again in the backward pass, or keeps it:
        batch x neurons x steps numbers a layer for, at best, a third less time.

    Examples
    --------
    >>> model = FastSNN([784, 200, 10])
    >>> model(torch.zeros(5, 784, 100)).shape
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
        learn_beta: bool = True,
        readout: ReadoutKind = "sum",
        threshold: float = 1.0,
        input_scale: InputScale = "unit",
        gradient: Gradient = "straight_through",
        slope: float = 10.0,
        engine: Engine = "auto",
        keep: Keep = "nothing",
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_option("engine", engine, Engine)
        check_option("keep", keep, Keep)
        self.engine, self.keep = engine, keep
        self._pages: list[Any] = []  # reused by keep="potential"
        sizes = [int(n) for n in sizes]
        if len(sizes) < 2:
            raise ValueError(f"sizes must name at least inputs and classes, got {sizes}")
        shared: dict[str, Any] = {
            "dt": dt,
            "bias": bias,
            "learn_beta": learn_beta,
            "input_scale": input_scale,
            "device": device,
            "dtype": dtype,
        }
        spiking: dict[str, Any] = {"threshold": threshold, "gradient": gradient, "slope": slope}
        self.layers = nn.ModuleList(
            FastLIF(n_in, n_out, tau=tau, **spiking, **shared)
            for n_in, n_out in zip(sizes[:-2], sizes[1:-1], strict=True)
        )
        self.readout = Readout(*sizes[-2:], tau=tau_readout, kind=readout, **shared)
        self.dt = dt

    def forward(self, x: Tensor | SpikeTimes | Events, *, return_spikes: bool = False) -> Any:
        """Logits (batch, classes) of inputs (batch, inputs, time), dense or sparse.

        With ``return_spikes=True`` also the spikes of every hidden layer, a list of dense tensors;
        the dense engine computes them.
        """
        if self._uses_events(x, return_spikes):
            return self._by_events(x)
        weight = self.readout.weight
        if isinstance(x, SpikeTimes):
            x = x.to_dense(weight.dtype)
        elif isinstance(x, Events):
            x = x.to_dense(weight.detach(), weight.dtype)
        spikes = []
        for layer in self.layers:
            x = layer(x)
            spikes.append(x)
        logits = self.readout(x)
        return (logits, spikes) if return_spikes else logits

    def _uses_events(self, x: Any, return_spikes: bool) -> bool:
        if self.engine == "dense" or (self.engine == "auto" and isinstance(x, Tensor)):
            return False
        from .event import supports  # imports numba, which only this engine needs

        reason = "it does not return spikes" if return_spikes else None
        reason = reason or supports(x, self.readout.weight)
        if reason is not None and self.engine == "event":
            raise ValueError(f"engine='event' cannot compute this: {reason}; use engine='dense'")
        return reason is None

    def _by_events(self, x: Any) -> Tensor:
        from .event import Options, logits

        hidden = self._hidden()
        parts = (*hidden, self.readout)
        inputs = x.n_neurons if isinstance(x, (SpikeTimes, Events)) else x.shape[1]
        if inputs != self.sizes[0]:
            raise ValueError(f"x has {inputs} neurons and the model expects {self.sizes[0]}")
        if isinstance(x, Tensor):
            require_time_axis("x", x)
        options = Options(
            [layer.threshold for layer in hidden],
            [layer.gradient == "paper" for layer in hidden],
            [layer.slope for layer in hidden],
            [part.input_scale for part in parts],
            self.readout.kind == "sum",
            self.keep,
            self._pages,
        )
        parameters = [p for part in parts for p in (part.weight, part.bias, part.inside_beta())]
        return logits(x, options, parameters)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of inputs, of neurons in each hidden layer, and of classes."""
        weights = [module.weight for module in (*self._hidden(), self.readout)]
        return (weights[0].shape[1], *[weight.shape[0] for weight in weights])

    def _hidden(self) -> list[FastLIF]:
        return cast("list[FastLIF]", list(self.layers))

    def to_network(self) -> _network.Network:
        """The same network as NumPy arrays, bit for bit, for `fastsnn_np.forward` and files."""
        hidden = tuple(layer.to_layer() for layer in self._hidden())
        return _network.Network(hidden, self.readout.to_readout(), self.dt)

    @classmethod
    def from_network(
        cls,
        network: _network.Network,
        *,
        learn_beta: bool = True,
        gradient: Gradient = "straight_through",
        slope: float = 10.0,
        engine: Engine = "auto",
        device: Any = None,
    ) -> FastSNN:
        """A module with the parameters of a `fastsnn_np.Network`, bit for bit.

        Layers without a bias stay without one. Gradient and slope are no part of a network.
        """
        check_gradient(gradient, slope)
        network = network.to("torch", device)
        model = cls(network.sizes, dt=network.dt, engine=engine, device=device, dtype=network.dtype)
        for module, part in zip(
            (*model._hidden(), model.readout), (*network.layers, network.readout), strict=True
        ):
            with torch.no_grad():
                module.weight.copy_(part.weight)
            module.bias = None if part.bias is None else nn.Parameter(part.bias.clone())
            beta = cast(Tensor, part.beta).clone()
            del module.beta
            if learn_beta:
                module.beta = nn.Parameter(beta)
            else:
                module.register_buffer("beta", beta)
            module.input_scale = part.input_scale
        for layer, part in zip(model._hidden(), network.layers, strict=True):
            layer.threshold, layer.gradient, layer.slope = part.threshold, gradient, slope
        model.readout.kind = network.readout.kind
        return model


class _Inside(torch.autograd.Function):
    """beta held inside (0, 1), with the gradient passed on so that it can come back."""

    @staticmethod
    def forward(ctx: Any, beta: Tensor) -> Tensor:
        limits = torch.finfo(beta.dtype)
        return beta.clamp(limits.tiny, 1 - limits.eps / 2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


def _arrays(module: _Neurons) -> dict[str, Any]:
    def host(parameter: Tensor) -> Any:
        return parameter.detach().cpu().numpy().copy()

    return {
        "weight": host(module.weight),
        "bias": None if module.bias is None else host(module.bias),
        "beta": host(module.inside_beta()),
        "input_scale": module.input_scale,
    }
