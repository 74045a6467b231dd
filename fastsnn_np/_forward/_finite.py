"""Where a NaN or an infinity in a potential came from."""

from __future__ import annotations

from typing import Any

from .._checks import check_finite
from .._namespace import Array, is_array
from .._parts import arrays_of
from ..network import Network
from ..spikes import Events
from ._results import State


def error_of_potential(
    x: Any, network: Network | None, state: State | None, potential: Array, where: str
) -> ValueError:
    """The error for a `potential` of layer `where` that is not finite.

    The input, a parameter or an array of the state is named if it holds a NaN or an infinity. If
    none does, the potential has overflown.
    """
    named: dict[str, Any] = {"x, as (batch, neurons, time),": x} if is_array(x) else {}
    if isinstance(x, Events):
        named["x.values, by event,"] = x.values
    if network is not None:
        for i, part in enumerate((*network.layers, network.readout)):
            name = "the readout" if part is network.readout else f"layer {i}"
            named |= {f"{field} of {name}": array for field, array in arrays_of(part).items()}
    if state is not None:
        for field in ("potentials", "adaptation", "delayed"):
            held = enumerate(getattr(state, field))
            named |= {f"state.{field}[{i}]": array for i, array in held}
        named["state.logits"] = state.logits
    for name, array in named.items():
        if array is not None:
            try:
                check_finite(name, array)
            except ValueError as error:
                return error
    return ValueError(f"the potential of {where} overflows {potential.dtype}")
