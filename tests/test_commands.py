"""Commands of the command line: what they say, as text and as JSON, and what they refuse."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import fastsnn_np as fs
from fastsnn_np import cli, convert
from fastsnn_np.commands import COMMANDS
from fastsnn_np.encoding import latency

RECIPE = {"dataset": "fashion-mnist-sample", "encoding": "latency", "n_steps": 100, "dt": 1.0}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A folder as a training run leaves it, and the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FASTSNN_DATA", raising=False)
    monkeypatch.setenv("FASTSNN_CACHE", str(tmp_path / "cache"))
    network = fs.Network.random([784, 30, 10], seed=0)
    stronger = fs.Layer(network.layers[0].weight * 4, beta=network.layers[0].beta)
    fs.Network((stronger,), network.readout).save("network.safetensors")
    (tmp_path / "recipe.json").write_text(json.dumps(RECIPE))
    (tmp_path / "summary.json").write_text(
        json.dumps({"dataset": "x", "epochs": 3, "accuracy": 0.5, "spikes_per_sample": [7.0]})
    )
    images = fs.datasets.fashion_mnist_sample("test")[0]
    np.save("one.npy", images[0])
    np.save("many.npy", images[:70])
    return tmp_path


def said(capsys, line):
    """What a command prints, which must end well."""
    status = cli.main(shlex.split(line))
    printed = capsys.readouterr()
    assert status == 0, printed.err
    return printed.out


def data_of(capsys, line):
    return json.loads(said(capsys, f"{line} --json"))


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_help_shows_an_example_that_parses(command, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main([command.name, "--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert "--json" in shown
    for line in command.example.splitlines():
        assert f"  fastsnn-np {line}\n" in shown
        arguments = cli._parser().parse_args(shlex.split(line))
        assert arguments.command == command.name


def test_doctor(capsys):
    result = data_of(capsys, "doctor")
    assert result["version"] == fs.__version__
    numpy = next(found for found in result["backends"] if found["name"] == "numpy")
    assert (numpy["version"], numpy["error"]) == (np.__version__, None)
    shown = said(capsys, "doctor")
    fs.doctor()
    assert capsys.readouterr().out == shown


def test_data(run, capsys):
    result = {found["name"]: found for found in data_of(capsys, "data")}
    assert set(result) == {"fashion-mnist", "fashion-mnist-sample", "n-mnist", "shd"}
    assert result["fashion-mnist-sample"]["missing"] is None
    assert result["shd"]["train"] is None
    assert "zenkelab.org" in result["shd"]["missing"]
    for name in ("shd_train.h5", "shd_test.h5.gz"):
        (run / name).write_bytes(b"")
    (found,) = data_of(capsys, f"data shd --root {run}")
    assert (found["train"], found["test"]) == (
        str(run / "shd_train.h5"),
        str(run / "shd_test.h5.gz"),
    )
    assert "not found" not in said(capsys, f"data shd --root {run}")
    assert "  train: not found\n" in said(capsys, f"data n-mnist --root {run}")


def test_info(run, capsys):
    result = data_of(capsys, "info network.safetensors")
    assert result["sizes"] == [784, 30, 10]
    hidden, readout = result["layers"]
    assert hidden["tau_ms"]["median"] == pytest.approx(10, rel=1e-5)
    assert (hidden["threshold"], readout["read_out_by"]) == (1.0, "sum")
    assert hidden["parameters"] == 784 * 30 + 30  # no bias
    assert readout["parameters"] == 30 * 10 + 10 + 10
    assert result["run"]["accuracy"] == 0.5
    shown = said(capsys, "info network.safetensors")
    assert "784-30-10, float32, dt = 1 ms" in shown
    assert "10.0 (10.0 to 10.0)" in shown
    assert "50.00% of the test data; spikes per sample: 7.0" in shown


def test_networks_of_neurons_that_fire_always(run, capsys):
    """All their spikes are counted."""
    network = fs.Network.load("network.safetensors")
    layer = replace(
        network.layers[0],
        neuron=fs.Neuron("always"),
        threshold=np.linspace(0.5, 1.5, 30, dtype=np.float32),
    )
    other = replace(network, layers=(layer,))
    other.save("always.safetensors")
    hidden = data_of(capsys, "info always.safetensors")["layers"][0]
    assert hidden["neuron"]["fires"] == "always"
    assert "784-30-10" in said(capsys, "info always.safetensors")
    images = fs.datasets.fashion_mnist_sample("test")[0]
    found = data_of(capsys, "evaluate always.safetensors --backend numpy")
    result = fs.forward(latency(images), other, backend="numpy")
    assert found["spikes_per_sample"] == [pytest.approx(result.spike_counts[0].mean())]
    refused(capsys, "convert always.safetensors a.nir", "neurons that fire once")


def test_evaluate_is_forward_on_the_data_of_the_recipe(run, capsys):
    images, labels = fs.datasets.fashion_mnist_sample("test")
    result = fs.forward(latency(images), fs.Network.load("network.safetensors"), backend="numpy")
    found = data_of(capsys, "evaluate network.safetensors --backend numpy")
    assert (found["dataset"], found["samples"]) == ("fashion-mnist-sample", 1000)
    assert found["accuracy"] == pytest.approx((result.prediction == labels).mean())
    assert found["spikes_per_sample"] == [pytest.approx(result.spike_counts[0].mean())]
    assert sum(found["dense_macs"]) == 100 * (784 * 30 + 30 * 10)
    assert found["energy_pj"]["total"] > found["energy_pj"]["memory"] > 0
    shown = said(capsys, "evaluate network.safetensors --backend numpy --split test")
    assert f"{found['accuracy']:.2%} right" in shown
    linear = data_of(
        capsys, "evaluate network.safetensors --backend numpy --encoding linear_latency --steps 50"
    )
    assert linear["dense_macs"][0] == 50 * 784 * 30


def test_predict_is_forward(run, capsys):
    images = fs.datasets.fashion_mnist_sample("test")[0][:70]
    network = fs.Network.load("network.safetensors")
    for name, count in (("one.npy", 1), ("many.npy", 70)):
        found = data_of(capsys, f"predict network.safetensors {name}")
        result = fs.forward(latency(images[:count]), network, backend="numpy")
        assert [row["class"] for row in found] == result.prediction.tolist()
        assert [row["spikes"][0] for row in found] == result.spike_counts[0].tolist()
        np.testing.assert_allclose(
            [row["logit"] for row in found], result.logits.max(axis=1), rtol=1e-4
        )
        assert found[0]["name"] == fs.datasets.FASHION_MNIST_CLASSES[found[0]["class"]]
    assert len(said(capsys, "predict network.safetensors many.npy").splitlines()) == 71


def test_predict_takes_trains_and_images(run, capsys):
    images = fs.datasets.fashion_mnist_sample("test")[0][:3]
    np.save("trains.npy", latency(images).to_dense())
    np.save("flat.npy", images.reshape(3, 784))
    np.save("pixels.npy", images[0].reshape(784) / 255)
    expected = data_of(capsys, "predict network.safetensors many.npy")[:3]
    for name in ("trains.npy", "flat.npy", "pixels.npy"):
        found = data_of(capsys, f"predict network.safetensors {name}")
        for row, other in zip(found, expected[: len(found)], strict=True):
            assert row["class"] == other["class"]
            assert row["logit"] == pytest.approx(other["logit"], rel=1e-4)


def test_predict_takes_a_picture(run, capsys):
    image = pytest.importorskip("PIL.Image", reason="pillow is not installed")
    image.fromarray(fs.datasets.fashion_mnist_sample("test")[0][0]).save("one.png")
    found, expected = (data_of(capsys, f"predict network.safetensors {n}") for n in
                       ("one.png", "one.npy"))  # fmt: skip
    assert found == expected
    (run / "broken.png").write_bytes((run / "one.png").read_bytes()[:100])
    refused(capsys, "predict network.safetensors broken.png", "broken.png is no image")


def test_predict_takes_events(run, capsys):
    rng = np.random.default_rng(0)
    t, neuron, sample = rng.uniform(0, 99, 900), rng.integers(0, 784, 900), np.arange(900) % 3
    rows = [f"{n},{a:.4f},{s}" for a, n, s in zip(t, neuron, sample, strict=True)]
    (run / "events.csv").write_text("\n".join(["Neuron, time ,sample", *rows, ""]))
    found = data_of(capsys, "predict network.safetensors events.csv --encoding events")
    x = fs.Events.from_times(np.round(t, 4), neuron, sample, dt=1.0, n_neurons=784, n_steps=100)
    result = fs.forward(x, fs.Network.load("network.safetensors"), backend="numpy")
    assert [row["class"] for row in found] == result.prediction.tolist()
    assert [row["spikes"][0] for row in found] == result.spike_counts[0].tolist()


def test_integer_weights_are_a_network_to_every_command(run, capsys):
    made = data_of(capsys, "convert network.safetensors small.safetensors --bits 4")
    assert made["sizes"] == [784, 30, 10]
    assert made["bytes"] == (run / "small.safetensors").stat().st_size
    assert convert.Quantised.load("small.safetensors").bits == 4
    assert data_of(capsys, "info small.safetensors")["sizes"] == [784, 30, 10]
    assert len(data_of(capsys, "predict small.safetensors one.npy")) == 1
    assert "evaluate" in COMMANDS
    assert said(capsys, "convert small.safetensors floats.safetensors").startswith("Wrote floats")
    np.testing.assert_array_equal(
        fs.Network.load("floats.safetensors").layers[0].weight,
        convert.Quantised.load("small.safetensors").network.layers[0].weight,
    )


@pytest.mark.backend("exchange")
def test_formats_of_others(run, capsys):
    pytest.importorskip("nir", reason="nir is not installed")
    pytest.importorskip("onnx", reason="onnx is not installed")
    said(capsys, "convert network.safetensors a.nir --steps 90 --dialect snntorch")
    said(capsys, "convert a.nir b.safetensors")
    np.testing.assert_allclose(
        fs.Network.load("b.safetensors").layers[0].weight,
        fs.Network.load("network.safetensors").layers[0].weight,
    )
    assert data_of(capsys, "convert a.nir c.safetensors --readout max --dt 2")["sizes"] == [
        784, 30, 10,
    ]  # fmt: skip
    assert fs.Network.load("c.safetensors").readout.kind == "max"
    said(capsys, "convert network.safetensors a.onnx --steps 100")
    refused(capsys, "convert network.safetensors a.onnx", "ONNX needs --steps")


# --- refused ------------------------------------------------------------------------------------


def refused(capsys, line, words):
    """One sentence on stderr, nothing on stdout, status 2."""
    assert cli.main(shlex.split(line)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (sentence,) = printed.err.splitlines()
    assert words in sentence
    assert sentence.startswith(f"fastsnn_np {shlex.split(line)[0]}: ")


LINES = (
    "info {}",
    "evaluate {}",
    "predict {} one.npy",
    "convert {} out.safetensors",
)
BROKEN = {
    "none.safetensors": "No such file",
    "folder.safetensors": "this is a folder",
    "text.safetensors": "text.safetensors is truncated or no safetensors file",
    "cut.safetensors": "cut.safetensors is truncated or no safetensors file",
    "other.safetensors": "but no fastsnn_np network",
}


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("name", BROKEN)
def test_networks_that_are_none(run, capsys, line, name):
    from safetensors.numpy import save_file

    (run / "folder.safetensors").mkdir()
    (run / "text.safetensors").write_text("hello")
    whole = (run / "network.safetensors").read_bytes()
    (run / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    save_file({"a": np.ones(2)}, run / "other.safetensors")
    refused(capsys, line.format(name), BROKEN[name])
    assert not (run / "out.safetensors").exists()


def test_a_damaged_recipe_beside_a_network(run, capsys):
    (run / "recipe.json").write_text("{")
    refused(capsys, "evaluate network.safetensors", "recipe.json is damaged")
    (run / "recipe.json").write_text("[1]")
    refused(capsys, "predict network.safetensors one.npy", "recipe.json is damaged: it holds no")
    (run / "recipe.json").write_text('{"n_steps": -4}')
    refused(capsys, "predict network.safetensors one.npy", "n_steps must be a whole number")
    (run / "recipe.json").unlink()
    refused(capsys, "evaluate network.safetensors", "names a data set: name one")
    refused(capsys, "evaluate network.safetensors shd", "shd_test.h5")
    refused(capsys, "evaluate network.safetensors mnist", "dataset must be one of 'fashion-mnist'")


INPUTS = [
    ("none.npy", None, "No such file"),
    ("text.npy", "hello", "text.npy is no NumPy file"),
    ("empty.npy", "", "empty.npy is no NumPy file"),
    ("image.tiff", "hello", "image.tiff is no input: .npy, .csv, .png are"),
    ("empty.csv", "", "empty.csv is empty"),
    ("head.csv", "time,neuron\n", "head.csv has a head and no event"),
    ("lacks.csv", "time,channel\n1,2\n", "has no column 'neuron', only time, channel"),
    ("word.csv", "time,neuron\n1,2\nsoon,3\n", "line 3: time must be a number, got 'soon'"),
    ("half.csv", "time,neuron\n1,2.5\n", "line 2: neuron must be a whole number, got '2.5'"),
    ("short.csv", "time,neuron\n1\n", "line 2: neuron must be a whole number, got ''"),
    ("far.csv", "time,neuron\n1,784\n", "neuron must lie in 0 ... 783, got 784 to 784"),
    ("nan.csv", "time,neuron\nnan,4\n", "t holds nan at index (0,)"),
    ("gap.csv", "time,neuron,sample\n1,2,0\n1,2,2\n", "sample 1 of 3 has no event"),
    ("below.csv", "time,neuron,sample\n1,2,-1\n", "samples must be numbered from 0, got -1"),
]


@pytest.mark.parametrize(("name", "text", "words"), INPUTS, ids=[row[0] for row in INPUTS])
def test_inputs_that_are_none(run, capsys, name, text, words):
    if text is not None:
        (run / name).write_text(text)
    refused(capsys, f"predict network.safetensors {name}", words)


def test_arrays_that_do_not_fit(run, capsys):
    np.save("wide.npy", np.zeros((2, 30, 30)))
    refused(capsys, "predict network.safetensors wide.npy", "(2, 30, 30) and the network takes 784")
    np.save("text.npy", np.array(["a"]))
    refused(capsys, "predict network.safetensors text.npy", "text.npy holds no numbers")
    np.save("object.npy", np.array([None]), allow_pickle=True)
    refused(capsys, "predict network.safetensors object.npy", "object.npy is no NumPy file")
    refused(capsys, "predict network.safetensors .", "this is a folder")
    refused(
        capsys, "predict network.safetensors one.npy --encoding events", "images are encoded by"
    )
    refused(capsys, "predict network.safetensors one.npy --steps 0", "n_steps must be a whole")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("convert network.safetensors a.txt", "a.txt should end in .safetensors, .nir, .onnx"),
        ("convert network.onnx a.nir", "network.onnx should end in .safetensors, .nir"),
        ("convert network.safetensors a.safetensors --dt 1", "--dt says nothing of a conversion"),
        ("convert network.safetensors a.onnx --bits 4", "--bits says nothing of a conversion"),
        ("convert network.safetensors a.safetensors --bits 1", "bits must be a whole number"),
        ("convert network.safetensors none/a.safetensors", "no such folder to write into"),
        ("convert none.nir a.safetensors", "No such file"),
        ("data mnist", "dataset must be one of"),
        ("data --root none", "--root must be a folder, got none"),
    ],
)
def test_calls_that_mean_nothing(run, capsys, line, words):
    refused(capsys, line, words)


def test_what_commands_import(run):
    """Help and a prediction on few images need neither Torch nor Numba, nor what is optional."""
    heavy = ["torch", "numba", "lightning", "matplotlib", "scipy.signal", "h5py", "nir", "onnx"]
    for line in ("--help", "predict network.safetensors one.npy", "info network.safetensors"):
        code = (
            "import sys\nfrom fastsnn_np import cli\n"
            f"try: cli.main({shlex.split(line)})\nexcept SystemExit: pass\n"
            f"print([m for m in {heavy} if m in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == "[]", line


def test_info_of_neurons_that_fire_again_and_again(tmp_path, capsys):
    layer = fs.Layer(
        np.ones((3, 4)),
        neuron=fs.Neuron("always", adaptation="threshold"),
        rho=0.5,
        threshold=np.array([1.0, 2.0, 4.0]),
        recurrent=np.ones((3, 3)),
    )
    path = tmp_path / "a.safetensors"
    fs.Network([layer], fs.Readout(np.ones((2, 3)), kind="weighted", gamma=0.9)).save(path)
    found = data_of(capsys, f"info {path}")["layers"]
    assert found[0]["neuron"]["adaptation"] == "threshold"
    assert found[0]["threshold"] == 2.0
    assert found[0]["parameters"] == 12 + 9 + 4 * 3  # beta, threshold, rho and b
    assert found[1]["read_out_by"] == "weighted"
    assert "weighted" in said(capsys, f"info {path}")
