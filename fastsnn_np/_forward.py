"""`forward`: a network, or one layer of neurons, on whatever the input is and wherever it lives."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, Literal

import numpy as np

from . import _layer, backends
from ._decay import Method, beta_from_tau, check_option
from ._namespace import Array, as_dtype, device_of, float_dtype, is_array, library_name, namespace
from .network import TAU_HIDDEN, Network, check_finite
from .spikes import Events, SpikeTimes

Layout = Literal["bnt", "btn", "tbn"]
_AXES = {
    "bnt": "(batch, neurons, time)",
    "btn": "(batch, time, neurons)",
    "tbn": "(time, batch, neurons)",
}
_ORDER = {"btn": (0, 2, 1), "tbn": (1, 2, 0)}


@dataclass(frozen=True)
class Result:
    """What `forward` gives; all arrays belong to the library and device it computed on."""

    spike_times: tuple[Array, ...]  #: int32 (batch, neurons) a hidden layer; n_steps = never
    spike_counts: tuple[Array, ...]  #: int32 (batch,) a hidden layer
    logits: Array | None  #: (batch, classes); None without a network
    prediction: Array | None  #: integer (batch,), the class of the largest logit
    potentials: tuple[Array, ...] | None  #: (batch, neurons, time) a layer, the readout last
    n_steps: int

    def __repr__(self) -> str:
        shapes = ", ".join(str(tuple(times.shape)) for times in self.spike_times)
        logits = None if self.logits is None else tuple(self.logits.shape)
        return f"Result(spike_times: {shapes}; logits: {logits}; n_steps={self.n_steps})"


def forward(
    x: Array | SpikeTimes | Events,
    network: Network | str | os.PathLike[str] | None = None,
    *,
    backend: str | None = None,
    device: Any = None,
    layout: Layout = "bnt",
    method: Method = "block",
    return_potential: bool = False,
    check_finite: bool = True,
    batch_size: int | None = None,
    progress: bool = False,
) -> Result:
    """Run single-spike neurons on input spikes or currents.

    Parameters
    ----------
    x : array, SpikeTimes or Events
        Input with axes (batch, neurons, time) in the given `layout`: float32, float64, or
        booleans and integers, which count as currents of that size.
    network : Network or path, optional
        A network, or the file of a saved one. Without it `x` is the input current of one layer of
        neurons, each with tau = 10 ms, dt = 1 ms and threshold 1, current scaled by 1 - beta.
    backend : {"numpy", "numba", "torch", "cupy"}, optional
        Move `x` and the network there and compute; the result stays there. Without it everything
        is computed where `x` is, in any Array API library, and nothing is moved.
    device : optional
        A device of that backend, such as ``"cuda:1"``; only with `backend`.
    layout : {"bnt", "btn", "tbn"}
        Order of the axes of a dense `x`: b is the batch, n the neurons, t the time.
    method : {"block", "fft"}
        How hidden layers compute the potential, see `decay`. ``backend="numba"`` has a way of its
        own and refuses "fft".
    return_potential : bool
        Whether every layer's potential at every step is returned.
    check_finite : bool
        Whether NaN and infinity in the input or the parameters raise an error. They persist in
        the potential, so that a look at its last step finds them. Switched off, such input gives
        meaningless spikes.
    batch_size : int, optional
        Compute this many samples at a time, for data sets that do not fit at once.
    progress : bool
        Whether to show a progress bar over these batches (needs tqdm).

    Returns
    -------
    Result

    Raises
    ------
    ValueError
        For a shape, layout, option or value that does not fit.
    TypeError
        For half precision, for something that is no array, or for `x` and `network` in different
        libraries without a `backend`.

    Notes
    -----
    A network computes in its own dtype, to which `x` is converted.

    Examples
    --------
    >>> import numpy as np
    >>> forward(np.full((1, 2, 4), 8.0)).spike_times
    (array([[1, 1]], dtype=int32),)
    """
    if device is not None and backend is None:
        raise ValueError(f"device={device!r} needs backend=...: without one nothing is moved")
    check_option("layout", layout, Layout)
    check_option("method", method, Method)
    if batch_size is not None and not (isinstance(batch_size, int) and batch_size >= 1):
        raise ValueError(f"batch_size must be a whole number of at least 1, got {batch_size!r}")
    x = _in_layout(x, layout)
    run = _Run(x, network, backend, device, method, return_potential, check_finite)
    size = batch_size or max(_length(x), 1)
    # What NumPy would warn of is looked for below, in every library, and raised.
    with np.errstate(invalid="ignore", over="ignore") if check_finite else nullcontext():
        parts = [run(part) for part in _batches(x, size, progress)]
    return parts[0] if len(parts) == 1 else _joined(parts)


class _Run:
    """The choices of one call of `forward`, made once and applied to every batch."""

    def __init__(
        self,
        x: Any,
        network: Any,
        backend: str | None,
        device: Any,
        method: str,
        return_potential: bool,
        check: bool,
    ) -> None:
        self.engine: ModuleType = _layer
        self.move = None
        self.options = {"return_potential": return_potential}
        self.check = check
        if isinstance(network, (str, os.PathLike)):
            network = Network.load(network)
            if backend is None:  # read from disk: put where x is, since it was nowhere yet
                network = _beside(network, x)
        if network is not None and not isinstance(network, Network):
            raise TypeError(
                f"network must be a fastsnn_np.Network or a path, got {type(network).__name__}"
            )
        if backend is not None:
            module = backends.get(backend)
            self.move = lambda array: module.asarray(array, device)
            network = None if network is None else network.to(backend, device)
            self.engine = module if hasattr(module, "layer") else _layer
        self.hidden_options: dict[str, Any] = {}
        if "method" in inspect.signature(self.engine.layer).parameters:
            self.hidden_options["method"] = method
        elif method != "block":
            raise ValueError(f"method={method!r} is for the dense core; {backend} has its own")
        self.network = network

    def __call__(self, x: Any) -> Result:
        x = self._dense(x)
        return self._single(x) if self.network is None else self._network(x, self.network)

    def _dense(self, x: Any) -> Array:
        """The batch as a dense array of the working dtype, on the device that computes."""
        if isinstance(x, SpikeTimes) and self.move is not None:
            x = SpikeTimes(self.move(x.times), x.n_steps)
        if isinstance(x, Events):
            like = np.empty(0, np.float32)
            like = like if self.move is None else self.move(like)
            dtype = None if self.network is None else self.network.dtype
            self._same_place(like)
            x = x.to_dense(like, dtype)
        elif isinstance(x, SpikeTimes):
            self._same_place(x.times)
            x = x.to_dense(None if self.network is None else self.network.dtype)
        elif self.move is not None:
            x = self.move(x)
        self._same_place(x)
        xp = namespace(x=x)
        dtype = float_dtype(xp, x=x)
        return as_dtype(xp, x, dtype if self.network is None else self.network.dtype)

    def _same_place(self, x: Array) -> None:
        if self.network is None:
            return
        try:
            namespace(x=x, network=self.network.readout.weight)
        except (TypeError, ValueError) as error:
            raise type(error)(
                f"{error}. network.to(...) gives the network on another backend"
            ) from None

    def _single(self, x: Array) -> Result:
        out = self.engine.layer(
            x, beta=beta_from_tau(TAU_HIDDEN), **self.options, **self.hidden_options
        )
        self._finite(x, out.final_potential, "the layer")
        potentials = None if out.potential is None else (out.potential,)
        counts = (_count(out.times, x.shape[-1]),)
        return Result((out.times,), counts, None, None, potentials, int(x.shape[-1]))

    def _network(self, x: Array, network: Network) -> Result:
        xp = namespace(x=x)
        steps = int(x.shape[-1])
        if x.shape[-2] != network.sizes[0]:
            raise ValueError(
                f"x has {x.shape[-2]} neurons, shape {tuple(x.shape)} as (batch, neurons, time), "
                f"and the network expects {network.sizes[0]}"
            )
        times, counts, potentials = [], [], []
        spikes = x
        for i, layer in enumerate(network.layers):
            out = self.engine.layer(
                spikes,
                layer.weight,
                layer.bias,
                beta=layer.beta,
                threshold=layer.threshold,
                input_scale=layer.input_scale,
                **self.options,
                **self.hidden_options,
            )
            self._finite(x, out.final_potential, f"layer {i}")
            times.append(out.times)
            counts.append(_count(out.times, steps))
            potentials.append(out.potential)
            spikes = SpikeTimes(out.times, steps).to_dense(network.dtype)
        last = network.readout
        read = self.engine.readout(
            spikes,
            last.weight,
            last.bias,
            beta=last.beta,
            kind=last.kind,
            input_scale=last.input_scale,
            **self.options,
        )
        self._finite(x, read.final_potential, "the readout")
        potentials.append(read.potential)
        return Result(
            tuple(times),
            tuple(counts),
            read.logits,
            xp.argmax(read.logits, axis=-1),
            tuple(potentials) if self.options["return_potential"] else None,
            steps,
        )

    def _finite(self, x: Array, final: Array, where: str) -> None:
        """Raise if a NaN or an infinity came in, and say where: x, a parameter, or an overflow."""
        if not self.check:
            return
        xp = namespace(final=final)
        if bool(xp.all(xp.isfinite(final))):
            return
        check_finite("x, as (batch, neurons, time),", x)
        if self.network is not None:
            for i, part in enumerate((*self.network.layers, self.network.readout)):
                name = "the readout" if part is self.network.readout else f"layer {i}"
                for array in ("weight", "bias", "beta"):
                    if getattr(part, array) is not None:
                        check_finite(f"{array} of {name}", getattr(part, array))
        raise ValueError(f"the potential of {where} overflows {final.dtype}")


def _in_layout(x: Any, layout: str) -> Any:
    if isinstance(x, (SpikeTimes, Events)):
        if layout != "bnt":
            raise ValueError(f"layout={layout!r} is for dense arrays, x is {type(x).__name__}")
        return x
    xp = namespace(x=x)
    if x.ndim != 3:
        raise ValueError(
            f"x has shape {tuple(x.shape)}, layout {layout!r} expects {_AXES[layout]}"
            + ("; add a batch axis with x[None]" if x.ndim == 2 and layout != "tbn" else "")
        )
    x = xp.permute_dims(x, _ORDER[layout]) if layout in _ORDER else x
    if x.shape[-1] == 0 or x.shape[-2] == 0:
        raise ValueError(
            f"x has {x.shape[-2]} neurons and {x.shape[-1]} steps in layout {layout!r}, "
            f"{_AXES[layout]}: at least one of each is needed"
        )
    return x


def _beside(network: Network, x: Any) -> Network:
    """A network of NumPy arrays moved to the library and device of x."""
    like = x.times if isinstance(x, SpikeTimes) else x
    if not is_array(like):
        return network
    xp = namespace(x=like)
    name = library_name(xp)
    if name == "numpy":
        return network
    if name in backends.CAPABILITIES:
        return network.to(name, device_of(like))
    return network._mapped(lambda a: xp.asarray(a, device=device_of(like)))


def _length(x: Any) -> int:
    return len(x) if isinstance(x, (SpikeTimes, Events)) else int(x.shape[0])


def _batches(x: Any, size: int, progress: bool) -> Iterator[Any]:
    count = _length(x)
    starts: Any = range(0, count, size) if count else [0]
    if progress:
        try:
            from tqdm import tqdm
        except ImportError as error:
            raise ImportError(f"progress=True needs tqdm ({error}): pip install tqdm") from error
        starts = tqdm(starts, unit="batch")
    for start in starts:
        yield x if size >= count else x[start : start + size]


def _count(times: Array, steps: int) -> Array:
    xp = namespace(times=times)
    return xp.sum(xp.astype(times < steps, xp.int32), axis=-1, dtype=xp.int32)


def _joined(parts: list[Result]) -> Result:
    """The results of several batches as one."""

    def join(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        if values[0] is None:
            return None
        if isinstance(values[0], tuple):
            return tuple(_concat(layer) for layer in zip(*values, strict=True))
        return _concat(values)

    names = ("spike_times", "spike_counts", "logits", "prediction", "potentials")
    return replace(parts[0], **{name: join(name) for name in names})


def _concat(arrays: Any) -> Array:
    xp = namespace(first=arrays[0])
    return xp.concat(list(arrays), axis=0)
