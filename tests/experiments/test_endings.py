"""How runs end: signals, errors on one line, missing libraries, one run per folder."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest

pytestmark = [
    pytest.mark.backend("train"),
    pytest.mark.filterwarnings("ignore:hidden layer .* is (dead|mostly silent)"),
]
torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("lightning", reason="lightning is not installed")

from safetensors import SafetensorError  # noqa: E402

from fastsnn_np import cli  # noqa: E402
from fastsnn_np.experiments import load_recipe, run_experiment  # noqa: E402

RUN = ["train", "fashion-mnist-sample", "--quiet", "--hidden", "5", "--set", "n_steps=12"]


def start(*arguments, code=None):
    command = [sys.executable, *(["-c", code] if code else ["-m", "fastsnn_np"]), *arguments]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
    )


def heed_interrupts():
    """A shell's background jobs, this one perhaps, ignore SIGINT, and so would their children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for(path, process):
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_run_with_its_status_and_one_line(tmp_path, number, status):
    """The last checkpoint stays, and the run goes on from it."""
    out = tmp_path / "run"
    process = start(*RUN, "--epochs", "500", "--out", str(out))
    wait_for(out / "metrics.csv", process)
    process.send_signal(number)
    said, complained = process.communicate(timeout=60)
    assert process.returncode == status
    (line,) = complained.strip().splitlines()
    assert str(out / "checkpoints" / "last.ckpt") in line and "--resume" in line
    assert not said and not (out / "summary.json").exists()
    seen = len((out / "metrics.csv").read_text().splitlines())
    again = start(*RUN, "--epochs", str(seen + 1), "--out", str(out), "--resume")
    said, complained = again.communicate(timeout=120)
    assert again.returncode == 0, complained
    assert "test accuracy" in said


FIT = """
import os, signal, sys, warnings
warnings.simplefilter("ignore")
import numpy as np, fastsnn_np as fs
from fastsnn_np.torch import FastSNN, fit
x, labels = fs.SpikeTimes(np.zeros((40, 3), np.int32), 5), np.zeros(40, int)
def kill(x, rng):
    os.kill(os.getpid(), getattr(signal, sys.argv[1]))
    return x
try:
    fit(FastSNN([3, 4, 2]), x, labels, augment=kill)
except KeyboardInterrupt as error:
    print("interrupt:", error)
"""


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 0), ("SIGTERM", 143)])
def test_a_signal_in_python(name, status):
    """KeyboardInterrupt for SIGINT, in a notebook too; a script ends with 143 for SIGTERM."""
    process = start(name, code=FIT)
    said, complained = process.communicate(timeout=120)
    assert process.returncode == status, complained
    assert said.startswith("interrupt: training was interrupted. No checkpoint") == (status == 0)


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (MemoryError("Unable to allocate 9 TiB"), 1, "not enough memory: Unable to allocate 9 TiB"),
        (MemoryError(), 1, "not enough memory: fewer steps"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory"),
            1,
            "not enough memory: Default",
        ),
        (OSError(28, "No space left on device"), 1, "No space left on device"),
        (SafetensorError("I/O error: No space left on device"), 1, "the disk is full: I/O error"),
        (
            SafetensorError("header too large"),
            1,
            "SafetensorError: header too large (FAST",
        ),
        (KeyError("loops"), 1, "KeyError: 'loops' (FASTSNN_TRACEBACK=1"),
        (OverflowError("int too large"), 1, "OverflowError: int too large"),
        (RecursionError("too deep"), 1, "RecursionError: too deep"),
        (AssertionError(), 1, "AssertionError:"),
        (FloatingPointError("loss is not finite"), 1, "loss is not finite"),
        (RuntimeError("two\nlines"), 1, "two lines"),
        (ImportError("no h5py"), 1, "no h5py"),
        (ValueError("epochs must be"), 2, "epochs must be"),
        (TypeError("hidden must be"), 2, "hidden must be"),
        (FileNotFoundError(2, "No such file", "x.h5"), 2, "No such file: 'x.h5'"),
        (FileExistsError("holds a run"), 2, "holds a run"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (SystemExit(143), 143, "terminated"),
    ],
)
def test_every_error_is_one_line_and_a_status(monkeypatch, capsys, error, status, words):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr("fastsnn_np.experiments.run_experiment", fail)
    assert cli.main(RUN) == status
    said = capsys.readouterr()
    (line,) = said.err.strip().splitlines()
    assert line.startswith("fastsnn_np train: ") and words in line
    assert not said.out
    if status in (1, 2):
        monkeypatch.setenv("FASTSNN_TRACEBACK", "1")
        with pytest.raises(type(error)):
            cli.main(RUN)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--set", "n_steps=2000000000"], 1, "not enough memory"),
        (["--set", "n_steps=20000000000"], 2, "below 2^31"),
        (["--hidden", "100000000000"], 2, "below 2^31"),
        (["--hidden", str(10**30)], 2, "below 2^31"),
        (["--hidden", "2000000000"], 1, "not enough memory"),
        (["--set", "batch_size=0"], 2, "batch_size must be a whole number"),
        (["--set", "hidden=[]"], 2, "hidden must be numbers of neurons"),
        (["--recipe", "nowhere.toml"], 2, "nowhere.toml"),
        (["--threads", "100000"], 2, "threads must be at most"),
        (["--threads", "0"], 2, "threads must be a whole number"),
    ],
)
def test_bad_command_lines(tmp_path, capsys, arguments, status, words):
    out = ["--epochs", "1", "--out", str(tmp_path / "run")]
    assert cli.main([*RUN[:3], *out, *arguments]) == status
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert words in line


def test_help_says_what_the_statuses_mean(capsys):
    for arguments in (["--help"], ["train", "--help"]):
        with pytest.raises(SystemExit):
            cli.main(arguments)
        assert "143 terminated (SIGTERM)" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["torch", "lightning.pytorch"])
@pytest.mark.parametrize("command", [RUN, ["demo"]])
def test_a_missing_library_is_named_with_its_extra(tmp_path, monkeypatch, capsys, name, command):
    monkeypatch.setitem(sys.modules, name, None)
    assert cli.main([*command, "--out", str(tmp_path / "run")]) == 1
    line = capsys.readouterr().err
    assert f"it needs {name.partition('.')[0]} (" in line
    assert "pip install 'fastsnn-np[torch]'" in line
    assert not (tmp_path / "run").exists()  # before anything was begun


def test_without_matplotlib_only_the_figures_are_missing(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    changes = {"hidden": [5], "epochs": 1, "n_steps": 12}
    recipe = load_recipe("best", "fashion-mnist-sample").with_changes(changes)
    summary = run_experiment(recipe, tmp_path)
    assert 0 < summary["accuracy"] < 1
    assert (tmp_path / "summary.json").exists() and not list(tmp_path.glob("*.png"))
    assert "no figures are drawn" in caplog.text and "fastsnn-np[plot]" in caplog.text


def test_two_runs_do_not_share_a_folder(tmp_path, capsys):
    """The second is refused while the first runs; a lock that a killed one leaves is none."""
    out = tmp_path / "run"
    process = start(*RUN, "--epochs", "500", "--out", str(out))
    wait_for(out / "metrics.csv", process)
    for more in ([], ["--resume"]):
        assert cli.main([*RUN, "--epochs", "500", "--out", str(out), *more]) == 2
        assert "another run is at work in" in capsys.readouterr().err
    process.kill()
    process.communicate()
    seen = len((out / "metrics.csv").read_text().splitlines())
    for name in (".activity.png.a1b2c3d4", "checkpoints/.last.ckpt.a1b2c3_4"):
        (out / name).write_text("left by a killed run")
    (out / ".mine").write_text("somebody's own")
    again = [*RUN, "--epochs", str(seen + 1), "--out", str(out), "--resume"]
    assert cli.main(again) == 0
    hidden = {path.name for path in out.rglob(".*")}
    assert ".mine" in hidden and hidden <= {".mine", ".lock"}


def test_a_finished_run_keeps_its_timings_and_can_be_extended(tmp_path, capsys):
    out = tmp_path / "run"
    assert cli.main([*RUN, "--epochs", "1", "--out", str(out), "--threads", "1"]) == 0
    first = json.loads((out / "summary.json").read_text())
    assert first["threads"] == {"torch": 1, "numba": 1}
    assert json.loads((out / "recipe.json").read_text())["threads"] == first["threads"]
    assert first["seconds"] > 0
    assert cli.main([*RUN, "--epochs", "1", "--out", str(out), "--resume"]) == 0
    assert json.loads((out / "summary.json").read_text()) == first
    assert cli.main([*RUN, "--epochs", "3", "--out", str(out), "--resume"]) == 0
    longer = json.loads((out / "summary.json").read_text())
    assert longer["epochs"] == 3 and longer["seconds_per_step"] > 0
    whole = tmp_path / "whole"
    assert cli.main([*RUN, "--epochs", "3", "--out", str(whole)]) == 0
    assert (whole / "metrics.csv").read_text() == (out / "metrics.csv").read_text()
    capsys.readouterr()
    assert cli.main([*RUN, "--epochs", "2", "--out", str(out), "--resume"]) == 2
    assert "the run has 3 epochs already, more than epochs=2" in capsys.readouterr().err


def test_a_cosine_cannot_be_extended(tmp_path, capsys):
    run = [*RUN, "--set", "schedule=cosine", "--out", str(tmp_path / "run")]
    assert cli.main([*run, "--epochs", "1"]) == 0
    assert cli.main([*run, "--epochs", "2", "--resume"]) == 2
    assert "of a cosine schedule ends with the last epoch" in capsys.readouterr().err


@pytest.mark.parametrize(("fraction", "name"), [(0.0, "test"), (0.2, "validation")])
def test_accuracies_are_called_what_they_are(tmp_path, fraction, name):
    changes = {"hidden": [5], "epochs": 1, "n_steps": 12, "validation_fraction": fraction}
    recipe = load_recipe("best", "fashion-mnist-sample").with_changes(changes)
    summary = run_experiment(recipe, tmp_path)
    columns = (tmp_path / "metrics.csv").read_text().splitlines()[0].split(",")
    for other in ("test", "validation"):
        assert (f"{other}_accuracy" in columns) == (other == name)
        assert (f"{other}_accuracy" in summary) == (other == name)


def test_damaged_files_of_a_run(tmp_path, capsys):
    run = [*RUN, "--epochs", "1", "--out", str(tmp_path)]
    assert cli.main(run) == 0
    for name, content in (("recipe.json", "{"), ("recipe.json", "[1]"), ("summary.json", "{")):
        good = (tmp_path / name).read_text()
        (tmp_path / name).write_text(content)
        capsys.readouterr()
        assert cli.main([*run, "--resume"]) == 2
        assert f"{name} is damaged" in capsys.readouterr().err
        (tmp_path / name).write_text(good)


def test_warnings_are_one_line(capsys):
    import warnings

    with cli._short_warnings():
        warnings.simplefilter("always")
        warnings.warn("a layer\nis silent", stacklevel=1)
    assert capsys.readouterr().err == "fastsnn_np: warning: a layer is silent\n"


def test_signal_handlers_are_given_back():
    before = signal.getsignal(signal.SIGTERM)
    with cli._signals():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
