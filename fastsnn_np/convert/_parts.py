"""What every reader and writer needs: time constants by either rule, and parts of a network."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from .._namespace import to_numpy
from ..network import Layer, Network, Readout

Rule = Literal["exact", "euler"]
Dialect = Literal["nir", "snntorch", "norse"]

#: how each library turns tau into beta
RULES: dict[str, Rule] = {"nir": "exact", "snntorch": "euler", "norse": "euler"}
SNNTORCH_DT = 0.1  # ms; snnTorch's NIR modules know no other step


def check_single_spike(network: Network, what: str) -> None:
    """Refuse a network that `what` would be another one in."""
    if not network.single_spike:
        raise ValueError(
            f"{what} holds neurons that fire once, without delays, and readouts by the sum or the "
            "maximum; network.save keeps all others"
        )


def tau_of(beta: Any, dt: float, rule: Rule) -> Any:
    """Time constants in ms of decays per step of `dt` ms, in float64."""
    beta = np.asarray(beta, np.float64)
    return dt / (1 - beta) if rule == "euler" else -dt / np.log(beta)


def beta_of(tau: Any, dt: float, rule: Rule) -> Any:
    """Decays per step of `dt` ms of time constants in ms, in float64."""
    tau = np.asarray(tau, np.float64)
    return 1 - dt / tau if rule == "euler" else np.exp(-dt / tau)


def gain_of(part: Layer | Readout) -> Any:
    """What a part multiplies its current by, one float64 number per neuron."""
    beta = to_numpy(part.beta).astype(np.float64)
    return np.ones_like(beta) if part.input_scale == "unit" else 1 - beta


def weights_of(part: Layer | Readout) -> tuple[Any, Any]:
    """Weight and bias of a part as NumPy arrays; the bias is 0 where there is none."""
    weight = to_numpy(part.weight)
    bias = np.zeros(len(weight), weight.dtype) if part.bias is None else to_numpy(part.bias)
    return weight, bias


def scaled_to(weight: Any, bias: Any, gain: Any, beta: Any) -> dict[str, Any]:
    """Fields of a part whose current is multiplied by `gain`, one number per neuron.

    The gains of the two values of `input_scale`, 1 and 1 - beta, leave the weights as they are;
    any other goes into them.
    """
    dtype = weight.dtype
    fields = {"weight": weight, "bias": bias, "beta": beta.astype(dtype)}
    if np.allclose(gain, 1, rtol=1e-6, atol=0):
        return {**fields, "input_scale": "unit"}
    if np.allclose(gain, 1 - beta, rtol=1e-6, atol=0):
        return {**fields, "input_scale": "normalised"}
    return {
        **fields,
        "weight": (weight.astype(np.float64) * gain[:, None]).astype(dtype),
        "bias": None if bias is None else (bias.astype(np.float64) * gain).astype(dtype),
        "input_scale": "unit",
    }
