"""The single-spike network as one `torch.nn.Module`, computed densely or on the events."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, Self, Unpack, cast

import torch
from torch import Tensor

from .. import network as _network
from .._checks import check_iterable, flag
from .._engine import EngineName
from .._layer import ReadoutKind
from ..spikes import Events, SpikeTimes
from . import spike_times
from ._arguments import check_part
from ._model import Model, checked_sizes, has_hooks
from ._options import FAST, FastOptions, GradientOptions, complete, for_readout, one_of
from .functional import handed_down, scale_gradient
from .modules import Activity, DropoutMask, FastLIF, Readout, as_dense

Keep = Literal["nothing", "potential"]


class FastSNN(Model):
    """Hidden layers of `FastLIF` and a `Readout`, with the defaults that train well.

    Parameters
    ----------
    sizes : sequence of int
        Inputs, neurons of each hidden layer, classes. `from_modules` takes modules.
    tau_readout : float
        Time constant of the readout in ms.
    readout : {"sum", "max"}
    dropout : float
        Probability that a hidden neuron's spike is dropped in training, 0 <= dropout < 1.
    skip : bool
        Whether a hidden layer of as many neurons as inputs passes its input on beside its own
        spikes, their sum clamped to 1 (before dropout).
    engine : {"auto", "dense", "event"}
        "event" computes on the events, on the CPU, at a cost that follows the spikes; "dense" on
        tensors of any device, where sparse input goes through Torch's sparse product and no spike
        train is made. "auto" takes the event engine for `SpikeTimes` and `Events` where it can, and
        the dense one otherwise.
    keep : {"nothing", "potential"}
        Has no effect, and "potential" warns: the event engine computes the potential again in the
        backward pass, which is faster than keeping it.
    tau, dt, bias, learn_beta, share_beta, threshold, input_scale, gradient, slope, surrogate
        As in `FastLIF`, for every hidden layer; and for the readout what it has of them, but tau.
    device, dtype : optional
        Where and as what the parameters are kept; Torch's defaults unless given.

    Raises
    ------
    ValueError, TypeError
        If sizes or options do not fit.

    Examples
    --------
    >>> import torch
    >>> model = FastSNN([784, 200, 10])
    >>> model(torch.zeros(5, 784, 100)).shape
    torch.Size([5, 10])
    """

    checks: ClassVar[dict[str, Callable[[str, Any], Any]]] = {
        **Model.checks,
        "engine": one_of(EngineName),
        "keep": one_of(Keep),
        "skip": flag,
    }

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        tau_readout: float = _network.TAU_READOUT,
        readout: ReadoutKind = "sum",
        dropout: float = 0.0,
        skip: bool = False,
        engine: EngineName = "auto",
        keep: Keep = "nothing",
        **options: Unpack[FastOptions],
    ) -> None:
        options = complete(options, FAST, type(self).__name__)
        sizes = checked_sizes(sizes)
        hidden = [
            FastLIF(n_in, n_out, **options)
            for n_in, n_out in zip(sizes[:-2], sizes[1:-1], strict=True)
        ]
        last = Readout(*sizes[-2:], **for_readout(options, tau_readout, readout))
        self._assemble(hidden, last, options["dt"], dropout, skip, engine, keep)

    @classmethod
    def from_modules(
        cls,
        modules: Sequence[FastLIF | Readout],
        *,
        dt: float = 1.0,
        dropout: float = 0.0,
        skip: bool = False,
        engine: EngineName = "auto",
        keep: Keep = "nothing",
    ) -> Self:
        """A network of `FastLIF` modules and a `Readout`, which keep options of their own.

        Parameters
        ----------
        modules : sequence of FastLIF, and a Readout in the end
        dt : float
            The step in ms that the modules were made with.
        dropout, skip, engine, keep
            As in `FastSNN`.

        Raises
        ------
        ValueError, TypeError
            If modules or options do not fit.

        Examples
        --------
        >>> FastSNN.from_modules([FastLIF(4, 3, slope=5.0), Readout(3, 2)]).sizes
        (4, 3, 2)
        """
        check_iterable("modules", modules, "FastLIF modules and a Readout")
        modules = list(modules)
        if not modules:
            raise ValueError("modules must end with a Readout, got none")
        *hidden, last = modules
        for module, kind in (*((layer, FastLIF) for layer in hidden), (last, Readout)):
            if not isinstance(module, kind):
                raise TypeError(f"expected a {kind.__name__}, got {type(module).__name__}")
        model = cls.__new__(cls)
        model._assemble(hidden, cast(Readout, last), dt, dropout, skip, engine, keep)
        return model

    def _assemble(
        self,
        hidden: list[Any],
        readout: Readout,
        dt: float,
        dropout: float,
        skip: bool,
        engine: EngineName,
        keep: Keep,
    ) -> None:
        """What both constructors end with."""
        super().__init__(hidden, readout, dt)
        self.engine, self.keep, self.skip, self.dropout = engine, keep, skip, dropout
        if keep == "potential":
            warnings.warn(
                'keep="potential" has no effect any more, and will be gone in the next version: '
                "computing the potential again is faster",
                DeprecationWarning,
                stacklevel=3,
            )
        if skip and not any(n == k for n, k in (layer.weight.shape for layer in self.hidden())):
            raise ValueError(
                "skip=True passes the input of a layer on beside as many spikes, and no hidden "
                f"layer of {list(self.sizes)} has as many neurons as inputs"
            )

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
        flag("return_spikes", return_spikes)
        if flag("return_activity", return_activity) and return_spikes:
            raise ValueError(
                "return_spikes or return_activity: Activity.of(spikes) gives the other"
            )
        if isinstance(x, Tensor) and self.engine != "event":
            self.check_input(x)
            return self._densely(x, self.dropout_masks(x), return_spikes, return_activity)
        run = self._outside_the_graph
        if torch.compiler.is_compiling():
            run = torch.compiler.disable(run)  # Dynamo knows neither kernels nor sparse forms
        return run(x, return_spikes, return_activity)

    def _outside_the_graph(self, x: Any, return_spikes: bool, return_activity: bool) -> Any:
        """`forward` of sparse forms, and of dense ones by the event engine."""
        self.check_input(x)
        masks = self.dropout_masks(x)
        if self.uses_events(x, lambda: self._obstacle(x, return_spikes)):
            logits, activities = self._by_events(x, masks, return_activity)
            return (logits, activities) if return_activity else logits
        if isinstance(x, Tensor) or return_spikes or self.skip or has_hooks(self):
            return self._densely(x, masks, return_spikes, return_activity)
        self._renew_pruned()
        last = len(self.layers) - 1
        factors = [1.0 if i == last else handed_down(x.n_steps) for i in range(last + 1)]
        logits, activities = spike_times.run(x, self.hidden(), self.readout, masks, factors)
        return (logits, activities) if return_activity else logits

    def _renew_pruned(self) -> None:
        """Call the hooks that mask weights, where the modules themselves are not called."""
        for part in (*self.hidden(), self.readout):
            for hook in part._forward_pre_hooks.values():
                hook(part, ())

    def _densely(
        self,
        spikes: Any,
        masks: list[DropoutMask | None],
        return_spikes: bool,
        return_activity: bool,
    ) -> Any:
        kept: list[Any] = []
        for i, (layer, mask) in enumerate(zip(self.hidden(), masks, strict=True)):
            below = spikes
            if i > 0:
                spikes = scale_gradient(spikes, handed_down(spikes.shape[-1]))
            spikes = layer(spikes)
            if return_spikes or return_activity:
                kept.append(spikes if return_spikes else Activity.of(spikes))
            if self.skip and spikes.shape == below.shape:
                spikes = (spikes + as_dense(below, spikes)).clamp(max=1)
            if mask is not None:
                spikes = mask(spikes)  # last: what it keeps is larger than 1, by design
        logits = self.readout(spikes)
        return (logits, kept) if return_spikes or return_activity else logits

    def _obstacle(self, x: Any, return_spikes: bool) -> str | None:
        """Why the event engine cannot compute it, or None."""
        if return_spikes:
            return "it does not return spikes"
        if self.skip:
            return "it has no skip connections"
        found = self.obstacle_in_layers()
        if found is None:
            found = self._event_engine().obstacle_of(x, self.readout.weight)
        return found

    def _event_engine(self) -> Any:
        """The module that computes by events where the model is; it imports its kernels."""
        if self.readout.weight.is_cuda:
            from . import cuda_event

            return cuda_event
        from . import event

        return event

    def _by_events(
        self, x: Any, masks: list[DropoutMask | None], activity: bool
    ) -> tuple[Tensor, list[Activity]]:
        from .event import HiddenLayer, NetworkOptions, Parameters, ReadoutLayer

        hidden = [
            HiddenLayer(
                threshold=layer.threshold,
                slope=layer.slope,
                paper=layer.gradient == "paper",
                input_scale=layer.input_scale,
                dropout=mask,
            )
            for layer, mask in zip(self.hidden(), masks, strict=True)
        ]
        options = NetworkOptions(
            hidden,
            ReadoutLayer(self.readout.input_scale, summed=self.readout.kind == "sum"),
            activity=activity,
        )
        self._renew_pruned()
        parts = (*self.hidden(), self.readout)
        parameters = [Parameters(part.weight, part.bias, part.clamped_beta()) for part in parts]
        found: tuple[Tensor, list[Activity]] = self._event_engine().run(x, options, parameters)
        return found

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
        engine: EngineName = "auto",
        device: Any = None,
        **options: Unpack[GradientOptions],
    ) -> Self:
        """A module with the parameters of a `fastsnn_np.Network`, bit for bit.

        Layers without a bias stay without one. Gradient, slope and surrogate are no part of a
        network: they are those of `FastLIF` unless given.
        """
        check_part("network", network, _network.Network)
        hidden = [
            FastLIF.from_layer(layer, learn_beta=learn_beta, device=device, **options)
            for layer in network.layers
        ]
        last = Readout.from_readout(network.readout, learn_beta=learn_beta, device=device)
        return cls.from_modules([*hidden, last], dt=network.dt, engine=engine)
