"""Random layers for the tests: drawn once in NumPy, rounded once, the same for every library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

import fastsnn_np as fs
from fastsnn_np import backends, reference
from fastsnn_np._engine import LayerOptions, ReadoutOptions

SCALES = ("normalised", "unit")
#: every backend by name, for the fixture `backend`, which skips what cannot be used here
NAMED = [pytest.param(name, marks=pytest.mark.backend(name)) for name in backends.CAPABILITIES]


@dataclass(frozen=True)
class Case:
    """A layer and its input, in NumPy at the dtype under test."""

    x: Any
    weight: Any
    bias: Any
    beta: Any
    initial: Any
    input_scale: str

    @property
    def dtype(self) -> Any:
        return self.weight.dtype

    def reference(self) -> Any:
        """The judge: float64, from the same rounded numbers, with the potential."""
        wide = [a.astype(np.float64) for a in (self.x, self.weight, self.bias)]
        return reference.layer(
            *wide,
            beta=self.beta.astype(np.float64),
            initial_potential=self.initial.astype(np.float64),
            input_scale=self.input_scale,
            return_potential=True,
        )

    def scale(self) -> Any:
        """What rounding errors are proportional to where currents cancel."""
        wide = [np.abs(a.astype(np.float64)) for a in (self.x, self.weight, self.bias)]
        return reference.layer(
            *wide,
            beta=self.beta.astype(np.float64),
            initial_potential=np.abs(self.initial.astype(np.float64)),
            input_scale=self.input_scale,
            return_potential=True,
        ).potential.max(-1)


def make(
    seed: int,
    *,
    dtype: Any = np.float32,
    batch: int = 4,
    inputs: int = 12,
    neurons: int = 9,
    steps: int = 50,
    beta: tuple[float, float] = (0.01, 0.999),
    input_scale: str = "normalised",
    density: float = 0.2,
) -> Case:
    rng = np.random.default_rng(seed)
    betas = rng.uniform(*beta, neurons)
    # Weights large enough for potentials around the threshold at any beta and scale.
    size = 4 if input_scale == "normalised" else 4 * (1 - betas)[:, None]
    arrays = (
        rng.random((batch, inputs, steps)) < density,
        size * rng.standard_normal((neurons, inputs)),
        0.3 * rng.standard_normal(neurons),
        betas,
        0.5 * rng.standard_normal((batch, neurons)),
    )
    return Case(*(a.astype(dtype) for a in arrays), input_scale)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """T from 1 to 300, beta from 0.01 to 0.999, both scales and dtypes, any density."""
    return make(
        draw(st.integers(0, 2**32 - 1)),
        dtype=draw(st.sampled_from([np.float32, np.float64])),
        batch=draw(st.integers(1, 4)),
        inputs=draw(st.integers(1, 12)),
        neurons=draw(st.integers(1, 16)),
        steps=draw(st.integers(1, 300)),
        beta=draw(st.sampled_from([(0.01, 0.1), (0.5, 0.9), (0.99, 0.999), (0.01, 0.999)])),
        input_scale=draw(st.sampled_from(SCALES)),
        density=draw(st.sampled_from([0.0, 0.02, 0.3, 1.0])),
    )


def on_events(part: fs.Layer | fs.Readout) -> Any:
    """A layer or readout made ready by the event engine."""
    from fastsnn_np.backends.event.engine import EventEngine

    engine = EventEngine(backends.get("numpy"))
    if isinstance(part, fs.Layer):
        options = LayerOptions(part.beta, part.threshold, part.input_scale)
        return engine.layer(part.weight, part.bias, options, method="block")
    return engine.readout(
        part.weight, part.bias, ReadoutOptions(part.beta, part.kind, part.input_scale)
    )
