"""Random layers of every kind of neuron, drawn once in NumPy, and what the reference makes of them.

`layers` and `networks` are strategies for hypothesis; `judged` goes through a network layer by
layer, in float64.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

import fastsnn_np as fs
from fastsnn_np import reference
from fastsnn_np._parts import arrays_of

KINDS = [
    fs.Neuron("always", reset=reset, reset_at=at, refractory=refractory, adaptation=adaptation)
    for reset, at, refractory, adaptation in itertools.product(
        ("subtract", "zero", "none"),
        ("after decay", "before decay"),
        (0, 1, 4),
        ("none", "threshold", "current"),
    )
]
ONCE = fs.Neuron()


def layer_of(
    rng: Any,
    inputs: int,
    neurons: int,
    kind: fs.Neuron = ONCE,
    *,
    recurrent: bool = False,
    delay: int = 0,
    scale: str = "unit",
    dtype: Any = np.float64,
) -> fs.Layer:
    """A layer whose neurons fire now and then; `delay` is the longest one."""
    betas = rng.uniform(0.3, 0.95, neurons)
    gain = 1.0 if scale == "unit" else 1 / (1 - betas)[:, None]
    more: dict[str, Any] = {}
    if kind.fires == "always":
        more["threshold"] = rng.uniform(0.6, 1.2, neurons)
        if recurrent:
            more["recurrent"] = gain * rng.normal(size=(neurons, neurons)) * neurons**-0.5
    if kind.adapts:
        more |= {"rho": rng.uniform(0.3, 0.95, neurons), "b": rng.uniform(0, 0.3, neurons)}
    if kind.adaptation == "current":
        more["a"] = rng.uniform(0, 0.2, neurons)
    if delay:
        more["delay"] = rng.integers(0, delay + 1, inputs)
    weight = gain * (rng.normal(size=(neurons, inputs)) * 1.5 * inputs**-0.5 + 0.1)
    arrays = {name: a if name == "delay" else a.astype(dtype) for name, a in more.items()}
    return fs.Layer(
        weight.astype(dtype),
        (0.1 * rng.normal(size=neurons)).astype(dtype),
        betas.astype(dtype),
        scale,
        neuron=kind,
        **arrays,
    )


def network_of(
    rng: Any,
    kinds: Any,
    *,
    readout: str = "sum",
    dtype: Any = np.float64,
    sizes: Any = (12, 20, 9, 17, 3),
    **options: Any,
) -> fs.Network:
    """A network with a hidden layer of each of these kinds; recurrent where that is possible."""
    hidden = [
        layer_of(rng, sizes[i], sizes[i + 1], kind, dtype=dtype, **options)
        for i, kind in enumerate(kinds)
    ]
    last = fs.Readout(
        rng.normal(size=(sizes[-1], sizes[len(kinds)])).astype(dtype),
        rng.normal(size=sizes[-1]).astype(dtype),
        rng.uniform(0.5, 0.95, sizes[-1]).astype(dtype),
        kind=readout,
        gamma=0.97 if readout == "weighted" else None,
    )
    return fs.Network(hidden, last)


def train_of(
    rng: Any, batch: int, inputs: int, steps: int, density: float = 0.3, *, valued: bool = False
) -> Any:
    """Random input, of spikes or of numbers other than 1."""
    x = rng.random((batch, inputs, steps)) < density
    return x * rng.normal(1.0, 0.3, x.shape) if valued else x


def wide(part: Any) -> Any:
    """The same numbers in float64."""
    return replace(part, **{name: a.astype(np.float64) for name, a in arrays_of(part).items()})


def judged(network: fs.Network, x: Any) -> tuple[list[reference.SpikingOutput], Any]:
    """What the reference gives for each hidden layer, and the logits."""
    found = []
    for layer in network.layers:
        found.append(reference.spiking_layer(x, wide(layer)))
        x = found[-1].spikes.astype(np.float64)
    last = wide(network.readout)
    logits = reference.readout(
        x,
        last.weight,
        last.bias,
        beta=last.beta,
        input_scale=last.input_scale,
        kind=last.kind,
        gamma=last.gamma,
    ).logits
    return found, logits


@st.composite
def networks(draw: st.DrawFn, dtype: Any = np.float64) -> tuple[fs.Network, Any]:
    """A network of one to three hidden layers of any kinds, and a dense input of it."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    steps = draw(st.sampled_from([1, 2, 7, 30, 61]))
    kinds = draw(
        st.lists(st.sampled_from([*KINDS, ONCE, long_after(steps)]), min_size=1, max_size=3)
    )
    network = network_of(
        rng,
        kinds,
        readout=draw(st.sampled_from(["sum", "max", "weighted"])),
        dtype=dtype,
        recurrent=draw(st.booleans()),
        delay=draw(st.sampled_from([0, 0, 3, 100])),
        scale=draw(st.sampled_from(["unit", "normalised"])),
    )
    return network, train_of(rng, draw(st.integers(1, 4)), 12, steps, valued=draw(st.booleans()))


def long_after(steps: int) -> fs.Neuron:
    """A refractory period longer than the recording."""
    return fs.Neuron("always", refractory=steps + 5)
