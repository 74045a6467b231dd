"""Networks of snnTorch as networks of neurons that fire once."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._checks import positive
from .._layer import ReadoutKind
from .._namespace import to_numpy
from ..network import Layer, Network, Readout
from ._parts import scaled_to


def from_snntorch(module: Any, *, dt: float = 1.0, readout: ReadoutKind = "sum") -> Network:
    """Linear layers and Leaky neurons, in turns, as a network.

    A neuron's first spike is that of snnTorch for every reset mechanism, since resets come after
    it; above the first layer as long as no neuron below fires twice, since here neurons fire once.
    The last Leaky becomes the readout: its potential is read out, and its threshold is not used.

    Parameters
    ----------
    module : torch.nn.Module
        A ``Sequential``, or a module whose layers are its attributes in the order in which they
        are used. Flatten and Dropout are passed over.
    dt : float
        Step in ms; snnTorch has betas alone.
    readout : {"sum", "max"}

    Returns
    -------
    Network
        Of NumPy arrays, with betas clamped to 0 ... 1 as snnTorch does.

    Raises
    ------
    ValueError
        If layers of other kinds are among them, they do not take turns, or a Leaky has graded
        spikes, inhibition or a quantised state.
    ImportError
        If snnTorch is not installed.

    Examples
    --------
    ::

        net = torch.nn.Sequential(
            torch.nn.Linear(784, 200), snntorch.Leaky(beta=0.9, init_hidden=True),
            torch.nn.Linear(200, 10), snntorch.Leaky(beta=0.95, init_hidden=True, output=True),
        )
        network = from_snntorch(net)
    """
    try:
        import snntorch
        from torch import nn
    except ImportError as error:
        raise ImportError(
            f"from_snntorch needs snntorch ({error}): pip install snntorch"
        ) from error
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")
    dt = positive("dt", dt, "ms")
    named = [(name, part) for name, part in module.named_modules() if not list(part.children())]
    parts = [(n, part) for n, part in named if not isinstance(part, (nn.Flatten, nn.Dropout))]
    for i, (name, part) in enumerate(parts):
        wanted = (nn.Linear, snntorch.Leaky)[i % 2]
        if type(part) is not wanted:
            raise ValueError(
                f"{name or 'module'} is a {type(part).__name__} where a {wanted.__name__} is "
                "wanted: Linear and Leaky take turns"
            )
    if not parts or len(parts) % 2:
        raise ValueError("module must end with a Leaky, whose potential is the readout")
    pairs = list(zip(parts[::2], parts[1::2], strict=True))
    layers = [_fields(linear, name, leaky) for (_, linear), (name, leaky) in pairs]
    hidden = [
        Layer(**_at_threshold(fields, name, leaky))
        for fields, (_, (name, leaky)) in zip(layers[:-1], pairs[:-1], strict=True)
    ]
    return Network(tuple(hidden), Readout(**layers[-1], kind=readout), dt)


def _fields(linear: Any, name: str, leaky: Any) -> dict[str, Any]:
    """Weights and beta of a part; snnTorch's currents are not scaled."""
    for option in ("inhibition", "state_quant"):
        if getattr(leaky, option):
            raise ValueError(f"{name} has {option}, which no network here has")
    if not bool((leaky.graded_spikes_factor == 1).all()):
        raise ValueError(f"{name} has graded spikes, and spikes here are of size 1")
    weight = _array(linear.weight)
    bias = None if linear.bias is None else _array(linear.bias)
    beta = _per_neuron(leaky.beta.clamp(0, 1), f"{name}.beta", len(weight))
    return scaled_to(weight, bias, np.ones(len(weight)), beta)


def _at_threshold(fields: dict[str, Any], name: str, leaky: Any) -> dict[str, Any]:
    """The same with the threshold: a number, or what goes into the weights where neurons differ."""
    threshold = _per_neuron(leaky.threshold, f"{name}.threshold", len(fields["weight"]))
    if not np.all(threshold > 0):
        raise ValueError(f"{name} has a threshold that is not positive")
    if np.all(threshold == threshold[0]):
        return {**fields, "threshold": float(threshold[0])}
    return scaled_to(fields["weight"], fields["bias"], 1 / threshold, fields["beta"])


def _per_neuron(value: Any, name: str, count: int) -> Any:
    value = _array(value).astype(np.float64)
    if value.size == 1:
        return np.full(count, value.reshape(()))
    if value.shape != (count,):
        raise ValueError(f"{name} must have one value per neuron, ({count},), got {value.shape}")
    return value


def _array(tensor: Any) -> Any:
    return to_numpy(tensor.detach().cpu())
