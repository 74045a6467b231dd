"""Layers as `torch.nn.Module`s, over the same core as everything else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, ClassVar, NamedTuple, Self, Unpack, cast

import array_api_compat.torch as xp
import torch
from torch import Tensor, nn

from .. import network as _network
from .._checks import (
    check_beta,
    check_options,
    check_time_axis,
    flag,
    is_whole,
    positive,
)
from .._currents import currents
from .._decay import InputScale, beta_from_tau, decay_unchecked
from .._layer import ReadoutKind
from .._namespace import said
from ..backends.torch import asarray
from ..spikes import Events, SpikeTimes
from ._arguments import check_part, checked_device, checked_dtype, fitted_initial
from ._options import (
    FAST,
    READOUT,
    FastOptions,
    GradientOptions,
    NeuronOptions,
    ReadoutOptions,
    SavedWhole,
    complete,
    one_of,
)
from .functional import Clamped, Gradient, check_surrogate, check_threshold, first_spike


class Activity(NamedTuple):
    """What a hidden layer's spikes in a batch come to; the first two are differentiable."""

    spikes: Tensor  #: (batch,) number of spikes in each sample
    #: (batch,) sum of the neurons' spike times, where a silent neuron counts the number of steps:
    #: neurons x steps less what is left of the window after each spike
    latency: Tensor
    per_neuron: Tensor  #: int64 (neurons,) number of spikes of each neuron in the whole batch

    @classmethod
    def of(cls, spikes: Tensor) -> Activity:
        """The activity of dense spikes (batch, neurons, time)."""
        if not isinstance(spikes, Tensor) or spikes.ndim != 3 or spikes.is_complex():
            came = tuple(spikes.shape) if isinstance(spikes, Tensor) else said(spikes)
            raise TypeError(f"spikes must be a tensor (batch, neurons, time), got {came}")
        in_step = spikes.sum(1)
        neurons, steps = spikes.shape[1:]
        left = torch.arange(steps, 0, -1, device=spikes.device, dtype=spikes.dtype)
        per_neuron = spikes.detach().sum((0, 2)).to(torch.int64)
        # no matrix product, which autocast would compute in half precision
        return cls(in_step.sum(-1), neurons * steps - (in_step * left).sum(-1), per_neuron)


class DropoutMask(NamedTuple):
    """Dropout for spikes that come once or not at all: whole neurons, drawn for each sample."""

    kept: Tensor  #: bool (batch, neurons)
    scale: float  #: what the spikes that are kept are multiplied by

    @classmethod
    def draw(cls, batch: int, neurons: int, p: float, device: Any) -> DropoutMask:
        """Each neuron is kept with probability 1 - p, by Torch's global generator."""
        return cls(torch.rand(batch, neurons, device=device) >= p, 1 / (1 - p))

    def __call__(self, spikes: Tensor) -> Tensor:
        return spikes * (self.kept.to(spikes.dtype) * self.scale)[..., None]


class LeakyIntegrator(SavedWhole):
    """Synapses and leaky membranes: weight, bias and one beta per neuron."""

    checks: ClassVar[dict[str, Callable[[str, Any], Any]]] = {
        "input_scale": one_of(InputScale),
        "threshold": lambda name, value: check_threshold(value),
        "slope": positive,
        "gradient": one_of(Gradient),
        "surrogate": lambda name, value: check_surrogate(value),
        "kind": one_of(ReadoutKind),
    }
    defaults: ClassVar[Mapping[str, Any]] = FAST

    def __init__(self, n_inputs: int, n_neurons: int, options: NeuronOptions) -> None:
        super().__init__()
        for name, number in (("inputs", n_inputs), ("neurons", n_neurons)):
            if not (is_whole(number) and 1 <= number < 2**31):
                raise ValueError(
                    f"a layer needs inputs and neurons, whole numbers below 2^31, got {name} "
                    f"{number!r}"
                )
        self.input_scale = options["input_scale"]
        has_bias = flag("bias", options["bias"])
        learns, shares = (flag(name, options[name]) for name in ("learn_beta", "share_beta"))
        device, dtype = checked_device(options["device"]), checked_dtype(options["dtype"])
        like = {"device": device, "dtype": dtype}
        self.weight = nn.Parameter(torch.empty(n_neurons, n_inputs, **like))
        self.bias = nn.Parameter(torch.empty(n_neurons, **like)) if has_bias else None
        shape = () if shares else (n_neurons,)
        start = beta_from_tau(options["tau"], options["dt"])
        beta = torch.full(shape, start, **like)
        check_beta(xp, torch.full((), start, dtype=beta.dtype, device="cpu"))  # not a "meta" one
        if learns:
            self.beta = nn.Parameter(beta)
        else:
            self.register_buffer("beta", beta)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights from U(-sqrt(1/N), sqrt(1/N)), N inputs, and biases 0, as in the paper."""
        bound = self.weight.shape[1] ** -0.5
        # drawn in the order of the inputs, as ever: a seed stands for the same network
        drawn = torch.empty_like(self.weight.t(), memory_format=torch.contiguous_format)
        with torch.no_grad():
            self.weight.copy_(nn.init.uniform_(drawn, -bound, bound).t())
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def potential(
        self, x: Tensor | SpikeTimes | Events, initial_potential: Tensor | None = None
    ) -> Tensor:
        """Membrane potential without reset, (..., neurons, time)."""
        return self.potential_of(self.current(x), initial_potential)

    def potential_of(self, current: Tensor, initial_potential: Tensor | None = None) -> Tensor:
        """Membrane potential without reset, (..., neurons, time), of currents of that shape."""
        check_time_axis("current", current)
        if current.shape[-2] != len(self.weight):
            raise ValueError(
                f"current must have {len(self.weight)} neurons, (..., neurons, time), got shape "
                f"{tuple(current.shape)}"
            )
        beta = self.clamped_beta()
        if initial_potential is not None:
            initial_potential = fitted_initial(initial_potential, current)
        with torch.autocast(current.device.type, enabled=False):
            v: Tensor = decay_unchecked(xp, current, beta, initial_potential, self.input_scale)
        return v

    def current(self, x: Tensor | SpikeTimes | Events) -> Tensor:
        """Input currents (..., neurons, time) in the dtype of beta; autocast is for them alone."""
        if isinstance(x, Tensor):
            check_time_axis("x", x)
            current: Tensor = currents(x, self.weight, self.bias)
            return current.to(self.beta.dtype)
        run = self._sparse_current
        if torch.compiler.is_compiling():
            run = torch.compiler.disable(run)  # Dynamo knows no sparse forms
        return run(x)

    def _sparse_current(self, x: SpikeTimes | Events) -> Tensor:
        current: Tensor = currents(placed(x, self.weight), self.weight, self.bias)
        return current.to(self.beta.dtype)

    def clamped_beta(self) -> Tensor:
        """beta of every neuron, clamped to the inside of (0, 1) whatever an optimiser did to it."""
        limits = torch.finfo(self.beta.dtype)
        beta: Tensor = Clamped.apply(self.beta, limits.tiny, 1 - limits.eps / 2)
        return beta.expand(len(self.weight))

    def settings(self) -> dict[str, Any]:
        """What gives the parameters their meaning, by name, as a checkpoint keeps it."""
        return {
            "input_scale": self.input_scale,
            "learnt": [name for name, _ in self.named_parameters()],
            "share_beta": self.beta.ndim == 0,
        }

    def meaning(self) -> dict[str, Any]:
        """The settings that a `state_dict` has along; its keys say what is learnt."""
        return {name: value for name, value in self.settings().items() if name != "learnt"}

    def extra_repr(self) -> str:
        n, k = self.weight.shape
        learnt = isinstance(self.beta, nn.Parameter)
        return f"{k}, {n}, learn_beta={learnt}, input_scale={self.input_scale!r}"

    def _arrays(self) -> dict[str, Any]:
        """The parameters as a part of a `fastsnn_np.Network` has them."""

        def host(parameter: Tensor) -> Any:
            return parameter.detach().cpu().numpy().copy()

        return {
            "weight": host(self.weight),
            "bias": None if self.bias is None else host(self.bias),
            "beta": host(self.clamped_beta()),
            "input_scale": self.input_scale,
        }

    @classmethod
    def _from_part(
        cls,
        part: _network.Layer | _network.Readout,
        learn_beta: bool,
        device: Any,
        options: Mapping[str, Any],
    ) -> Self:
        """A module with the parameters of `part`, bit for bit."""
        weight = asarray(part.weight, device)
        shared: NeuronOptions = {
            "bias": part.bias is not None,
            "learn_beta": learn_beta,
            "input_scale": part.input_scale,
            "device": weight.device,
            "dtype": weight.dtype,
        }
        make = cast(Any, cls)  # the layers' own __init__ takes keywords
        module: Self = make(part.n_inputs, part.n_neurons, **shared, **options)
        with torch.no_grad():
            module.weight.copy_(weight)
            if module.bias is not None:
                module.bias.copy_(asarray(part.bias, device))
            beta = asarray(part.beta, device)
            module.beta.copy_(beta if module.beta.ndim else beta[0])
        return module


class FastLIF(LeakyIntegrator):
    """Leaky integrate-and-fire neurons that fire at most once.

    Parameters
    ----------
    n_inputs, n_neurons : int
    tau, dt : float
        Membrane time constant and step in ms, from which beta = exp(-dt / tau) starts;
        10 and 1 unless given.
    bias : bool
        Whether there is a constant current per neuron; True unless given.
    learn_beta : bool
        Whether beta is learnt; True unless given.
    share_beta : bool
        Whether the layer has one beta, and not one per neuron; False unless given.
    threshold : float
        1 unless given.
    input_scale : {"unit", "normalised"}
        Whether the current is multiplied by 1 or by 1 - beta; "unit" unless given.
    gradient, slope, surrogate
        As in `first_spike`.
    device, dtype : optional
        Where and as what the parameters are kept; Torch's defaults unless given.
    """

    def __init__(self, n_inputs: int, n_neurons: int, **options: Unpack[FastOptions]) -> None:
        options = complete(options, FAST, type(self).__name__)
        super().__init__(n_inputs, n_neurons, options)
        self.threshold, self.slope = options["threshold"], options["slope"]
        self.gradient, self.surrogate = options["gradient"], options["surrogate"]

    def forward(
        self, x: Tensor | SpikeTimes | Events, initial_potential: Tensor | None = None
    ) -> Tensor:
        """Spikes (..., neurons, time), at most one along time, of inputs (..., inputs, time)."""
        v = self.potential(x, initial_potential)
        return first_spike(
            v,
            self.threshold,
            gradient=self.gradient,
            slope=self.slope,
            surrogate=self.surrogate,
        )

    def settings(self) -> dict[str, Any]:
        return {
            **super().settings(),
            "threshold": self.threshold,
            "gradient": self.gradient,
            "slope": self.slope,
            "surrogate": name_of(self.surrogate),
        }

    def to_layer(self) -> _network.Layer:
        """The same parameters, bit for bit, as a `fastsnn_np.Layer` of NumPy arrays."""
        return _network.Layer(**self._arrays(), threshold=self.threshold)

    @classmethod
    def from_layer(
        cls,
        layer: _network.Layer,
        *,
        learn_beta: bool = True,
        device: Any = None,
        **options: Unpack[GradientOptions],
    ) -> Self:
        """A module with the parameters of a `fastsnn_np.Layer` of any library, bit for bit.

        Parameters
        ----------
        layer : fastsnn_np.Layer
            Without a bias it stays without one.
        learn_beta : bool
            Whether its betas, one per neuron, are learnt.
        device : optional
            Where the parameters go; Torch tensors stay where they are unless it is given.
        gradient, slope, surrogate
            As in `FastLIF`; they are no part of a `Layer`.

        Examples
        --------
        >>> layer = FastLIF(3, 2, threshold=0.5).to_layer()
        >>> FastLIF.from_layer(layer).threshold
        0.5
        """
        check_part("layer", layer, _network.Layer)
        check_options("from_layer", options, GradientOptions.__optional_keys__)
        if layer.neuron.fires != "once" or layer.delay is not None:
            raise ValueError(
                "the neurons of a FastLIF fire once, and have no delays: SpikingLIF.from_layer "
                "takes those that fire again and again"
            )
        more = {"threshold": layer.threshold, **options}
        return cls._from_part(layer, learn_beta, device, more)


class Readout(LeakyIntegrator):
    """Neurons that never fire; their logits are the sum or maximum of the potential over time.

    Parameters
    ----------
    kind : {"sum", "max"}
        "sum" unless given.
    n_inputs, n_neurons, tau, dt, bias, learn_beta, share_beta, input_scale, device, dtype
        As in `FastLIF`, but that tau is 20 ms unless given.
    """

    defaults: ClassVar[Mapping[str, Any]] = READOUT

    def __init__(self, n_inputs: int, n_neurons: int, **options: Unpack[ReadoutOptions]) -> None:
        options = complete(options, READOUT, type(self).__name__)
        super().__init__(n_inputs, n_neurons, options)
        self.kind = options["kind"]

    def forward(
        self, x: Tensor | SpikeTimes | Events, initial_potential: Tensor | None = None
    ) -> Tensor:
        """Logits (..., classes) of inputs (..., inputs, time)."""
        return self.logits(self.current(x), initial_potential)

    def logits(self, current: Tensor, initial_potential: Tensor | None = None) -> Tensor:
        """Logits (..., classes) of currents (..., classes, time)."""
        v = self.potential_of(current, initial_potential)
        # Torch's amax shares a tied maximum's gradient out; its first step should have it all.
        return v.sum(-1) if self.kind == "sum" else v.max(-1).values

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "kind": self.kind}

    def to_readout(self) -> _network.Readout:
        """The same parameters, bit for bit, as a `fastsnn_np.Readout` of NumPy arrays."""
        return _network.Readout(**self._arrays(), kind=self.kind)

    @classmethod
    def from_readout(
        cls, readout: _network.Readout, *, learn_beta: bool = True, device: Any = None
    ) -> Self:
        """A module with the parameters of a `fastsnn_np.Readout`; see `FastLIF.from_layer`."""
        check_part("readout", readout, _network.Readout)
        return cls._from_part(readout, learn_beta, device, {"kind": readout.kind})


def placed(x: Any, weight: Tensor) -> Any:
    """Spikes as they are, but for NumPy's spike times: these go to the device of `weight`."""
    if not isinstance(x, SpikeTimes) or isinstance(x.times, Tensor):
        return x
    return SpikeTimes.unchecked(asarray(x.times, weight.device), x.n_steps)


def as_dense(x: Tensor | SpikeTimes | Events, weight: Tensor) -> Tensor:
    """A batch of spikes as a dense tensor in the dtype of `weight`; NumPy's go to its device."""
    dense = x
    if isinstance(x, SpikeTimes):
        dense = placed(x, weight).to_dense(weight.dtype)
    elif isinstance(x, Events):
        dense = x.to_dense(weight.detach(), weight.dtype)
    return cast(Tensor, dense)


def name_of(surrogate: Any) -> str:
    """A surrogate's name; that of the function or of the class if it is a callable."""
    if isinstance(surrogate, str):
        return surrogate
    named = surrogate if isinstance(surrogate, FunctionType) else type(surrogate)
    return str(named.__qualname__)
