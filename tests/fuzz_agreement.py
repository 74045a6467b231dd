"""A fuzz of the agreement (docs/design.md, section 5): a million neurons per engine.

``nox -s fuzz`` runs it, ``python tests/fuzz_agreement.py --neurons 100000 event`` a part of it.
Random layers in float32 with 1 - beta down to 1e-4, up to 4,000 steps, constant and random drive,
biases and initial potentials. Spike times are held against the float64 reference, fed the same
rounded numbers, wherever its margin exceeds the bound; the last potential may be one bound away.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

import fastsnn_np as fs
from fastsnn_np import agreement, backends, reference
from fastsnn_np._engine import DENSE, LayerOptions
from fastsnn_np.agreement import Agreement

_WIDTH = 500  # neurons of a layer


@dataclass(frozen=True)
class Drawn:
    """A random layer and its input, rounded to float32."""

    x: Any
    weight: Any
    bias: Any
    beta: Any
    initial: Any
    threshold: float
    input_scale: Any

    def judge(self) -> tuple[Any, Any]:
        """The float64 reference's potential, and what rounding errors are proportional to."""
        wide = [a.astype(np.float64) for a in (self.x, self.weight, self.bias)]
        options = {"beta": self.beta.astype(np.float64), "input_scale": self.input_scale}
        initial = self.initial.astype(np.float64)
        potential = reference.layer(
            *wide, **options, initial_potential=initial, return_potential=True
        ).potential
        sizes = [np.abs(a) for a in wide]
        largest = reference.layer(
            *sizes, **options, initial_potential=np.abs(initial), return_potential=True
        ).potential.max(-1)
        return potential, largest


def draw(rng: np.random.Generator) -> Drawn:
    """A layer whose potentials end up around the threshold, below it or above it."""
    steps = round(math.exp(rng.uniform(0, math.log(4000))))
    inputs = int(rng.integers(1, 7))
    density = rng.choice([1.0, 1.0, 0.3, 0.02])  # 1: constant drive
    threshold = float(rng.choice([1.0, 1.0, 1000.0]))
    input_scale = str(rng.choice(["unit", "normalised"]))
    leak = 10 ** rng.uniform(-4, -0.3, _WIDTH)  # 1 - beta
    gain = leak if input_scale == "unit" else np.ones(_WIDTH)
    ratio = rng.choice([rng.uniform(0.3, 3), rng.normal(1, 0.01)])  # final potential / threshold
    size = threshold * gain * ratio / max(inputs * density, 1 / steps)
    spread = rng.uniform(0.5, 1.5, (_WIDTH, inputs)) * rng.choice([1, 1, 1, -1], (_WIDTH, inputs))
    arrays = (
        rng.random((1, inputs, steps)) < density,
        size[:, None] * spread,
        rng.choice([0.0, 0.1, 1.0]) * threshold * gain * rng.standard_normal(_WIDTH),
        1 - leak,
        rng.choice([0.0, 0.5]) * threshold * rng.standard_normal((1, _WIDTH)),
    )
    return Drawn(*(a.astype(np.float32) for a in arrays), threshold, input_scale)


def computed_by(engine: str, drawn: Drawn) -> Any:
    """Spike times and last potentials by one of the engines."""
    options = LayerOptions(drawn.beta, drawn.threshold, drawn.input_scale)
    parameters = drawn.weight, drawn.bias
    initial = drawn.initial
    if engine == "reference":
        return reference.layer(drawn.x, *parameters, **options._asdict(), initial_potential=initial)
    x: Any = drawn.x
    if engine == "event":
        from fastsnn_np.backends.event.engine import EventEngine

        run = EventEngine(backends.get("numpy")).layer(*parameters, options, method="block")
        x = fs.Events.from_dense(x)
    elif engine == "dense kernel":
        from fastsnn_np.backends.event.fused import FUSED

        run = FUSED.layer(*parameters, options, method="block")
    elif engine == "dense, torch":
        move = backends.get("torch").asarray
        there = LayerOptions(move(drawn.beta), drawn.threshold, drawn.input_scale)
        run = DENSE.layer(*map(move, parameters), there, method="block")
        x, initial = move(x), move(initial)
    else:
        run = DENSE.layer(*parameters, options, method="block")
    return run(x, initial_potential=initial, to_the_end=True)


ENGINES = ("reference", "dense", "dense, torch", "dense kernel", "event")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("engines", nargs="*", metavar="ENGINE", help=", ".join(ENGINES))
    parser.add_argument("--neurons", type=int, default=1_000_000, help="per engine")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    engines = arguments.engines or list(ENGINES)
    found = dict.fromkeys(engines, Agreement(0, 0, 0))
    worst = dict.fromkeys(engines, 0.0)
    rng = np.random.default_rng(arguments.seed)
    began = time.perf_counter()
    for _ in range(-(-arguments.neurons // _WIDTH)):
        drawn = draw(rng)
        potential, largest = drawn.judge()
        scale = {"dtype": np.float32, "scale": largest}
        bound = 16 * np.finfo(np.float32).eps * np.maximum(1, largest)
        for engine in engines:
            out = computed_by(engine, drawn)
            times, last = np.asarray(out.times), np.asarray(out.final_potential)
            found[engine] += agreement.spike_times(
                times, potential, threshold=drawn.threshold, **scale
            )
            worst[engine] = max(worst[engine], (abs(last - potential[..., -1]) / bound).max())
    print(f"seed {arguments.seed}, {time.perf_counter() - began:.0f} s")
    for engine, same in found.items():
        print(f"  {engine:<14} {same.neurons:>9,} neurons, {same.left_out:>6,} left out, ", end="")
        print(
            f"{same.different:>4,} differ; last potential at most {worst[engine]:.2f} bounds away"
        )
    return int(any(same.different for same in found.values()) or max(worst.values()) > 1)


if __name__ == "__main__":
    sys.exit(main())
