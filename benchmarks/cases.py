"""What is measured. A case sets up its contestants and says when their outputs agree."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import fastsnn_np as fs
from fastsnn_np import agreement, reference
from fastsnn_np.encoding import random_spike_trains

from .runner import Bar, Case, Duel


def decay_block_against_fft(batch: int, neurons: int, steps: int, per_neuron: bool) -> Case:
    """The default decay against scipy's FFT convolution."""

    def setup() -> Duel:
        from scipy.signal import fftconvolve

        rng = np.random.default_rng(0)
        current = rng.standard_normal((batch, neurons, steps), dtype=np.float32)
        beta = np.float32(fs.beta_from_tau(10.0))
        kernel = ((1 - beta) * beta ** np.arange(steps, dtype=np.float32))[None, None]
        betas = np.full(neurons, beta) if per_neuron else float(beta)

        def check(outputs: dict[str, Any]) -> str:
            exact = current[:8].astype(np.float64)  # enough to see the errors
            expected = reference.layer(exact, beta=beta, return_potential=True).potential
            error = {k: np.abs(v[:8] - expected).max() for k, v in outputs.items()}
            assert error["block"] <= error["fft"] <= 1e-5, error
            return f"largest error block {error['block']:.1e}, fft {error['fft']:.1e}"

        return Duel(
            {
                "fft": lambda: fftconvolve(current, kernel, axes=-1)[..., :steps],
                "block": lambda: fs.decay(current, beta=betas),
            },
            check,
        )

    kind = "per-neuron" if per_neuron else "scalar"
    return Case(
        f"decay-{batch}x{neurons}x{steps}" + ("-per-neuron" if per_neuron else ""),
        f'`decay(method="block")` against `scipy.signal.fftconvolve`, float32, {kind} beta',
        setup,
        () if per_neuron else (Bar("block", "fft", 3.0),),
        rounds=9,
    )


def dense_layer_against_its_product() -> Case:
    """The whole dense layer against its own matrix product."""

    def setup() -> Duel:
        x = random_spike_trains(128, 1000, 128, seed=0).astype(np.float32)
        rng = np.random.default_rng(1)
        weight = (0.3 * rng.standard_normal((200, 1000))).astype(np.float32)
        beta = fs.beta_from_tau(10.0)

        def check(outputs: dict[str, Any]) -> str:
            expected = reference.layer(
                x[:16].astype(np.float64),
                weight.astype(np.float64),
                beta=np.float32(beta),
                return_potential=True,
            ).potential
            rows = []
            for name in ("layer", "layer, numba"):
                times = outputs[name].times[:16]
                same = agreement.spike_times(times, expected, dtype=np.float32)
                assert same.different == 0, (name, same)
                rows.append(f"{name} {same}")
            return "; ".join(rows)

        numba = fs.backends.get("numba")
        calls: dict[str, Callable[[], Any]] = {
            "product": lambda: weight @ x,
            "layer": lambda: fs.layer(x, weight, beta=beta),
            "layer, numba": lambda: numba.layer(x, weight, beta=beta),
        }
        return Duel(calls, check)

    return Case(
        "dense-layer",
        "N_in = 1000, n = 200, T = 128, batch 128, float32: all four steps against the matrix "
        "product of step 1 alone",
        setup,
        (Bar("layer", "product", 1 / 1.5), Bar("layer, numba", "product", 1 / 1.5)),
    )


def dense_input() -> Case:
    """At which density a dense input is worth turning into events: `_DENSEST` in backends/numba."""

    def setup() -> Duel:
        numba: Any = fs.backends.get("numba")
        rng = np.random.default_rng(0)
        network = fs.Network.random([1000, 200, 10], seed=0)
        prepared = fs.prepare(network, backend="numba")
        inputs = {d: (rng.random((64, 1000, 128)) < d / 100).astype(np.float32) for d in DENSITIES}

        def run(x: Any, densest: float) -> Callable[[], Any]:
            def call() -> Any:
                usual, numba._DENSEST = numba._DENSEST, densest
                try:
                    return prepared(x).spike_times[0]
                finally:
                    numba._DENSEST = usual

            return call

        def check(outputs: dict[str, Any]) -> str:
            part = network.layers[0]
            rows = []
            for density, x in inputs.items():
                expected = reference.layer(
                    x[:8].astype(np.float64),
                    part.weight.astype(np.float64),
                    beta=part.beta,
                    input_scale=part.input_scale,
                    return_potential=True,
                ).potential
                for way in WAYS:
                    times = outputs[f"{density} %, {way}"][:8]
                    same = agreement.spike_times(times, expected, dtype=np.float32)
                    assert same.different == 0, (density, way, same)
                rows.append(f"{density} %: {same}")
            return "; ".join(rows)

        calls = {f"{d} %, {w}": run(x, v) for d, x in inputs.items() for w, v in WAYS.items()}
        return Duel(calls, check)

    return Case(
        "dense-input",
        'Dense input (64, 1000, 128) to 1000-200-10, `backend="numba"`: turned into events, or '
        "multiplied as it is, by density",
        setup,
        rounds=7,
    )


def import_time() -> Case:
    """A fresh interpreter that imports the package, against an empty one and NumPy's."""

    def setup() -> Duel:
        def start(code: str) -> Callable[[], Any]:
            return lambda: subprocess.run([sys.executable, "-c", code], check=True).returncode

        def check(outputs: dict[str, Any]) -> str:
            assert not any(outputs.values())
            return "all exit with 0"

        return Duel(
            {
                "python": start("pass"),
                "import numpy": start("import numpy"),
                "import fastsnn_np": start("import fastsnn_np"),
                "half a second": start("import time; time.sleep(0.5)"),
            },
            check,
        )

    bars = (Bar("import fastsnn_np", "half a second", 1.0),)
    return Case("import", "`import fastsnn_np` in a fresh process", setup, bars, rounds=9)


DENSITIES = (2, 5, 10, 15, 20, 30)  # %
WAYS = {"as events": 1.0, "as a product": 0.0}  # the density up to which it is taken as events
SHAPES = ((128, 200, 128), (32, 200, 2048), (128, 1000, 256))

CASES = (
    *(decay_block_against_fft(*shape, per_neuron) for shape in SHAPES for per_neuron in (0, 1)),
    dense_layer_against_its_product(),
    dense_input(),
    import_time(),
)
