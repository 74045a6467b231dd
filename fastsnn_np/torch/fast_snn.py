"""The single-spike network as one `torch.nn.Module`, computed densely or on the events."""

from __future__ import annotations

from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from .. import network as _network
from .._checks import check_option, check_time_axis
from .._decay import InputScale
from .._layer import ReadoutKind
from ..spikes import Events, SpikeTimes
from .functional import Gradient, Surrogate, check_gradient
from .modules import Activity, Dropped, FastLIF, Readout, as_dense, checked_sizes

Engine = Literal["auto", "dense", "event"]
Keep = Literal["nothing", "potential"]


class FastSNN(nn.Module):
    """Hidden layers of `FastLIF` and a `Readout`, with the defaults that train well.

    Parameters
    ----------
    sizes : sequence of int, or of modules
        Inputs, neurons of each hidden layer, classes; or `FastLIF` modules and a `Readout`, whose
        own options hold then.
    tau, tau_readout, dt : float
        Time constants of hidden layers and readout, and the step, in ms.
    readout : {"sum", "max"}
    learn_beta, share_beta, threshold, input_scale, gradient, slope, surrogate
        As in `FastLIF`, for every layer.
    dropout : float
        Probability that a hidden neuron's spike is dropped in training, 0 <= dropout < 1.
    skip : bool
        Whether a hidden layer of as many neurons as inputs passes its input on beside its own
        spikes, their sum clamped to 1 (before dropout).
    engine : {"auto", "dense", "event"}
        "event" computes on the events, on the CPU, at a cost that follows the spikes; "dense" on
        dense tensors, on any device. "auto" takes the event engine for `SpikeTimes` and `Events`
        where it can, and the dense one otherwise.
    keep : {"nothing", "potential"}
        Whether the event engine computes the potential again in the backward pass, or keeps it:
        batch x neurons x steps numbers a layer for, at best, a third less time.

    Raises
    ------
    ValueError, TypeError
        If sizes, modules or options do not fit.

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
        share_beta: bool = False,
        readout: ReadoutKind = "sum",
        threshold: float = 1.0,
        input_scale: InputScale = "unit",
        gradient: Gradient = "straight_through",
        slope: float = 10.0,
        surrogate: Surrogate = "fast_sigmoid",
        dropout: float = 0.0,
        skip: bool = False,
        engine: Engine = "auto",
        keep: Keep = "nothing",
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_option("engine", engine, Engine)
        check_option("keep", keep, Keep)
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {dropout}")
        self.engine, self.keep, self.dropout, self.skip = engine, keep, dropout, skip
        self._pages: list[Any] = []  # reused by keep="potential"
        modules = list(sizes)
        if not any(isinstance(module, nn.Module) for module in modules):
            shared: dict[str, Any] = {
                "dt": dt,
                "bias": bias,
                "learn_beta": learn_beta,
                "share_beta": share_beta,
                "input_scale": input_scale,
                "device": device,
                "dtype": dtype,
            }
            spiking: dict[str, Any] = {
                "threshold": threshold,
                "gradient": gradient,
                "slope": slope,
                "surrogate": surrogate,
            }
            sizes = checked_sizes(modules)
            modules = [
                FastLIF(n_in, n_out, tau=tau, **spiking, **shared)
                for n_in, n_out in zip(sizes[:-2], sizes[1:-1], strict=True)
            ]
            modules.append(Readout(*sizes[-2:], tau=tau_readout, kind=readout, **shared))
        self.layers, self.readout = _chained(modules)
        if skip and not any(n == k for n, k in (layer.weight.shape for layer in self.hidden())):
            raise ValueError(
                "skip=True passes the input of a layer on beside as many spikes, and no hidden "
                f"layer of {list(self.sizes)} has as many neurons as inputs"
            )
        self.dt = dt

    def forward(
        self,
        x: Tensor | SpikeTimes | Events,
        *,
        return_spikes: bool = False,
        return_activity: bool = False,
    ) -> Any:
        """Logits (batch, classes) of inputs (batch, inputs, time), dense or sparse.

        With ``return_spikes=True`` also the spikes of every hidden layer, a list of dense tensors
        that the dense engine computes; with ``return_activity=True`` a list with the `Activity` of
        every hidden layer. One or the other. A dense `x` is not searched for NaN, which would wait
        for a GPU: a neuron of potential NaN is silent. `fit` does look.
        """
        if return_spikes and return_activity:
            raise ValueError(
                "return_spikes or return_activity: Activity.of(spikes) gives the other"
            )
        if isinstance(x, (SpikeTimes, Events)):
            batch, inputs, steps = len(x), x.n_neurons, x.n_steps
        elif not isinstance(x, Tensor):
            raise TypeError(
                f"x must be a tensor, SpikeTimes or Events, got {type(x).__name__}: "
                "torch.from_numpy(...) makes a tensor"
            )
        else:
            batch, (inputs, steps) = x.shape[:-2].numel(), x.shape[-2:]
        if inputs != self.sizes[0]:
            raise ValueError(
                f"x has {inputs} neurons and the model expects {self.sizes[0]}: "
                f"x is laid out (batch, neurons, time), with {steps} steps here"
            )
        dropped = [self._dropped(batch, layer) for layer in self.hidden()]
        if self._uses_events(x, return_spikes):
            logits, activities = self._by_events(x, dropped, return_activity)
            return (logits, activities) if return_activity else logits
        train = as_dense(x, self.readout.weight)
        kept: list[Any] = []
        for layer, drop in zip(self.hidden(), dropped, strict=True):
            spikes = layer(train)
            if return_spikes or return_activity:
                kept.append(spikes if return_spikes else Activity.of(spikes))
            passed_by = self.skip and spikes.shape == train.shape
            train = (spikes + train).clamp(max=1) if passed_by else spikes
            if drop is not None:
                train = drop(train)  # last: what passes it is larger than 1, by design
        logits = self.readout(train)
        return (logits, kept) if return_spikes or return_activity else logits

    def _dropped(self, batch: int, layer: FastLIF) -> Dropped | None:
        if not (self.training and self.dropout):
            return None
        return Dropped.draw(batch, len(layer.weight), self.dropout, layer.weight.device)

    def _uses_events(self, x: Any, return_spikes: bool) -> bool:
        if self.engine == "dense" or (self.engine == "auto" and isinstance(x, Tensor)):
            return False
        from .event import supports  # imports numba, which only this engine needs

        if return_spikes:
            reason: str | None = "it does not return spikes"
        elif self.skip:
            reason = "it has no skip connections"
        elif any(layer.surrogate != "fast_sigmoid" for layer in self.hidden()):
            reason = "its surrogate is the fast sigmoid"
        else:
            reason = supports(x, self.readout.weight)
        if reason is not None and self.engine == "event":
            raise ValueError(f"engine='event' cannot compute this: {reason}; use engine='dense'")
        return reason is None

    def _by_events(self, x: Any, dropped: list[Dropped | None], activity: bool) -> Any:
        from .event import Options, run

        hidden = self.hidden()
        parts = (*hidden, self.readout)
        if isinstance(x, Tensor):
            check_time_axis("x", x)
        options = Options(
            [layer.threshold for layer in hidden],
            [layer.gradient == "paper" for layer in hidden],
            [layer.slope for layer in hidden],
            dropped,
            [part.input_scale for part in parts],
            self.readout.kind == "sum",
            self.keep,
            self._pages,
            activity,
        )
        parameters = [p for part in parts for p in (part.weight, part.bias, part.inside_beta())]
        return run(x, options, parameters)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of inputs, of neurons in each hidden layer, and of classes."""
        weights = [module.weight for module in (*self.hidden(), self.readout)]
        return (weights[0].shape[1], *[weight.shape[0] for weight in weights])

    def hidden(self) -> list[FastLIF]:
        return cast("list[FastLIF]", list(self.layers))

    def to_network(self) -> _network.Network:
        """The same network as NumPy arrays, bit for bit, for `fastsnn_np.forward` and files.

        Raises
        ------
        ValueError
            If the model has skip connections, which a `Network` has not.
        """
        if self.skip:
            raise ValueError("a Network has no skip connections: save the state_dict instead")
        hidden = tuple(layer.to_layer() for layer in self.hidden())
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
            (*model.hidden(), model.readout), (*network.layers, network.readout), strict=True
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
        for layer, part in zip(model.hidden(), network.layers, strict=True):
            layer.threshold, layer.gradient, layer.slope = part.threshold, gradient, slope
        model.readout.kind = network.readout.kind
        return model


def _chained(modules: list[Any]) -> tuple[nn.ModuleList, Readout]:
    """Hidden layers and readout, checked to fit one another."""
    wanted = [*[FastLIF] * (len(modules) - 1), Readout]
    for module, kind in zip(modules, wanted, strict=True):
        if not isinstance(module, kind):
            raise TypeError(f"expected a {kind.__name__}, got {type(module).__name__}")
    for i, (below, above) in enumerate(zip(modules[:-1], modules[1:], strict=True)):
        if above.weight.shape[1] != below.weight.shape[0]:
            raise ValueError(
                f"layer {i} has {below.weight.shape[0]} neurons and layer {i + 1} expects "
                f"{above.weight.shape[1]} inputs"
            )
    kinds = {f"{module.weight.dtype} on {module.weight.device}" for module in modules}
    if len(kinds) > 1:
        raise ValueError(f"the modules are not alike: {' and '.join(sorted(kinds))}")
    return nn.ModuleList(modules[:-1]), modules[-1]
