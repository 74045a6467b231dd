"""The CUDA kernels, compiled as C++, against the event engine of the CPU.

Threads of a grid run in a random order. A GPU's bits are compared with these by `nox -s gpu`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cuda_emulator
import cuda_networks as networks
import numpy as np
import pytest
from cuda_emulator import Emulator

import fastsnn_np as fs
from fastsnn_np import agreement
from fastsnn_np.backends import _cuda as cuda
from fastsnn_np.backends.event import layers
from fastsnn_np.backends.event.cuda_engine import CudaDense, CudaEvents

pytestmark = [
    pytest.mark.backend("cupy"),
    pytest.mark.skipif(cuda_emulator.missing() is not None, reason=f"{cuda_emulator.missing()}"),
]
DTYPES = ["float32", "float64"]
NETWORKS = 150  # of each dtype
KINDS = ("potential", "logits", "weight", "bias", "beta", "current")
#: Relative to the largest value: some hundred terms in another order. Those of the bias and of
#: beta cancel, and the CPU engine adds them in float32 where the kernels add in double.
TOLERANCE = {
    "float32": {**dict.fromkeys(KINDS, 2e-6), "bias": 2e-5, "beta": 2e-4},
    "float64": dict.fromkeys(KINDS, 1e-12),
}


@pytest.fixture(scope="module")
def emulators():
    source = cuda.SOURCE.read_text()
    return {dtype: Emulator(source, dtype) for dtype in DTYPES}


def within(worst, dtype):
    return all(worst[kind] <= TOLERANCE[dtype][kind] for kind in KINDS)


def relative(ours, theirs):
    return float(np.abs(ours - theirs).max(initial=0) / (np.abs(theirs).max(initial=0) or 1))


def laid_out(part, dtype=None, sizes=lambda a: a):
    dtype = part.weight.dtype if dtype is None else dtype
    weight, bias, beta = (a.astype(dtype) for a in (part.weight, part.bias, part.beta))
    return layers.weights_of(sizes(weight), sizes(bias), beta, part.input_scale)


def judged(drawn, times):
    """The spike times against a float64 run of the CPU engine on the same rounded numbers."""
    wide, part = np.float64, drawn.layer
    rows = layers.rows_of(drawn.x, wide)
    shape = (len(drawn.x), drawn.x.n_steps, part.n_neurons)
    initial = None if drawn.initial is None else drawn.initial.astype(wide)

    def potential(rows, weights, initial):
        keep = np.empty(shape, wide)
        layers.layer(rows, weights, threshold=np.inf, initial=initial, keep=keep)
        return keep.transpose(0, 2, 1)

    largest = potential(
        rows._replace(values=np.abs(rows.values)),
        laid_out(part, wide, np.abs),
        None if initial is None else np.abs(initial),
    ).max(-1)
    return agreement.spike_times(
        times,
        potential(rows, laid_out(part, wide), initial),
        dtype=drawn.dtype,
        threshold=part.threshold,
        scale=largest,
    )


def compared(seed, dtype, emulator):
    """Agreement of the spike times, and the relative differences of everything else."""
    drawn, kernels = networks.draw(seed, dtype), networks.kernels_of(emulator, seed % 3 and seed)
    out, read = networks.forward(drawn, kernels)
    found = judged(drawn, out.times)
    dense, dense_read = networks.forward(drawn, kernels, CudaDense)
    found += judged(drawn, dense.times)
    # from here on the CPU engine's own spikes and potentials, so that one near-tie changes nothing
    dtype, steps, summed = drawn.dtype, drawn.x.n_steps, drawn.readout.kind == "sum"
    rows, weights, last = (
        layers.rows_of(drawn.x, dtype),
        *map(laid_out, (drawn.layer, drawn.readout)),
    )
    batch = len(drawn.x)
    kept = np.empty((batch, steps, drawn.layer.n_neurons), dtype)
    cpu = layers.layer(
        rows, weights, threshold=drawn.layer.threshold, initial=drawn.initial, keep=kept
    )
    between = layers.rows_of_times(cpu.times, steps, dtype)
    read_kept = np.empty((batch, steps, drawn.readout.n_neurons), dtype)
    cpu_read = layers.readout(between, last, summed=summed, keep=read_kept)
    worst = {"potential": relative(networks.time_first(out.potential), kept)}
    worst["potential"] = max(worst["potential"], relative(dense.potential, out.potential))
    if (out.times == cpu.times).all():
        worst["logits"] = relative(read.logits, cpu_read.logits)
    if (dense.times == cpu.times).all():
        worst["logits"] = max(worst.get("logits", 0), relative(dense_read.logits, cpu_read.logits))
    theirs = [
        layers.readout_backward(between, last, cpu_read, drawn.dlogits, summed=summed),
    ]
    theirs.append(
        layers.layer_backward(
            rows,
            weights,
            cpu,
            theirs[0].current,
            np.ascontiguousarray(drawn.readout.weight),
            threshold=drawn.layer.threshold,
            slope=10.0,
            paper=drawn.paper,
            initial=drawn.initial,
            keep_current=True,
            dropout=drawn.passes,
            activity=drawn.activity and tuple(drawn.activity),
        )
    )
    ours = networks.backward(drawn, kernels, cpu.times, kept, cpu_read.where, read_kept)
    for a, b in zip(ours, theirs, strict=True):
        for kind in KINDS[2:]:
            differs = relative(getattr(a, kind), getattr(b, kind))
            worst[kind] = max(worst.get(kind, 0), differs)
    return found, worst


def pooled(dtype, emulator, seeds):
    found, worst = agreement.Agreement(0, 0, 0), dict.fromkeys(KINDS, 0.0)
    for seed in seeds:
        one, differences = compared(seed, dtype, emulator)
        found += one
        worst = {kind: max(worst[kind], differences.get(kind, 0)) for kind in KINDS}
    return found, worst


@pytest.mark.parametrize("dtype", DTYPES)
def test_random_networks(dtype, emulators):
    """Spike times exactly outside the bound; potentials, logits and gradients to rounding."""
    found, worst = pooled(dtype, emulators[dtype], range(NETWORKS))
    sys.stdout.write(f"{dtype}: {found} spike times; worst differences {worst}\n")  # pytest -rP
    assert found.neurons > 10_000 and found.ok, found
    assert within(worst, dtype), worst


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_order_of_threads_changes_no_bit(dtype, emulators):
    for seed in range(6):
        drawn = networks.draw(seed, dtype)
        runs = [
            networks.forward(drawn, networks.kernels_of(emulators[dtype], order))
            for order in (0, 1, 2)
        ]
        for run in runs[1:]:
            for a, b in zip(run, runs[0], strict=True):
                for one, other in zip(a, b, strict=True):
                    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", DTYPES)
def test_parameters_as_the_compiler_reads_them(dtype, emulators):
    """The binding converts by the source's text; the emulator asks the compiler."""
    names = {"int": "int32", "wide": "int64", "REAL": dtype, "double": "float64"}
    names["unsigned char"] = "uint8"
    read = emulators[dtype].parameters
    assert list(cuda.parameters()) == list(read) and len(read) == 9
    for name, kinds in cuda.parameters().items():
        plain = [(k.removeprefix("const ").rstrip("*"), "*" in k) for k in kinds]
        assert [(np.dtype(names[k]), star) for k, star in plain] == read[name], name


def ties(emulator):
    """V exactly on the threshold, tied maxima, and NaN."""
    kernels = networks.kernels_of(emulator)
    real = emulator.real

    def part(which, weight, bias, **more):
        arrays = {"weight": np.array([[weight]], real), "bias": np.array([bias], real)}
        return which(**arrays, beta=np.array([0.5], real), **more)

    def run(layer, readout, times, values=None):
        x = fs.Events.from_arrays(
            times, [0] * len(times), n_neurons=1, n_steps=3, n_samples=1, values=values
        )
        drawn = networks.Drawn(layer, readout, x, None, None, None, None, False)
        return networks.forward(drawn, kernels)

    silent = part(fs.Layer, 0.0, 0.0)
    out, _ = run(part(fs.Layer, 1.0, 0.0), part(fs.Readout, 0.0, 0.0), [0, 1])
    assert out.potential[0, 0].tolist() == [1.0, 1.5, 0.75]
    assert out.times.tolist() == [[1]]  # V == theta does not fire
    # a readout held at 1 by its bias and a spike at 0: all steps tie, and the first is taken
    fires = part(fs.Layer, 5.0, 0.0)
    _, read = run(fires, part(fs.Readout, 0.5, 0.5, kind="max"), [0])
    assert read.potential[0, 0].tolist() == [1.0, 1.0, 1.0] and read.logits.tolist() == [[1.0]]
    where = np.full((1, 1), 7, np.int32)
    readout_of_ones(kernels, real, where)
    assert where.tolist() == [[0]]
    nan = fs.Events.unchecked(
        np.array([[0, 0, 1, 1]]), np.zeros(1, np.int32), 1, np.array([np.nan], real)
    )
    drawn = networks.Drawn(part(fs.Layer, 1.0, 0.0), part(fs.Readout, 1.0, 0.0), nan, *[None] * 5)
    out, _ = networks.forward(drawn, kernels)
    assert np.isnan(out.final_potential).all() and out.times.tolist() == [[3]]
    lost = np.array([[0, 0, 3, 3]])
    logits = np.zeros((1, 1), real)
    readout_of_ones(kernels, real, where, weight=np.nan, logits=logits, indptr=lost)
    assert np.isnan(logits).all()
    _, read = run(silent, part(fs.Readout, 1.0, 0.0), [0])
    assert read.logits.tolist() == [[0.0]]


def readout_of_ones(kernels, real, where, *, weight=0.5, logits=None, indptr=None):
    """One class held at 1 by its bias, from a spike at step 0 on."""
    one = np.full(1, 0.5, real)
    rows = (np.array([[0, 1, 1, 1]]) if indptr is None else indptr, np.zeros(3, np.int32), None)
    neurons = (np.full((1, 1), weight, real), one, one, np.ones(1, real), None)
    logits = np.empty((1, 1), real) if logits is None else logits
    kernels(
        "readout_events", 1, 1, *rows, *neurons, 1e-30, 3, 1, False, logits, where, logits + 0, None
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_ties_and_nan(dtype, emulators):
    ties(emulators[dtype])


def early(emulator):
    """Without a potential asked for, neurons stop at their spike: the same spikes, less work."""
    for seed in range(12):
        drawn = networks.draw(seed, emulator.real)
        part, engine = drawn.layer, CudaEvents(networks.backend_of(networks.kernels_of(emulator)))
        options = networks.LayerOptions(part.beta, part.threshold, part.input_scale)
        run = engine.layer(part.weight, part.bias, options, method="block")
        full = run(drawn.x, initial_potential=drawn.initial, to_the_end=True)
        short = run(drawn.x, initial_potential=drawn.initial)
        np.testing.assert_array_equal(short.times, full.times)
        silent = full.times == drawn.x.n_steps
        np.testing.assert_array_equal(short.final_potential[silent], full.final_potential[silent])
        assert (short.final_potential[~silent] > part.threshold).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_neuron_may_stop_at_its_spike(dtype, emulators):
    early(emulators[dtype])


def test_sanitizers(tmp_path):
    """Every kernel on 40 random networks under AddressSanitizer and UBSan."""
    found = subprocess.run(
        ["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    )
    env = {
        **os.environ,
        "LD_PRELOAD": found.stdout.strip(),
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONPATH": os.pathsep.join(
            [str(Path(fs.__file__).parents[1]), str(Path(__file__).parent)]
        ),
    }
    script = Path(__file__).with_name("cuda_networks.py")
    done = subprocess.run(
        [sys.executable, str(script), "1000", "20"],
        capture_output=True,
        text=True,
        env=env,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == "40 networks, every kernel, nothing found\n"


#: what goes wrong: what is written, and what is written instead
FIRES = "if (v > threshold && fired == steps) fired = t;  // eq. 3 and 6"
SWEEP = "Sweep sweep = {beta[i], scale[i], unit};\n    bool through"
MUTATIONS = {
    "V == theta fires": (FIRES, FIRES.replace(">", ">=")),
    "the last crossing counts": (FIRES, "if (v > threshold) fired = t;"),
    "a later maximum wins a tie": ("!(v <= largest)", "!(v < largest)"),
    "a NaN is lost": ("t == 0 || !(v <= largest)", "t == 0 || v > largest"),
    "the bias counts once": ("current = own.bias;\n                end", "current = 0; end"),
    "values are ignored": ("if (values) row[k] *= values[e + k];", ""),
    "beta of another neuron": (SWEEP, SWEEP.replace("beta[i]", "beta[0]")),
    "one reverse sum, not two": ("r += once;", "r = once;"),
    "M[t] one step late": ("if (paper && t >= fired)", "if (paper && t > fired)"),
    "dropout lets all through": ("through = !passes || passes[at];", "through = true;"),
    "latency from the wrong end": ("fma(REAL(t - steps), dlatency", "fma(REAL(t), dlatency"),
    "silent inputs get a gradient": (
        "if (t < steps) sum +=",
        "if (t == steps) sum += 1; else sum +=",
    ),
    "an event is lost": ("wide e = by_input[j]; e < end", "wide e = by_input[j] + 1; e < end"),
    "dbeta without V[t-1]": ("(unit ? before : before - now)", "(unit ? now : before - now)"),
    "a dense current has no bias": (
        "own.next(v, current[t] + own.bias)",
        "own.next(v, current[t])",
    ),
}


def checked(emulator):
    ties(emulator)
    early(emulator)
    found, worst = pooled(str(emulator.real), emulator, range(24))
    assert found.different == 0 and within(worst, str(emulator.real)), worst


@pytest.mark.parametrize("what", MUTATIONS)
def test_mutations_are_caught(what):
    """Each of these mistakes makes at least one of the checks above fail."""
    before, after = MUTATIONS[what]
    source = cuda.SOURCE.read_text()
    assert source.count(before) == 1, what
    mutated = Emulator(source.replace(before, after), "float64", ("-O1",))
    with pytest.raises(AssertionError):
        checked(mutated)
