"""Which engine computes what: the table of docs/design.md, and what cannot be computed says why."""

from __future__ import annotations

import numpy as np
import pytest

import fastsnn_np as fs
from fastsnn_np import backends

NETWORK = fs.Network.random([12, 30, 8, 3], seed=0)
for _layer in NETWORK.layers:
    _layer.weight[:] *= 6
RNG = np.random.default_rng(0)
TIMES = fs.SpikeTimes(RNG.integers(0, 51, (5, 12)), 50)
DENSE = (RNG.random((5, 12, 50)) < 0.3).astype(np.float32)
FORMS = {
    "SpikeTimes": TIMES,
    "Events": TIMES.to_events(),
    "sparse": TIMES.to_dense(),
    "dense": DENSE,
}

# (backend, form of x) -> what "auto" takes; "sparse" is a dense array with few entries
TABLE = {
    (None, "SpikeTimes"): "event",
    (None, "Events"): "event",
    (None, "sparse"): "dense",
    (None, "dense"): "dense",
    ("numpy", "SpikeTimes"): "event",
    ("numpy", "Events"): "event",
    ("numpy", "sparse"): "dense",
    ("numpy", "dense"): "dense",
    ("numba", "SpikeTimes"): "event",
    ("numba", "Events"): "event",
    ("numba", "sparse"): "event",
    ("numba", "dense"): "dense kernel",
    ("torch", "SpikeTimes"): "event",
    ("torch", "Events"): "event",
    ("torch", "sparse"): "dense",
    ("torch", "dense"): "dense",
}
ROWS = [
    pytest.param(*row, engine, marks=pytest.mark.backend("torch") if row[0] == "torch" else [])
    for row, engine in TABLE.items()
]


@pytest.mark.parametrize(("backend", "form", "engine"), ROWS)
@pytest.mark.parametrize("asked", ["auto", "dense", "event"])
def test_the_table(backend, form, engine, asked):
    """The engine is the one that was asked for, or the table's; the spikes are the same."""
    x = FORMS[form]
    result = fs.forward(x, NETWORK, backend=backend, engine=asked)
    dense = "dense kernel" if backend == "numba" else "dense"
    assert result.engine == {"auto": engine, "dense": dense, "event": "event"}[asked]
    if backend == "torch":
        import torch

        assert isinstance(result.logits, torch.Tensor)
    expected = fs.forward(x, NETWORK, backend="numpy", engine="dense")
    for ours, theirs in zip(result.spike_times, expected.spike_times, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), theirs)
    np.testing.assert_allclose(np.asarray(result.logits), expected.logits, rtol=1e-4, atol=1e-5)


def test_prepare_and_forward_take_the_same():
    """The same table decides wherever a network runs."""
    for x in FORMS.values():
        one = fs.forward(x, NETWORK, backend="numpy")
        other = fs.prepare(NETWORK, backend="numpy")(x)
        (chunk,) = fs.stream(NETWORK, [x], backend="numpy")
        assert one.engine == other.engine == chunk.engine


def test_states_go_from_engine_to_engine():
    """A recording may change the engine between two chunks."""
    whole = fs.forward(DENSE, NETWORK)
    state = None
    for engine, chunk in (("event", DENSE[..., :20]), ("dense", DENSE[..., 20:])):
        run = fs.prepare(NETWORK, backend="numpy", engine=engine, return_state=True)
        state = run(chunk, state).state
    for ours, theirs in zip(state.spike_times, whole.spike_times, strict=True):
        np.testing.assert_array_equal(np.where(ours < 0, 50, ours), theirs)
    np.testing.assert_allclose(state.logits, whole.logits, rtol=1e-4)


def test_explain(caplog):
    """`explain` says which engine was taken and why, without any set-up of logging."""
    with caplog.at_level("WARNING", "fastsnn_np"):
        fs.forward(TIMES, NETWORK, explain=True)
        fs.forward(TIMES, NETWORK, method="fft", explain=True)
        fs.forward(DENSE, NETWORK, backend="numba", explain=True)
        fs.forward(DENSE, explain=True)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "engine 'event': x is sparse"
    assert "'dense': x is sparse, but the event engine cannot take it: method='fft'" in lines[1]
    assert "'dense kernel': x is dense, of density" in lines[2]
    assert "'dense': x is dense" in lines[3]


def test_several_batches_may_take_several_engines():
    x = np.concatenate([np.zeros((2, 12, 50), np.float32), np.ones((2, 12, 50), np.float32)])
    result = fs.forward(x, NETWORK, backend="numba", batch_size=2)
    assert result.engine == "event and dense kernel"


BAD = [
    (lambda: fs.forward(DENSE, NETWORK, engine="sparse"), "engine must be one of 'auto', 'dense'"),
    (lambda: fs.prepare(NETWORK, engine=None), "engine must be one of 'auto', 'dense', 'event'"),
    (lambda: next(fs.stream(NETWORK, [DENSE], engine="x")), "engine must be one of"),
    (
        lambda: fs.forward(TIMES, NETWORK, engine="event", method="fft"),
        "engine='event' cannot compute this: method='fft' is for the dense core; use engine='dense",
    ),
    (lambda: fs.prepare(NETWORK, backend="numpy", engine="event", method="fft"), "cannot compute"),
    (lambda: fs.forward(DENSE, engine="event"), "without a network there are none"),
    (lambda: fs.forward(TIMES, NETWORK, backend="numba", method="fft"), "numba has its own"),
    (lambda: fs.prepare(NETWORK, backend="numba", method="fft"), "numba has its own"),
]


@pytest.mark.parametrize(("call", "words"), BAD, ids=range(len(BAD)))
def test_what_cannot_be_computed(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_another_library_has_no_event_engine(lib):
    """Sparse input is made dense there, on its device; asked for, the engine says where it runs."""
    if lib.name in ("numpy", "torch", "cupy"):
        pytest.skip("the event engine takes these arrays")
    network = NETWORK.mapped(lib.asarray)
    result = fs.forward(TIMES.to_events(), network)
    assert result.engine == "dense"
    expected = fs.forward(TIMES, NETWORK)
    np.testing.assert_array_equal(lib.to_numpy(result.spike_times[0]), expected.spike_times[0])
    with pytest.raises(ValueError, match="NumPy arrays and Torch tensors on the CPU, and these"):
        fs.forward(TIMES.to_events(), network, engine="event")


@pytest.mark.backend("torch")
def test_gradients_are_not_lost():
    """Weights that want a gradient are not given to kernels that would drop it."""
    network = NETWORK.to("torch").mapped(lambda a: a.clone().requires_grad_())
    assert fs.forward(TIMES.to_events(), network).logits.requires_grad
    with pytest.raises(ValueError, match="gradients of the weights are wanted"):
        fs.forward(TIMES.to_events(), network, engine="event")


def test_a_backend_that_fails_to_import_says_so(monkeypatch):
    """Its own error, whatever engine is asked for."""
    monkeypatch.setitem(__import__("sys").modules, "fastsnn_np.backends.cupy", None)
    for engine in ("auto", "event"):
        with pytest.raises(ImportError, match="fastsnn_np.backends.cupy"):
            fs.forward(DENSE, NETWORK, backend="cupy", engine=engine)


def test_a_backend_is_one_typed_record():
    for name in backends.available():
        assert isinstance(backends.get(name), backends.Backend)
