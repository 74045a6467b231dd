"""Networks from and to other formats: what is exact, and files that are refused."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import fastsnn_np as fs
from fastsnn_np import agreement, convert, reference
from fastsnn_np.convert._nir_write import _inhibition
from fastsnn_np.convert._parts import beta_of, tau_of

DTYPES = [np.float32, np.float64]
SCALES = ["unit", "normalised"]
STEPS = 60


def a_network(dtype=np.float32, scale="unit", readout="sum", *, sizes=(20, 40, 30, 5), bias=True):
    """Neurons of many betas, two thresholds, and weights that make half of them fire."""
    rng = np.random.default_rng(0)

    def part(n_in, n_out):
        beta = rng.uniform(0.7, 0.95, n_out).astype(dtype)
        weight = rng.normal(0.1, 0.5, (n_out, n_in)) / (1 if scale == "unit" else 1 - beta[:, None])
        return {
            "weight": weight.astype(dtype),
            "bias": rng.normal(0, 0.01, n_out).astype(dtype) if bias else None,
            "beta": beta,
            "input_scale": scale,
        }

    hidden = [
        fs.Layer(**part(n_in, n_out), threshold=threshold)
        for n_in, n_out, threshold in zip(sizes[:-2], sizes[1:-1], (1.0, 1.5), strict=False)
    ]
    return fs.Network(tuple(hidden), fs.Readout(**part(*sizes[-2:]), kind=readout), dt=0.5)


def an_input(dtype=np.float32, batch=6, inputs=20):
    return (np.random.default_rng(1).random((batch, inputs, STEPS)) < 0.05).astype(dtype)


def arrays_of(network):
    parts = (*network.layers, network.readout)
    return [getattr(part, name) for part in parts for name in ("weight", "bias", "beta")]


W = np.ones((3, 4))
ALWAYS = fs.Layer(W, neuron=fs.Neuron("always"))
NOT_SINGLE_SPIKE = {
    "fires again": fs.Network([ALWAYS], fs.Readout(W[:, :3])),
    "delay": fs.Network([fs.Layer(W, delay=np.arange(4))], fs.Readout(W[:, :3])),
    "weighted": fs.Network([], fs.Readout(W, kind="weighted", gamma=0.9)),
}


@pytest.mark.parametrize("name", NOT_SINGLE_SPIKE)
def test_what_a_format_cannot_say_is_refused(tmp_path, name):
    network = NOT_SINGLE_SPIKE[name]
    for write in (
        lambda path: convert.to_nir(network, path),
        lambda path: convert.to_onnx(network, path, n_steps=5),
        lambda path: convert.quantised(network, 4).save(path),
    ):
        with pytest.raises(ValueError, match="fire once, without delays, and readouts"):
            write(tmp_path / "a")
    assert not (tmp_path / "a").exists()


# --- integers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [2, 4, 8, 9, 16])
@pytest.mark.parametrize("bias", [True, False])
def test_integer_weights(tmp_path, bits, bias):
    network = a_network(bias=bias)
    small = convert.quantised(network, bits)
    most = 2 ** (bits - 1) - 1
    for part, integers, scale, whole in zip(
        (*network.layers, network.readout),
        small.integers,
        small.scales,
        (*small.network.layers, small.network.readout),
        strict=True,
    ):
        assert integers.dtype == (np.int8 if bits <= 8 else np.int16)
        assert np.abs(integers).max() == most
        np.testing.assert_array_equal(whole.weight, integers.astype(np.float32) * scale[:, None])
        rounding = 0.5 * scale[:, None] + 2.0**-22 * np.abs(part.weight)
        assert (np.abs(whole.weight - part.weight) <= rounding).all()
        assert (whole.input_scale, whole.bias is None) == (part.input_scale, not bias)
    small.save(tmp_path / "small.safetensors")
    loaded = convert.Quantised.load(tmp_path / "small.safetensors")
    assert loaded.bits == bits
    for a, b in zip(arrays_of(loaded.network), arrays_of(small.network), strict=True):
        np.testing.assert_array_equal(a, b)
    assert loaded.network.dt == network.dt
    assert [layer.threshold for layer in loaded.network.layers] == [1.0, 1.5]
    assert repr(loaded) == repr(small)
    assert "20-40-30-5" in repr(small)


def test_a_neuron_without_weights_stays_without():
    network = a_network()
    weight = network.readout.weight.copy()
    weight[2] = 0
    bare = fs.Network(network.layers, fs.Readout(weight))
    assert not convert.quantised(bare, 8).integers[-1][2].any()


def test_few_bits_on_the_sample_cost_little():
    """Spikes of integers are those of the reference on the rounded weights."""
    network = convert.quantised(a_network(), 4).network
    x = an_input()
    layer = network.layers[0]
    judge = reference.layer(
        x.astype(np.float64),
        layer.weight.astype(np.float64),
        layer.bias.astype(np.float64),
        beta=layer.beta.astype(np.float64),
        input_scale=layer.input_scale,
        return_potential=True,
    )
    times = fs.forward(x, network, backend="numpy").spike_times[0]
    assert agreement.spike_times(times, judge.potential, dtype=np.float32).ok


BAD_INTEGERS = [
    ("0.integers", lambda a: np.full_like(a, 127), r"0.integers must lie in -7 \.\.\. 7"),
    ("0.integers", lambda a: a.astype(np.float32), "0.integers must be integers"),
    ("1.integers", lambda a: a[0], "1.integers must be integers"),
    ("0.scale", lambda a: a[:3], "each row scaled"),
    ("0.beta", lambda a: a + 1, "beta must lie inside"),
    ("2.integers", None, "it lacks '2.integers'"),
]


@pytest.mark.parametrize(("name", "change", "words"), BAD_INTEGERS, ids=range(len(BAD_INTEGERS)))
def test_damaged_integers(tmp_path, name, change, words):
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file

    path = tmp_path / "small.safetensors"
    convert.quantised(a_network(), 4).save(path)
    arrays = load_file(path)
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    value = arrays.pop(name)
    if change is not None:
        arrays[name] = np.ascontiguousarray(change(value))
    save_file(arrays, path, metadata)
    with pytest.raises(ValueError, match=words):
        convert.Quantised.load(path)


def test_a_network_is_no_quantised_network(tmp_path):
    a_network().save(tmp_path / "network.safetensors")
    with pytest.raises(ValueError, match="no fastsnn_np quantised network"):
        convert.Quantised.load(tmp_path / "network.safetensors")


# --- time constants -----------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["exact", "euler"])
def test_tau_and_back(rule):
    beta = np.concatenate([np.linspace(0.01, 0.999, 500), [1 - 1e-7]])
    np.testing.assert_allclose(beta_of(tau_of(beta, 0.3, rule), 0.3, rule), beta, rtol=1e-14)
    single = beta.astype(np.float32)
    back = beta_of(tau_of(single, 0.3, rule), 0.3, rule).astype(np.float32)
    np.testing.assert_array_equal(back, single)


def test_inhibition_keeps_neurons_silent():
    """The plain loop: driven by all positive weights at every step, none fires again."""
    network = a_network(np.float64, sizes=(20, 40, 5))
    layer = network.layers[0]
    n_steps = 80
    w = _inhibition("layer", layer, n_steps, 1.0)
    current = np.maximum(layer.weight, 0).sum(axis=1) + layer.bias
    fired = np.zeros(40, bool)
    v, last = np.zeros(40), np.zeros(40, bool)
    for _ in range(n_steps):
        v = layer.beta * v + current - w * last
        last = v > layer.threshold
        assert not (last & fired).any()
        fired |= last
        v[last] = 0
    assert fired.any()
    # and half of it would be too little for the slowest to decay
    with pytest.raises(ValueError, match=r"after 2000 steps .*neuron \d+: 0\.\d+"):
        _inhibition("layer", layer, 2000, 1.0)


# --- NIR ----------------------------------------------------------------------------------------


def saved(network, path, *arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        convert.to_nir(network, path, *arguments, **options)
    return path


@pytest.mark.backend("exchange")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("readout", ["sum", "max"])
def test_nir_and_back_is_the_same_network(tmp_path, dtype, scale, readout):
    pytest.importorskip("nir", reason="nir is not installed")
    network = a_network(dtype, scale, readout)
    for n_steps in (None, 50):
        back = convert.from_nir(saved(network, tmp_path / "a.nir", n_steps=n_steps))
        assert (back.dt, back.readout.kind, back.dtype) == (0.5, readout, np.dtype(dtype))
        assert back.readout.input_scale == scale
        assert [layer.threshold for layer in back.layers] == [1.0, 1.5]
        for a, b in zip(arrays_of(back), arrays_of(network), strict=True):
            np.testing.assert_allclose(a, b, rtol=0 if dtype == np.float32 else 1e-14)
        x = an_input(dtype)
        ours, theirs = (fs.forward(x, n, backend="numpy") for n in (network, back))
        for a, b in zip(ours.spike_times, theirs.spike_times, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.backend("exchange")
@pytest.mark.parametrize("dialect", ["snntorch", "norse"])
@pytest.mark.parametrize("scale", SCALES)
def test_dialects_are_the_same_network_in_other_weights(tmp_path, dialect, scale):
    pytest.importorskip("nir", reason="nir is not installed")
    network = a_network(np.float64, scale)
    back = convert.from_nir(saved(network, tmp_path / "a.nir", dialect))
    x = an_input(np.float64)
    ours, theirs = (
        fs.forward(x, n, backend="numpy", return_potential=True) for n in (network, back)
    )
    for a, b in zip(ours.potentials, theirs.potentials, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(theirs.logits, ours.logits, rtol=1e-9)


@pytest.mark.backend("exchange")
def test_nir_files_are_valid_and_say_what_they_are(tmp_path):
    nir = pytest.importorskip("nir", reason="nir is not installed")
    with pytest.warns(UserWarning, match="no neuron that fires once") as caught:
        convert.to_nir(a_network(), tmp_path / "a.nir")
    assert caught[0].filename == __file__
    graph = nir.read(tmp_path / "a.nir")  # with nir's own check of types
    assert graph.metadata["fires"] == "once"
    assert type(graph.nodes["readout_neurons"]) is nir.LI
    lif = graph.nodes["layer_000_neurons"]
    beta = a_network().layers[0].beta.astype(np.float64)
    np.testing.assert_allclose(np.exp(-0.5e-3 / lif.tau), beta, rtol=1e-14)
    np.testing.assert_allclose(lif.r * (1 - beta), 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        convert.to_nir(a_network(), tmp_path / "once.nir", n_steps=40)
    inside = nir.read(tmp_path / "once.nir").nodes["layer_000_neurons"]
    assert set(inside.edges) == {
        ("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output"),
    }  # fmt: skip


def written(path, nodes, edges, metadata=()):
    """A NIR file by h5py alone: nodes as (kind, {name: array})."""
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    with h5py.File(path, "w") as file:
        file["version"] = "1.0"
        root = file.create_group("node")
        root["type"] = "NIRGraph"
        root["edges"] = np.array(edges, dtype=h5py.string_dtype())
        for key, value in dict(metadata).items():
            root[f"metadata/{key}"] = value
        for name, (kind, arrays) in nodes.items():
            root[f"nodes/{name}/type"] = kind
            for key, value in arrays.items():
                root[f"nodes/{name}/{key}"] = value
    return path


def lif(count, **changes):
    tau = np.full(count, 0.01)
    rest = {"r": np.ones(count), "v_leak": np.zeros(count), "v_threshold": np.ones(count)}
    return ("LIF", {"tau": tau, **rest, **changes})


def affine(n_in, n_out, **changes):
    weight = np.random.default_rng(n_in).normal(0.3, 1, (n_out, n_in))
    return ("Affine", {"weight": weight, "bias": np.zeros(n_out), **changes})


NODES = {
    "in": ("Input", {"shape": np.array([4])}),
    "w": affine(4, 3),
    "s": lif(3),
    "v": affine(3, 2),
    "u": ("LI", {"tau": np.full(2, 0.02), "r": np.ones(2), "v_leak": np.zeros(2)}),
    "out": ("Output", {"shape": np.array([2])}),
}
EDGES = [("in", "w"), ("w", "s"), ("s", "v"), ("v", "u"), ("u", "out")]


def test_a_foreign_file(tmp_path):
    nodes = {**NODES, "flat": ("Flatten", {"start_dim": 0, "end_dim": -1})}
    nodes["in"] = ("Input", {"shape": np.array([2, 2])})
    edges = [("in", "flat"), ("flat", "w"), *EDGES[1:]]
    network = convert.from_nir(written(tmp_path / "a.nir", nodes, edges), readout="max")
    assert network.sizes == (4, 3, 2)
    assert (network.readout.kind, network.dt) == ("max", 1.0)
    assert network.layers[0].input_scale == "normalised"  # r = 1
    np.testing.assert_allclose(network.layers[0].beta, np.exp(-0.1))
    by_euler = convert.from_nir(tmp_path / "a.nir", dt=2.0, rule="euler")
    np.testing.assert_allclose(by_euler.layers[0].beta, 1 - 0.2)


def test_thresholds_and_rest_of_their_own(tmp_path):
    """Against the equation of the node itself: tau dv/dt = v_leak - v + r I, fires above theta."""
    rng = np.random.default_rng(0)
    rest, theta = rng.normal(0, 0.3, 30), rng.uniform(0.8, 1.4, 30)
    tau, r = rng.uniform(0.005, 0.02, 30), rng.uniform(5, 9, 30)
    nodes = {
        **NODES,
        "w": affine(4, 30),
        "v": affine(30, 2),
        "s": lif(30, v_leak=rest, v_threshold=theta, tau=tau, r=r),
    }
    network = convert.from_nir(written(tmp_path / "a.nir", nodes, EDGES))
    x = (rng.random((5, 4, 80)) < 0.1).astype(np.float64)
    current = np.einsum("ij,bjt->bit", nodes["w"][1]["weight"], x)
    beta, v = np.exp(-1e-3 / tau), np.tile(rest, (5, 1))
    first = np.full((5, 30), 80)
    for t in range(80):
        v = rest + beta * (v - rest) + (1 - beta) * r * current[..., t]
        first = np.where((v > theta) & (first == 80), t, first)
    found = fs.forward(x, network, backend="numpy").spike_times[0]
    np.testing.assert_array_equal(found, first)
    assert 0.1 < (first < 80).mean() < 0.95


def test_single_numbers_are_those_of_all_neurons(tmp_path):
    """snnTorch and Norse write a scalar for what all neurons share."""
    one = {name: np.float32(value) for name, value in
           (("tau", 0.01), ("r", 1.0), ("v_leak", 0.0), ("v_threshold", 1.0))}  # fmt: skip
    path = written(tmp_path / "a.nir", {**NODES, "s": ("LIF", one)}, EDGES)
    assert convert.from_nir(path).layers[0].beta.shape == (3,)


def test_the_last_neurons_are_the_readout(tmp_path):
    path = written(tmp_path / "a.nir", {**NODES, "u": lif(2)}, EDGES)
    with pytest.warns(UserWarning, match="'u', the last neurons, become the readout") as caught:
        convert.from_nir(path)
    assert caught[0].filename == __file__


def test_seconds_that_were_milliseconds(tmp_path):
    path = written(tmp_path / "a.nir", {**NODES, "s": lif(3, tau=np.full(3, 10.0))}, EDGES)
    with pytest.warns(UserWarning, match=r"'s' has a tau of 10 s, at a step of 1 ms") as caught:
        convert.from_nir(path)
    assert caught[0].filename == __file__


def changed(**nodes):
    return {**NODES, **nodes}


BAD_GRAPHS = [
    (changed(s=("CubaLIF", {})), EDGES, "node 's' is of kind CubaLIF.*known are Affine"),
    (changed(w=("Conv2d", {})), EDGES, "node 'w' is of kind Conv2d"),
    (NODES, [*EDGES[:2], ("s", "w")], "loop, w -> s -> w"),
    (NODES, [*EDGES, ("s", "s")], "'s' feeds 2 nodes"),
    (NODES, [*EDGES, ("s", "u")], "'s' feeds 2 nodes, v, u"),
    (NODES, [("in", "w"), ("w", "s")], "'(v|u|out)' is on no way from the input"),
    (NODES, [*EDGES, ("s", "x")], "an edge of the graph names 'x', no node of it"),
    (changed(extra=("Input", {"shape": [4]})), EDGES, "one Input is wanted, got 2"),
    (
        changed(**{"in": ("Input", {"shape": [8, 4]})}),
        EDGES,
        r"shape \(8, 4\) and 'w' takes 4",
    ),
    (changed(w=affine(4, 3, weight=np.ones((2, 3, 4)))), EDGES, r"'w' must have axes.*\(2, 3, 4\)"),
    (changed(w=affine(4, 3, bias=np.ones(2))), EDGES, r"bias of 'w' must have shape \(3,\), got"),
    (changed(w=("Affine", {"weight": np.ones((3, 4))})), EDGES, "'w', of kind Affine, has no bias"),
    (changed(s=lif(3, tau=np.full((2, 3), 0.01))), EDGES, r"tau of 's' must have one.*\(2, 3\)"),
    (changed(s=lif(3, tau=np.zeros(3))), EDGES, "'s' has a tau that is not positive"),
    (changed(s=lif(3, tau=np.full(3, 1e-6))), EDGES, "'s' has a tau of 0.001 ms.*outside"),
    (changed(s=lif(3, r=np.full(3, np.nan))), EDGES, "r of 's' must hold finite numbers"),
    (changed(s=lif(3, v_leak=np.ones(3))), EDGES, "'s' has a v_threshold that is not above"),
    (changed(v=affine(5, 2)), EDGES, "layer 0 has 3 neurons and layer 1 expects 5"),
    (changed(s=("LI", {})), EDGES, "'s' is LI, which never fires, and not the last"),
    (changed(s=affine(3, 3)), EDGES, "'s' is of kind Affine where LIF or LI is wanted"),
    (NODES, [*EDGES[:3], ("v", "out")], "'u' is on no way"),
    ({k: n for k, n in NODES.items() if k != "u"}, [*EDGES[:3], ("v", "out")], "'v' is the last"),
    ({"in": NODES["in"], "out": NODES["out"]}, [("in", "out")], "no node between"),
    (changed(s=("NIRGraph", {"edges": np.zeros((0, 2))})), EDGES, "'s' is no NIRGraph"),
    (NODES, [], "is on no way from the input"),
    (changed(s=("LIF", {"type2": "x"})), EDGES, "'s', of kind LIF, has no tau"),
]


@pytest.mark.parametrize(("nodes", "edges", "words"), BAD_GRAPHS, ids=range(len(BAD_GRAPHS)))
def test_graphs_that_are_no_networks(tmp_path, nodes, edges, words):
    path = written(tmp_path / "a.nir", nodes, edges)
    with pytest.raises(ValueError, match=words) as caught:
        convert.from_nir(path)
    assert str(path) in str(caught.value)


def test_a_readout_that_does_not_rest_at_zero(tmp_path):
    u = ("LI", {"tau": np.full(2, 0.02), "r": np.ones(2), "v_leak": np.ones(2)})
    with pytest.raises(ValueError, match="'u' rests at v_leak other than 0"):
        convert.from_nir(written(tmp_path / "a.nir", changed(u=u), EDGES))


def test_files_that_are_no_graphs(tmp_path):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    with pytest.raises(FileNotFoundError, match="none.nir"):
        convert.from_nir(tmp_path / "none.nir")
    with pytest.raises(IsADirectoryError, match="this is a folder"):
        convert.from_nir(tmp_path)
    (tmp_path / "text.nir").write_text("hello")
    with pytest.raises(ValueError, match=r"text\.nir is truncated or no HDF5 file"):
        convert.from_nir(tmp_path / "text.nir")
    with h5py.File(tmp_path / "other.nir", "w") as file:
        file["data"] = [1]
    with pytest.raises(ValueError, match="but no NIR graph"):
        convert.from_nir(tmp_path / "other.nir")
    whole = written(tmp_path / "a.nir", NODES, EDGES).read_bytes()
    (tmp_path / "cut.nir").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut\.nir"):
        convert.from_nir(tmp_path / "cut.nir")
    linked = written(tmp_path / "link.nir", NODES, EDGES)
    with h5py.File(linked, "a") as file:
        del file["node/nodes/w/weight"]
        file["node/nodes/w/weight"] = h5py.ExternalLink(str(tmp_path / "a.nir"), "/node")
    with pytest.raises(ValueError, match="'weight' is a link to another place"):
        convert.from_nir(linked)
    with h5py.File(linked, "a") as file:
        del file["node/nodes/w/weight"]
        file.create_dataset("node/nodes/w/weight", (10**6, 10**6), np.float64, chunks=True)
    with pytest.raises(ValueError, match="'weight' declares more than the file holds"):
        convert.from_nir(linked)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"dialect": "sinabs"}, ValueError, "dialect must be one of.*got 'sinabs'"),
        ({"rule": "heun"}, ValueError, "rule must be one of 'exact', 'euler', got 'heun'"),
        ({"readout": "mean"}, ValueError, "readout must be one of.*got 'mean'"),
        ({"dt": 0}, ValueError, "dt must be positive and finite"),
    ],
)
def test_bad_options(tmp_path, options, error, words):
    path = written(tmp_path / "a.nir", NODES, EDGES)
    with pytest.raises(error, match=words):
        convert.from_nir(path, **options)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((5, "a.nir"), TypeError, "network must be a Network, got 5"),
        ((a_network(), None), TypeError, "path must be a str"),
        ((a_network(), "a.nir", "nengo"), ValueError, "dialect must be one of.*got 'nengo'"),
    ],
)
def test_bad_arguments_of_writers(arguments, error, words):
    with pytest.raises(error, match=words):
        convert.to_nir(*arguments)


def test_bad_inhibition():
    for options, words in (
        ({"n_steps": 0}, "n_steps must be a whole number of at least 1, got 0"),
        ({"n_steps": 9, "largest_input": -1}, "largest_input must be positive.*got -1"),
    ):
        with pytest.raises(ValueError, match=words):
            convert.to_nir(a_network(), "a.nir", **options)
    with pytest.raises(ValueError, match="Norse reads none"):
        convert.to_nir(a_network(), "a.nir", "norse", n_steps=9)
    with pytest.raises(ValueError, match="n_steps must be"):
        convert.to_onnx(a_network(), "a.onnx", 0)
    with pytest.raises(TypeError, match="network must be a Network"):
        convert.to_onnx("a", "a.onnx", 9)
    for bits in (1, 17, 4.0, True):
        with pytest.raises(ValueError, match="bits must be a whole number of at least 2 and below"):
            convert.quantised(a_network(), bits)


# --- ONNX ---------------------------------------------------------------------------------------


@pytest.mark.backend("exchange")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("steps", [1, 7, 32, 33, 101, 1100])
def test_onnx_computes_the_dense_engine(tmp_path, dtype, scale, steps):
    """Any batch, one block and three levels of blocks."""
    pytest.importorskip("onnx", reason="onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    readout = "max" if steps % 2 else "sum"
    network = a_network(dtype, scale, readout, sizes=(20, 40, 30, 5), bias=steps != 32)
    convert.to_onnx(network, tmp_path / "a.onnx", steps)
    session = runtime.InferenceSession(tmp_path / "a.onnx")
    for batch in (1, 5):
        x = (np.random.default_rng(2).random((batch, 20, steps)) < 0.1).astype(dtype)
        logits, *times = session.run(None, {"x": x})
        ours = fs.forward(x, network, backend="numpy", engine="dense")
        tolerance = 1e-5 if dtype == np.float32 else 1e-12
        size = np.abs(ours.logits).max()
        np.testing.assert_allclose(logits, ours.logits, atol=tolerance * max(size, 1))
        given = x
        for layer, found in zip(network.layers, times, strict=True):
            judge = reference.layer(
                given.astype(np.float64),
                layer.weight.astype(np.float64),
                None if layer.bias is None else layer.bias.astype(np.float64),
                beta=layer.beta.astype(np.float64),
                threshold=layer.threshold,
                input_scale=layer.input_scale,
                return_potential=True,
            )
            same = agreement.spike_times(
                found.astype(np.int32), judge.potential, dtype=dtype, threshold=layer.threshold
            )
            assert same.different == 0, same
            given = fs.SpikeTimes(found, steps).to_dense()
