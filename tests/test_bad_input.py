"""Bad input is data: rows of a call, an exception and what its message must say.

The rows are in ``tests/bad_input/``, by subject. A call is Python in the namespace made here; the
pattern names what was wanted, what came and, where it is not obvious, what to do.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import shlex

import numpy as np
import pytest
from safetensors.numpy import save_file

import fastsnn_np as fs
from fastsnn_np import agreement, augment, backends, bulk, datasets, encoding, metrics, reference
from fastsnn_np.cli import main

#: what a row needs: the backend it is selected with, and modules
SUBJECTS = {
    "core": ("numpy",),
    "reference": ("numpy",),
    "network": ("numpy",),
    "forward": ("numpy",),
    "spikes": ("numpy",),
    "encoding": ("numpy",),
    "metrics": ("numpy",),
    "plot": ("numpy", "matplotlib"),
    "data": ("numpy",),
    "torch": ("torch", "torch", "lightning"),
    "fit": ("torch", "torch", "lightning"),
    "reach": ("reach", "torch", "lightning", "dask.array", "sklearn"),
    "cli": ("torch", "torch", "lightning"),
}
#: what Python, NumPy and Torch say of their own accord, which tells a user nothing
RIDDLES = re.compile(
    r"has no attribute|unsupported operand|not supported between|only integer scalar arrays"
    r"|broadcast|ufunc|is not iterable|is not subscriptable|is not callable|has no len|unsized"
    r"|could not convert|truth value|inhomogeneous|array element|out of bounds|out of range"
    r"|division by zero|unhashable|embedded null|too large to convert|os.PathLike object, not"
    r"|SeedSequence|unpack|unexpected keyword|positional argument|nopython|0x[0-9a-f]{6}"
)
CRASHES = (
    AssertionError,
    AttributeError,
    ArithmeticError,
    KeyError,
    NotImplementedError,
    RecursionError,
    StopIteration,
    SyntaxError,
)


def rows(subject):
    return importlib.import_module(f"bad_input.bad_{subject}").ROWS


def all_rows():
    for subject, (backend, *_) in SUBJECTS.items():
        for call, error, words in rows(subject):
            yield pytest.param(
                subject, call, error, words, id=call, marks=pytest.mark.backend(backend)
            )


@pytest.mark.parametrize(("subject", "call", "error", "words"), list(all_rows()))
def test_bad_input(subject, call, error, words, names):
    with pytest.raises(error) as caught:
        eval(call, names(subject))
    message = str(caught.value)
    assert re.search(words, message, re.DOTALL), message
    assert not isinstance(caught.value, CRASHES)
    assert not RIDDLES.search(message), message


def test_there_are_rows_enough_and_none_is_there_twice():
    table = [(subject, call) for subject in SUBJECTS for call, _, _ in rows(subject)]
    assert len(table) == len(set(table)) >= 300


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """The namespace of a subject's calls, made at its first row."""
    folder = tmp_path_factory.mktemp("bad_input")
    made = {}

    def of(subject):
        if subject not in made:
            for module in SUBJECTS[subject][1:]:
                pytest.importorskip(module, reason=f"{module} is not installed")
            made[subject] = {**shared(folder), **OF_SUBJECT.get(subject, dict)()}
        return made[subject]

    return of


# --- names --------------------------------------------------------------------------------------

X = fs.SpikeTimes(np.array([[0, 2, 9, 4], [1, 1, 9, 9]]), 9)
NET = fs.Network.random([4, 3, 2], seed=0)


def shared(folder):
    (folder / "text.safetensors").write_text("hello")
    (folder / "empty.safetensors").write_text("")
    (folder / "few.toml").write_text("n_steps = 3")
    save_file({"a": np.ones(2)}, folder / "other.safetensors")
    result = fs.forward(X, NET, return_state=True)
    return {
        **{name: getattr(fs, name) for name in ("Events", "SpikeTimes", "State")},
        **{name: getattr(fs, name) for name in ("Layer", "Network", "Neuron", "Readout")},
        "fs": fs,
        "np": np,
        "agreement": agreement,
        "augment": augment,
        "backends": backends,
        "bulk": bulk,
        "datasets": datasets,
        "encoding": encoding,
        "metrics": metrics,
        "reference": reference,
        "fashion": datasets.fashion_mnist,
        "nan": float("nan"),
        "inf": float("inf"),
        "V": np.ones((2, 3, 5)),
        "HALF": np.ones((2, 3, 5), np.float16),
        "OBJ": np.array([[[None]]]),
        "TEXT": np.array([[["a"]]]),
        "W": np.ones((3, 4), np.float32),
        "X": X,
        "D": X.to_dense(),
        "E": X.to_events(),
        "PTR": np.array([[0, 1]]),
        "IDX": np.array([0]),
        "REC": np.array([(5, 1)], [("t", "i8"), ("x", "i2")]),
        "NET": NET,
        "ALWAYS": fs.Neuron("always"),
        "MANY": fs.Network(
            [fs.Layer(NET.layers[0].weight, neuron=fs.Neuron("always"))], NET.readout
        ),
        "WEIGHTED": fs.Network(
            NET.layers, fs.Readout(NET.readout.weight, kind="weighted", gamma=0.98)
        ),
        "ALIF": fs.Neuron("always", adaptation="threshold"),
        "ADLIF": fs.Neuron("always", adaptation="current"),
        "OTHER": fs.Network.random([4, 5, 2], seed=0),
        "DEEP": fs.Network.random([4, 3, 3, 2], seed=0),
        "RUN": fs.prepare(NET, backend="numpy"),
        "R": result,
        "S": result.state,
        "RNG": np.random.default_rng(0),
        "OPS": metrics.synaptic_operations(NET, X, result),
        "UPS": metrics.membrane_updates(NET, result),
        "Operations": metrics.SynapticOperations,
        "Latency": metrics.LatencyToDecision,
        "LAT": metrics.LatencyToDecision(np.ones(3), np.zeros(2, int)),
        "FOLDER": str(folder),
        "TEXTFILE": str(folder / "text.safetensors"),
        "EMPTY": str(folder / "empty.safetensors"),
        "FOREIGN": str(folder / "other.safetensors"),
        "state": state,
        "go_on": lambda **changes: fs.forward(X, NET, state=state(**changes)),
        "made": made_of,
        "timed": timed,
        "REAL": made_of([0], [0], values=[0.5]),
        "binned": binned,
        "decide": decide,
        "inside": inside,
        "compared": compared,
        "streamed": lambda chunks: list(fs.stream(NET, chunks, backend="numpy")),
        "batched": lambda batches: list(bulk.forward_iter(NET, batches, backend="numpy")),
    }


def state(**changes):
    """A state that fits, but for these changes."""
    right = fs.forward(X, NET, return_state=True).state
    parts = {name: getattr(right, name) for name in ("step", "potentials", "spike_times", "logits")}
    return fs.State(**{**parts, **changes})


def made_of(*arrays, **options):
    return fs.Events.from_arrays(*arrays, **{"n_neurons": 3, "n_steps": 2, **options})


def timed(*arrays, **options):
    return fs.Events.from_times(*arrays, **{"dt": 1.0, **options})


def binned(recordings, **options):
    usual = {"sensor_size": (2, 1), "dt": 1.0, "n_steps": 3, "time_unit": "ms"}
    return datasets.events_from_structured(recordings, **{**usual, **options})


def decide(x, labels, **options):
    return metrics.latency_to_decision(NET, x, labels, **{"backend": "numpy", **options})


def inside(potential, **options):
    return agreement.inside_bound(potential, **{"dtype": np.float32, **options})


def compared(*trains, **options):
    return agreement.spike_trains(*trains, **{"dtype": np.float32, **options})


def of_plot():
    return {"plot": fs.plot}


def of_torch():
    import torch

    from fastsnn_np import experiments
    from fastsnn_np import torch as ft

    return {
        "experiments": experiments,
        **{name: getattr(ft, name) for name in ft.__all__},
        "torch": torch,
        "ft": ft,
        "T": torch.ones(2, 4, 9),
        "TV": torch.ones(2, 3, 5),
        "M": ft.FastSNN([4, 3, 2]),
        "SM": ft.StandardSNN([4, 3, 2]),
    }


def of_reach():
    import dask.array as da

    from fastsnn_np.sklearn import FastSNNClassifier

    def classifier(**options):
        usual = {"hidden_layer_sizes": (3,), "epochs": 1, "backend": "numpy", "random_state": 0}
        return FastSNNClassifier(**{**usual, **options})

    x = np.array([[0.0, 1.0], [1.0, 0.0], [0.2, 0.9], [0.8, 0.1]])
    y = np.array([0, 1, 0, 1])
    return {
        "C": classifier,
        "XS": x,
        "YS": y,
        "FITTED": classifier().fit(x, y),
        "ARRAY": da.from_array(X.to_dense(), chunks=(1, 4, 9)),
    }


def of_cli():
    def cli(line):
        """Exit with the status and the last line of stderr of a command line."""
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            try:
                status = main(shlex.split(line))
            except SystemExit as end:
                status = end.code
        raise SystemExit(f"{status}: {(said.getvalue().strip().splitlines() or [''])[-1]}")

    return {"cli": cli}


OF_SUBJECT = {"plot": of_plot, "torch": of_torch, "fit": of_torch, "reach": of_reach, "cli": of_cli}
