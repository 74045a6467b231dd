"""Cases of the dense core: `decay`, a dense layer, a dense input's density, and the import."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import fastsnn_np as fs
from fastsnn_np import agreement, reference
from fastsnn_np.encoding import random_spike_trains

from ...harness.contest import Bar, Call, Contest
from ..internals import dense_input_by, fused_layer
from .case import Case

# In float32 a rounding is 6e-8. A sum over the steps has at most some 170 terms that count, as
# 0.9^170 is below a rounding; they are under 1 in size.
DECAY_ERROR = 1e-5


def decay_block_against_fft(batch: int, neurons: int, steps: int, per_neuron: bool) -> Case:
    """The default decay against scipy's FFT convolution."""

    def setup(names: Sequence[str]) -> Contest:
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
            assert all(value <= DECAY_ERROR for value in error.values()), error
            return "largest error " + ", ".join(f"{k} {v:.1e}" for k, v in error.items())

        return Contest(
            {
                "fft": Call(lambda: fftconvolve(current, kernel, axes=-1)[..., :steps]),
                "block": Call(lambda: fs.decay(current, beta=betas)),
            },
            check,
        )

    kind = "per-neuron" if per_neuron else "scalar"
    return Case(
        f"decay-{batch}x{neurons}x{steps}" + ("-per-neuron" if per_neuron else ""),
        f'`decay(method="block")` against `scipy.signal.fftconvolve`, float32, {kind} beta',
        ("fft", "block"),
        setup,
        () if per_neuron else (Bar("block", "fft", 3.0),),
        ("block",),
        rounds=9,
    )


def dense_layer_against_its_product() -> Case:
    """The whole dense layer against its own matrix product."""

    def setup(names: Sequence[str]) -> Contest:
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
                same = agreement.spike_times(outputs[name][:16], expected, dtype=np.float32)
                assert same.different == 0, (name, same)
                rows.append(f"{name} {same}")
            return "; ".join(rows)

        def times(layer: Callable[..., Any]) -> Call:
            return Call(lambda: layer(x, weight, beta=beta), lambda kept: kept.times)

        layers = {"layer": times(fs.layer), "layer, numba": times(fused_layer)}
        product = Call(lambda: weight @ x, lambda kept: None)
        return Contest({"product": product, **layers}, check)

    return Case(
        "dense-layer",
        "N_in = 1000, n = 200, T = 128, batch 128, float32: all four steps against the matrix "
        "product of step 1 alone",
        ("product", "layer", "layer, numba"),
        setup,
        (Bar("layer", "product", 1 / 1.5), Bar("layer, numba", "product", 1 / 1.5)),
        ("layer", "layer, numba"),
    )


def dense_input() -> Case:
    """At which density dense input is worth turning into events: `Backend.densest_events`."""

    def setup(names: Sequence[str]) -> Contest:
        rng = np.random.default_rng(0)
        network = fs.Network.random([1000, 200, 10], seed=0)
        inputs = {d: (rng.random((64, 1000, 128)) < d / 100).astype(np.float32) for d in DENSITIES}

        def run(x: Any, engine: str) -> Callable[[], Any]:
            prepared = dense_input_by(network, engine)
            return lambda: prepared(x).spike_times[0]

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

        calls = {f"{d} %, {w}": Call(run(x, v)) for d, x in inputs.items() for w, v in WAYS.items()}
        return Contest(calls, check)

    names = tuple(f"{density} %, {way}" for density in DENSITIES for way in WAYS)
    return Case(
        "dense-input",
        'Dense input (64, 1000, 128) to 1000-200-10, `backend="numba"`: turned into events, or '
        "multiplied as it is, by density",
        names,
        setup,
        ours=names,
        rounds=7,
    )


def import_time() -> Case:
    """A fresh interpreter that imports the package, against an empty one and NumPy's."""

    def setup(names: Sequence[str]) -> Contest:
        def start(code: str) -> Call:
            return Call(lambda: subprocess.run([sys.executable, "-c", code], check=True).returncode)

        def check(outputs: dict[str, Any]) -> str:
            assert not any(outputs.values())
            return "all exit with 0"

        return Contest({name: start(code) for name, code in codes.items()}, check)

    codes = {
        "python": "pass",
        "import numpy": "import numpy",
        "import fastsnn_np": "import fastsnn_np",
        "half a second": "import time; time.sleep(0.5)",
    }
    bar = Bar("import fastsnn_np", "half a second", 1.0)
    about = "`import fastsnn_np` in a fresh process"
    return Case("import", about, tuple(codes), setup, (bar,), (bar.faster,), rounds=9)


DENSITIES = (2, 5, 10, 15, 20, 30)  # %
WAYS = {"as events": "event", "as a product": "dense"}  # the engine of each
SHAPES = ((128, 200, 128), (32, 200, 2048), (128, 1000, 256))

CASES = (
    *(
        decay_block_against_fft(*shape, per_neuron)
        for shape in SHAPES
        for per_neuron in (False, True)
    ),
    dense_layer_against_its_product(),
    dense_input(),
    import_time(),
)
