"""Networks: building, checking, saving and loading."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys

import numpy as np
import pytest
from neurons import KINDS, ONCE, network_of

import fastsnn_np as fs

W = np.ones((3, 4), np.float32)


def same(a, b):
    """Every parameter equal to the bit, and every option."""
    assert a.dt == b.dt
    for x, y in zip((*a.layers, a.readout), (*b.layers, b.readout), strict=True):
        for name in ("weight", "bias", "beta"):
            u, v = getattr(x, name), getattr(y, name)
            assert (u is None) == (v is None)
            if u is not None:
                assert u.dtype == v.dtype
                assert u.tobytes() == v.tobytes()
        assert x.input_scale == y.input_scale
    for x, y in zip(a.layers, b.layers, strict=True):
        assert x.neuron == y.neuron
        for name in ("threshold", "recurrent", "rho", "a", "b", "delay"):
            u, v = getattr(x, name), getattr(y, name)
            assert type(u) is type(v)
            np.testing.assert_array_equal(u, v)
            assert u is None or np.asarray(u).dtype == np.asarray(v).dtype
    assert (a.readout.kind, a.readout.gamma) == (b.readout.kind, b.readout.gamma)
    return True


@pytest.fixture
def network():
    rng = np.random.default_rng(0)
    layers = (
        fs.Layer(
            rng.standard_normal((5, 4)),
            rng.standard_normal(5),
            rng.uniform(0.1, 0.999, 5),
            threshold=0.7 + 1e-9,
        ),
        fs.Layer(rng.standard_normal((3, 5)), None, 0.5, input_scale="normalised"),
    )
    return fs.Network(layers, fs.Readout(rng.standard_normal((2, 3)), kind="max"), dt=0.1)


def test_defaults_are_those_of_the_paper():
    network = fs.Network.random([784, 200, 10], seed=0)
    layer, readout = network.layers[0], network.readout
    assert network.sizes == (784, 200, 10)
    np.testing.assert_allclose(layer.beta, np.exp(-1 / 10), rtol=1e-7)
    np.testing.assert_allclose(readout.beta, np.exp(-1 / 20), rtol=1e-7)
    assert layer.beta.shape == (200,)
    assert (layer.threshold, readout.kind, layer.input_scale) == (1.0, "sum", "unit")
    bound = np.sqrt(1 / 784)
    assert np.abs(layer.weight).max() <= bound
    assert layer.weight.std() == pytest.approx(bound / np.sqrt(3), rel=0.01)
    assert not layer.bias.any()
    assert same(network, fs.Network.random([784, 200, 10], seed=0))


def test_beta_is_rounded_once():
    beta = fs.Layer(W, beta=fs.beta_from_tau(10.0)).beta
    assert (beta == np.float32(np.exp(-0.1))).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_save_and_load_to_the_bit(tmp_path, network, dtype):
    network = network if dtype == np.float64 else fs.Network.random([4, 3, 2], seed=1)
    network.save(tmp_path / "a.safetensors")
    assert same(network, fs.Network.load(tmp_path / "a.safetensors"))
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_a_failed_save_leaves_the_old_file(tmp_path, network, monkeypatch):
    path = tmp_path / "a.safetensors"
    network.save(path)
    before = path.read_bytes()

    def broken(arrays, name, metadata):
        with open(name, "wb") as file:
            file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("safetensors.numpy.save_file", broken)
    with pytest.raises(OSError, match="disk full"):
        network.save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.safetensors"]


def header_of(data):
    (size,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def with_header(header, body):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def edited(data, **changes):
    header, body = header_of(data)
    ours = json.loads(header["__metadata__"]["fastsnn_np.network"])
    ours.update(changes)
    header["__metadata__"]["fastsnn_np.network"] = json.dumps(ours)
    return with_header(header, body)


def with_text(data, text):
    header, body = header_of(data)
    header["__metadata__"]["fastsnn_np.network"] = text
    return with_header(header, body)


def as_float8(data):
    header, body = header_of(data)
    beta = header["readout.beta"]
    beta |= {"dtype": "F8_E4M3", "shape": [beta["data_offsets"][1] - beta["data_offsets"][0]]}
    return with_header(header, body)


def without(data, key):
    header, body = header_of(data)
    ours = json.loads(header["__metadata__"]["fastsnn_np.network"])
    del ours[key]
    header["__metadata__"]["fastsnn_np.network"] = json.dumps(ours)
    return with_header(header, body)


HIDDEN = {"threshold": 1.0, "input_scale": "unit"}

DAMAGE = [
    (lambda d: d[: len(d) // 2], "truncated or no safetensors file"),
    (lambda d: d[:5], "truncated or no safetensors file"),
    (lambda d: b"", "truncated or no safetensors file"),
    (lambda d: b"PK\x03\x04" + b"\0" * 100, "truncated or no safetensors file"),
    (lambda d: struct.pack("<Q", 1 << 62) + d[8:], "truncated or no safetensors file"),
    (
        lambda d: with_header({**header_of(d)[0], "__metadata__": {}}, header_of(d)[1]),
        "but no fastsnn_np network",
    ),
    (lambda d: edited(d, version=3), "format version 3, this fastsnn_np reads 1 to 2: install a n"),
    (lambda d: edited(d, version=0), "format version 0, this fastsnn_np reads 1 to 2$"),
    (lambda d: edited(d, version="1"), r"version '1', this fastsnn_np reads 1 to 2$"),
    (lambda d: edited(d, version=[1]), "version .1., this fastsnn_np reads 1 to 2$"),
    (lambda d: edited(d, version=2), "a Layer lacks 'neuron'"),
    (lambda d: without(d, "version"), "damaged network header"),
    (lambda d: with_text(d, "[" * 100_000), "damaged network header: RecursionError"),
    (lambda d: with_text(d, '{"version": ' + "1" * 5000 + "}"), "damaged network header"),
    (
        lambda d: edited(d, layers=[{**HIDDEN, "threshold": 10**400}] * 2),
        "does not describe a network",
    ),
    (as_float8, "holds an array that cannot be read"),
    (lambda d: without(d, "dt"), "does not describe a network"),
    (lambda d: edited(d, dt=-1), "dt must be positive"),
    (lambda d: edited(d, dt="soon"), "does not describe a network"),
    (lambda d: edited(d, layers=[HIDDEN] * 3), "layers.2"),
    (lambda d: edited(d, layers=[{**HIDDEN, "nonsense": 1.0}] * 2), "nonsense"),
    (lambda d: edited(d, readout={"kind": "mean", "input_scale": "unit"}), "'sum', 'max'"),
    (lambda d: edited(d, layers=7), "does not describe a network"),
]


@pytest.fixture
def many():
    """A network of other neurons, which needs version 2."""
    rng = np.random.default_rng(0)
    return network_of(rng, [KINDS[17], ONCE], recurrent=True, delay=3, readout="weighted")


def without_array(data, name):
    """The file without one of its arrays, whose place is left."""
    header, body = header_of(data)
    unused = header.pop(name)
    header["readout.unused"] = unused
    return with_header(header, body)


def second(changes=None, neuron=None):
    """Damage to the second layer's options, or to the first layer's neuron."""

    def damage(data):
        header, _ = header_of(data)
        layers = json.loads(header["__metadata__"]["fastsnn_np.network"])["layers"]
        layers[1] |= changes or {}
        layers[0]["neuron"] = {**layers[0]["neuron"], **(neuron or {})}
        return edited(data, layers=layers)

    return damage


DAMAGE_TO_MANY = [
    (second({"neuron": None}), "the options of a Neuron are no object, but None"),
    (second({"neuron": {"fires": "once"}}), "a Neuron lacks 'reset'"),
    (second(neuron={"fires": "twice"}), "fires must be one of"),
    (second(neuron={"soft": 1}), "a Neuron has no option 'soft'"),
    (second(neuron={"refractory": -1}), "refractory must be a whole number"),
    (second({"threshold": None}), "threshold must be a finite number, got None"),
    (second({"gamma": 0.5}), "a Layer has no option 'gamma'"),
    (lambda d: edited(d, readout={"kind": "weighted", "input_scale": "unit"}), "lacks 'gamma'"),
    (
        lambda d: edited(d, readout={"kind": "weighted", "input_scale": "unit", "gamma": 2}),
        "gamma of a weighted readout must lie inside",
    ),
    (lambda d: edited(d, version=1), "a Layer has no option 'neuron'"),
    (lambda d: without_array(d, "layers.0.rho"), "needs rho, its decay per step"),
    (lambda d: without_array(d, "layers.0.beta"), "it lacks 'layers.0.beta'"),
    (lambda d: without_array(d, "layers.0.a"), "arrays that no layer has: readout.unused"),
]


@pytest.mark.parametrize(("damage", "words"), DAMAGE_TO_MANY, ids=range(len(DAMAGE_TO_MANY)))
def test_damaged_files_of_version_2(tmp_path, many, damage, words):
    path = tmp_path / "a.safetensors"
    many.save(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=words):
        fs.Network.load(path)


def version_of(path):
    header, _ = header_of(path.read_bytes())
    return json.loads(header["__metadata__"]["fastsnn_np.network"])["version"]


def test_the_oldest_version_that_knows_a_network_is_written(tmp_path, network, many):
    """Earlier checkouts read networks that are of theirs."""
    path = tmp_path / "a.safetensors"
    network.save(path)
    assert version_of(path) == 1
    newer = [
        many,
        fs.Network(many.layers[1:], fs.Readout(np.ones((2, 9)))),  # a delay
        fs.Network([fs.Layer(W, neuron=fs.Neuron("always"))], fs.Readout(np.ones((2, 3), "f4"))),
        fs.Network([], fs.Readout(W, kind="weighted", gamma=0.5)),
    ]
    for saved in newer:
        saved.save(path)
        assert version_of(path) == 2
        assert same(saved, fs.Network.load(path))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_kind_comes_back_to_the_bit(tmp_path, dtype):
    rng = np.random.default_rng(0)
    for i, kind in enumerate(KINDS):
        network = network_of(rng, [kind], recurrent=i % 2 == 0, delay=i % 3, dtype=dtype)
        network.save(tmp_path / "a.safetensors")
        assert same(network, fs.Network.load(tmp_path / "a.safetensors"))


@pytest.mark.parametrize(("damage", "words"), DAMAGE, ids=range(len(DAMAGE)))
def test_damaged_files(tmp_path, network, damage, words):
    path = tmp_path / "a.safetensors"
    network.save(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=words):
        fs.Network.load(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        fs.Network.load(tmp_path / "nowhere.safetensors")
    with pytest.raises(FileNotFoundError):
        fs.forward(np.ones((1, 4, 3)), tmp_path / "nowhere.safetensors")


def test_a_pickle_is_not_loaded(tmp_path):
    code = "import pickle, sys; pickle.dump(print, open(sys.argv[1], 'wb'))"
    path = tmp_path / "evil.pkl"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    with pytest.raises(ValueError, match="no safetensors file"):
        fs.Network.load(path)


nan = W.copy()
nan[1, 2] = np.nan

BAD = [
    (lambda: fs.Layer(nan), ValueError, r"the layer's weight holds nan at index \(1, 2\)"),
    (lambda: fs.Readout(W, np.array([0, np.inf, 0])), ValueError, "readout's bias holds inf"),
    (lambda: fs.Layer(W, np.ones(4)), ValueError, r"bias must have shape \(3,\)"),
    (lambda: fs.Layer(W[0]), ValueError, "weight must have axes"),
    (lambda: fs.Layer(np.ones((0, 4))), ValueError, "must not be empty"),
    (lambda: fs.Layer(W.astype(np.float16)), TypeError, "float16"),
    (lambda: fs.Layer([[1.0]]), TypeError, "must be an array"),
    (lambda: fs.Layer(W, beta=1.5), ValueError, r"inside \(0, 1\)"),
    (lambda: fs.Layer(W, beta=np.full(4, 0.5)), ValueError, "one value per neuron"),
    (lambda: fs.Layer(W, threshold=float("inf")), ValueError, "threshold must be a finite number"),
    (lambda: fs.Layer(W, input_scale="none"), ValueError, "'normalised', 'unit'"),
    (lambda: fs.Readout(W, kind="mean"), ValueError, "'sum', 'max'"),
    (lambda: fs.Network((fs.Readout(W),), fs.Readout(W)), TypeError, "expected a Layer"),
    (lambda: fs.Network((), fs.Layer(W)), TypeError, "expected a Readout"),
    (lambda: fs.Network((fs.Layer(W),), fs.Readout(W)), ValueError, "3 neurons .* expects 4"),
    (
        lambda: fs.Network((fs.Layer(W),), fs.Readout(np.ones((2, 3)))),
        TypeError,
        "float32 and layer 1 float64",
    ),
    (lambda: fs.Network((), fs.Readout(W), dt=0), ValueError, "dt must be positive"),
    (lambda: fs.Network.random([5]), ValueError, "at least inputs and classes"),
    (lambda: fs.Network.random([5, 0, 2]), ValueError, "all >= 1"),
    (
        lambda: fs.Network.random([5, 2], tau_readout=-1.0),
        ValueError,
        "tau_readout must be positive",
    ),
]


@pytest.mark.parametrize(("call", "error", "words"), BAD, ids=range(len(BAD)))
def test_bad_parameters(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_a_layer_keeps_the_parameters_of_its_neurons():
    """Numbers become one value per neuron, in the dtype of the weight; delays are whole."""
    kind = fs.Neuron("always", reset="zero", refractory=2, adaptation="current")
    layer = fs.Layer(
        np.ones((3, 4), np.float32),
        neuron=kind,
        recurrent=np.eye(3),
        rho=0.9,
        b=np.arange(3),
        threshold=np.ones(3),
        delay=np.arange(4, dtype=np.uint8),
    )
    for array in (layer.threshold, layer.rho, layer.a, layer.b):
        assert array.shape == (3,)
        assert array.dtype == np.float32
    assert layer.recurrent.dtype == np.float32
    assert layer.delay.dtype == np.int64
    assert not layer.a.any()


def test_every_parameter_of_a_layer_is_mapped():
    kind = fs.Neuron("always", adaptation="current")
    layer = fs.Layer(
        np.ones((3, 4)), neuron=kind, recurrent=np.eye(3), rho=0.9, b=0.1, threshold=np.ones(3)
    )
    network = fs.Network([layer], fs.Readout(np.ones((2, 3)), kind="weighted", gamma=0.98))
    moved = network.mapped(lambda array: array / 2).layers[0]
    for name in ("weight", "beta", "threshold", "recurrent", "rho", "b"):
        np.testing.assert_array_equal(getattr(moved, name), getattr(layer, name) / 2)
    assert moved.neuron == kind


def test_the_kind_of_neuron_is_fastsnn_unless_given():
    assert fs.Layer(np.ones((3, 4))).neuron == fs.Neuron("once", reset="none")
    assert fs.Neuron("always").reset == "subtract"
