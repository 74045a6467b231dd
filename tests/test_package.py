"""What the package promises as a whole: light imports, public names with docstrings, versions."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import mutants
import pytest

import fastsnn_np as fs

ROOT = Path(__file__).parents[1]
SUBMODULES = ["augment", "datasets", "encoding", "metrics", "spikes"]
HEAVY = [
    "torch",
    "cupy",
    "matplotlib",
    "numba",
    "scipy.signal",
    "jax",
    "tqdm",
    "pooch",
    "h5py",
    "lightning",
    "sklearn",
    "dask",
]


def test_importing_is_light():
    code = f"import sys, fastsnn_np; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_numpy_path_stays_light():
    """forward on NumPy arrays needs none of them either."""
    code = (
        "import sys, numpy as np, fastsnn_np as fs\n"
        "fs.forward(np.ones((1, 2, 3)), fs.Network.random([2, 3, 2]), backend='numpy')\n"
        f"print([m for m in {HEAVY} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_exist_and_are_documented():
    modules = [fs, *map(importlib.import_module, (f"fastsnn_np.{n}" for n in SUBMODULES))]
    for module in modules:
        assert module.__doc__
        for name in module.__all__:
            public = getattr(module, name)
            assert inspect.getdoc(public), name
    assert set(fs.__all__) <= set(dir(fs))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        fs.nonsense  # noqa: B018


def test_no_public_function_shares_a_module_name():
    for name in fs.__all__:
        if not inspect.ismodule(getattr(fs, name)):
            assert importlib.util.find_spec(f"fastsnn_np.{name}") is None


def test_one_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]  # taken from the package
    attribute = project["tool"]["setuptools"]["dynamic"]["version"]["attr"]
    assert attribute == "fastsnn_np._version.__version__"
    assert f"## {fs.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_core_knows_no_library():
    """No module of the algorithm imports or names an array library; _namespace alone may."""
    for path in (ROOT / "fastsnn_np").glob("_[a-z]*.py"):
        if path.name in ("_namespace.py", "_demo.py", "_jit.py"):
            continue
        source = path.read_text()
        for word in ("array_api_compat", "import torch", "import cupy", "import numba"):
            assert word not in source, (path.name, word)


def test_modules_stay_small():
    for folder in ("fastsnn_np", "backends", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            lines = len(path.read_text().splitlines())
            assert lines <= 400, (path, lines)


def test_command_line(capsys):
    from fastsnn_np import cli

    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert fs.__version__ in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        cli.main(["nonsense"])
    assert stop.value.code == 2
    assert "invalid choice: 'nonsense'" in capsys.readouterr().err


def test_plots(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    from fastsnn_np import plot
    from fastsnn_np.encoding import latency

    x = latency(fs.datasets.fashion_mnist_sample("test")[0][:2])
    network = fs.Network.random([784, 20, 30, 10], seed=0)
    figure = plot.activity(x[:1], network, label=9, classes=fs.datasets.FASHION_MNIST_CLASSES)
    assert len(figure.axes) == 4
    drawn = [len(a.collections[0].get_offsets()) for a in figure.axes[1:]]
    assert drawn[-1] == (x.times[0] < x.n_steps).sum()
    assert "Ankle boot (correct)" in [t.get_text() for t in figure.axes[0].get_legend().get_texts()]
    figure.savefig(tmp_path / "a.png")
    layer = fs.Layer(6 * network.layers[0].weight, neuron=fs.Neuron("always"))
    many = fs.Network([layer, *network.layers[1:]], network.readout)
    result = fs.forward(x[:1], many)
    drawn = plot.activity(x[:1], many, label=9).axes[2].collections[0].get_offsets()
    assert len(drawn) == result.spike_counts[0][0] > (result.spike_times[0] < x.n_steps).sum()
    with pytest.raises(ValueError, match="one sample, got 2"):
        plot.activity(x, network, label=9)
    curve = plot.training_curve([{"loss": 1.0, "accuracy": 0.5, "validation_accuracy": 0.4}] * 3)
    assert [len(line.get_xdata()) for line in curve.axes[1].lines] == [3, 3]
    assert os.path.getsize(tmp_path / "a.png") > 10_000


def test_planted_faults_are_of_this_code():
    """Each row of the list names text that stands in its file, once."""
    stale = [
        (file, before)
        for file, before, _, _ in mutants.MUTANTS
        if (ROOT / file).read_text().count(before) != 1
    ]
    assert not stale
