"""Spikes as guests of scikit-learn, SciPy, Torch, Dask and pickle, and theirs as guests here."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import fastsnn_np as fs
from fastsnn_np import Events, SpikeTimes

NETWORK = fs.Network.random([4, 3, 2], seed=0).mapped(lambda a: a * 3 if a.ndim == 2 else a)


@pytest.fixture
def dense(rng):
    dense = (rng.random((7, 4, 9)) < 0.2) * rng.standard_normal((7, 4, 9))
    dense[3] = 0
    return dense


def forms(dense):
    """Events with values and without, and spike times, each with the dense array it is."""
    ones = (dense != 0).astype(np.float64)
    first = ones * (np.cumsum(ones, axis=-1) == 1)
    return [
        (Events.from_dense(dense), dense),
        (Events.from_dense(ones), ones),
        (SpikeTimes.from_dense(first), first),
    ]


# --- indexing and joining -----------------------------------------------------------------------

MASK = np.array([True, False, True, True, False, False, True])
INDICES = [
    slice(1, 4), slice(None, None, 2), slice(None, None, -1), slice(-3, None), slice(9, 12),
    [4, 0, 4], [-1, -7], [], np.array([5], np.uint8), np.array([-2, 3]), range(3),
    MASK, MASK.tolist(), ~MASK & MASK, (np.array([2, 1]), ...), (slice(0, 2), ...), (MASK, ...),
]  # fmt: skip


@pytest.mark.parametrize("index", INDICES, ids=lambda index: repr(index)[:30])
def test_samples_are_chosen_as_in_numpy(dense, index):
    plain = np.asarray(index, int) if isinstance(index, list) and not index else index
    plain = list(plain) if isinstance(plain, range) else plain
    for spikes, whole in forms(dense):
        chosen = spikes[index]
        assert type(chosen) is type(spikes)
        assert chosen.shape == whole[plain].shape
        np.testing.assert_array_equal(chosen.to_dense(dtype=np.float64), whole[plain])


BAD_INDICES = [
    ([7], IndexError, r"must lie in 0 \.\.\. 6"),
    ([-8], IndexError, "must lie in"),
    (MASK[:3], IndexError, r"one boolean per sample, shape \(7,\), got shape \(3,\)"),
    ([1.5], TypeError, "integers"),
    ([[1, 2]], TypeError, "along one axis"),
    (2, TypeError, r"no batch axis: index with \[2 : 2 \+ 1\]"),
    (np.int64(2), TypeError, "no batch axis"),
    ("a", TypeError, "by a slice, integers or booleans"),
    (None, TypeError, "by a slice, integers or booleans"),
    ((0, 1), TypeError, "along the batch alone"),
    ((slice(None), 1), TypeError, "along the batch alone"),
]


@pytest.mark.parametrize(("index", "error", "words"), BAD_INDICES, ids=range(len(BAD_INDICES)))
def test_bad_indices(dense, index, error, words):
    for spikes, _ in forms(dense):
        with pytest.raises(error, match=words):
            spikes[index]


def test_indexing_in_any_library(lib):
    spikes = SpikeTimes(lib.asarray(np.arange(12).reshape(4, 3)), 12)
    for index in ([3, -4], np.array([True, False, True, False]), slice(None, None, -2)):
        expected = np.arange(12).reshape(4, 3)[index]
        np.testing.assert_array_equal(lib.to_numpy(spikes[index].times), expected)


def test_joining_what_was_cut(dense):
    for spikes, whole in forms(dense):
        joined = type(spikes).concatenate([spikes[:2], spikes[2:2], spikes[2:], spikes[[0]]])
        np.testing.assert_array_equal(
            joined.to_dense(dtype=np.float64), np.concatenate([whole, whole[:1]])
        )
        np.testing.assert_array_equal(
            type(spikes).concatenate(iter([spikes])).to_dense(dtype=np.float64), whole
        )
    events, ones = forms(dense)[0][0], forms(dense)[1][0]
    both = Events.concatenate([events, ones])  # sizes beside none
    Events(both.indptr, both.indices, both.n_neurons, both.values)
    np.testing.assert_array_equal(both[7:].to_dense(), ones.to_dense())


BAD_PARTS = [
    (Events, lambda e, s: [], ValueError, "at least one Events"),
    (SpikeTimes, lambda e, s: [], ValueError, "at least one SpikeTimes"),
    (Events, lambda e, s: [e, s], TypeError, r"parts\[1\] must be Events, got SpikeTimes"),
    (SpikeTimes, lambda e, s: [s, s.times], TypeError, r"parts\[1\] must be SpikeTimes"),
    (Events, lambda e, s: 5, TypeError, "sequence of Events, got int"),
    (
        SpikeTimes,
        lambda e, s: [s, SpikeTimes(s.times, 10)],
        ValueError,
        r"parts\[0\] has \(4, 9\) and parts\[1\] has \(4, 10\)",
    ),
]


@pytest.mark.parametrize(("kind", "parts", "error", "words"), BAD_PARTS, ids=range(len(BAD_PARTS)))
def test_bad_parts(dense, kind, parts, error, words):
    (events, _), _, (spikes, _) = forms(dense)
    with pytest.raises(error, match=words):
        kind.concatenate(parts(events, spikes))


@pytest.mark.backend("strict")
def test_parts_of_two_devices():
    strict = pytest.importorskip("array_api_strict", reason="array_api_strict is not installed")
    parts = [
        SpikeTimes(strict.zeros((1, 2), dtype=strict.int32, device=strict.Device(name)), 5)
        for name in ("CPU_DEVICE", "device1")
    ]
    with pytest.raises(ValueError, match="nothing is moved silently"):
        SpikeTimes.concatenate(parts)


# --- scikit-learn -------------------------------------------------------------------------------


@pytest.mark.backend("reach")
def test_train_test_split(dense):
    sklearn = pytest.importorskip("sklearn.model_selection", reason="scikit-learn is missing")
    for spikes, whole in forms(dense):
        train, test, a, b = sklearn.train_test_split(spikes, np.arange(7), random_state=0)
        for part, numbers in ((train, a), (test, b)):
            np.testing.assert_array_equal(part.to_dense(dtype=np.float64), whole[numbers])


@pytest.mark.backend("reach")
def test_resampled_and_indexed_by_scikit_learn(dense):
    utils = pytest.importorskip("sklearn.utils", reason="scikit-learn is not installed")
    from sklearn.utils.validation import _num_samples, check_consistent_length, indexable

    for spikes, whole in forms(dense):
        assert _num_samples(spikes) == 7
        check_consistent_length(spikes, whole)
        assert indexable(spikes)[0] is spikes
        for index in (np.array([1, 5]), MASK, [2, 0], slice(1, 3), MASK.tolist()):
            chosen = utils._safe_indexing(spikes, index)
            np.testing.assert_array_equal(chosen.to_dense(dtype=np.float64), whole[index])
        assert len(utils.resample(spikes, n_samples=20, random_state=0)) == 20
        assert len(utils.shuffle(spikes, random_state=0)) == 7


@pytest.mark.backend("reach")
def test_events_are_cross_validated(rng):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    pytest.importorskip("torch", reason="training needs Torch")
    from sklearn.model_selection import GridSearchCV, cross_val_score

    from fastsnn_np.sklearn import FastSNNClassifier

    y = np.arange(60) % 2
    dense = rng.random((60, 8, 20)) < np.where(np.arange(8) % 2 == y[:, None], 0.3, 0.02)[..., None]
    events = Events.from_dense(dense)
    classifier = FastSNNClassifier((12,), epochs=15, random_state=0)
    scores = cross_val_score(classifier, events, y, cv=3, error_score="raise")
    assert scores.mean() > 0.8
    search = GridSearchCV(classifier, {"tau": np.arange(5, 15, 5)}, cv=2, error_score="raise")
    assert search.fit(events, y).best_score_ > 0.7


@pytest.mark.backend("reach")
def test_as_many_samples_as_features_are_no_image(rng):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    pytest.importorskip("torch", reason="training needs Torch")
    from fastsnn_np.sklearn import FastSNNClassifier

    x, y = rng.random((32, 16)), np.arange(32) % 2  # 32 neurons, on and off
    classifier = FastSNNClassifier((4,), epochs=1, random_state=0).fit(x, y)
    assert classifier.predict(x).shape == (32,)


@pytest.mark.backend("reach")
def test_spike_times_are_cross_validated(rng):
    """By an estimator of the user's own: what splits and scores is scikit-learn's."""
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.model_selection import cross_val_predict, cross_val_score

    class Nearest(ClassifierMixin, BaseEstimator):
        def fit(self, x, y):
            assert isinstance(x, SpikeTimes)
            self.classes_ = np.unique(y)
            self.means_ = np.stack([x.times[y == c].mean(axis=0) for c in self.classes_])
            return self

        def predict(self, x):
            far = np.abs(x.times[:, None] - self.means_).sum(axis=-1)
            return self.classes_[far.argmin(axis=1)]

    y = np.arange(40) % 2
    x = SpikeTimes(rng.integers(0, 10, (40, 6)) + 10 * y[:, None], 20)
    assert cross_val_score(Nearest(), x, y, cv=4, error_score="raise").mean() == 1
    np.testing.assert_array_equal(cross_val_predict(Nearest(), x, y, cv=4), y)


# --- sparse arrays ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["coo", "csr", "csc", "lil", "dok"])
def test_sparse_arrays_of_scipy(dense, kind):
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
    make = getattr(sparse, f"{kind}_array")
    matrix = getattr(sparse, f"{kind}_matrix")
    for form in (make, matrix):
        events = Events.from_sparse([form(sample) for sample in dense])
        np.testing.assert_array_equal(events.to_dense(dtype=np.float64), dense)
    ones = Events.from_sparse([make(sample != 0) for sample in dense])
    assert ones.values is None
    np.testing.assert_array_equal(ones.to_dense(), dense != 0)


def test_a_sparse_array_of_three_axes(dense):
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
    if not hasattr(sparse.coo_array([1]), "coords"):
        pytest.skip("SciPy before 1.13 has sparse arrays of two axes alone")
    try:
        whole = sparse.coo_array(dense)
    except (TypeError, ValueError):
        pytest.skip("SciPy before 1.15 has sparse arrays of two axes alone")
    np.testing.assert_array_equal(Events.from_sparse(whole).to_dense(dtype=np.float64), dense)
    entries = ([2.0, 3.0, 0.0], ([1, 1, 2], [1, 1, 3], [4, 4, 5]))
    repeated = Events.from_sparse(sparse.coo_array(entries, shape=(7, 4, 9)))
    assert repeated.n_events == 2 and repeated.to_dense()[1, 1, 4] == 5


@pytest.mark.backend("torch")
def test_sparse_tensors(dense):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    whole = torch.from_numpy(dense)
    for x in (whole.to_sparse(), whole.float().to_sparse(), whole.requires_grad_().to_sparse()):
        events = Events.from_sparse(x)
        np.testing.assert_array_equal(
            events.to_dense(dtype=np.float64), x.detach().to_dense().numpy()
        )
    with pytest.raises(ValueError, match="all three axes, got 2 sparse axes"):
        Events.from_sparse(whole.detach().to_sparse(2))
    x = whole.detach().to_sparse()
    for call in (
        lambda: fs.forward(x, NETWORK),
        lambda: fs.forward(x, NETWORK, backend="numpy"),
        lambda: fs.currents(x, torch.ones(3, 4)),
        lambda: Events.from_dense(x),
        lambda: SpikeTimes.from_dense(x),
    ):
        with pytest.raises(TypeError, match=r"sparse tensor, of layout .*Events.from_sparse"):
            call()


def test_what_is_sparse_gets_a_sentence(dense):
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
    sample = sparse.csr_array(dense[0])
    for call in (
        lambda: fs.forward(sample, NETWORK),
        lambda: fs.forward(sample, NETWORK, backend="numpy"),
        lambda: fs.currents(sample, np.ones((3, 4))),
        lambda: Events.from_dense(sample),
        lambda: SpikeTimes.from_dense(sample),
    ):
        with pytest.raises(TypeError, match=r"scipy.sparse.*Events.from_sparse\(\.\.\.\)"):
            call()
    for x, error, words in (
        (sample, ValueError, "a sequence of .neurons, time., one per sample"),
        ([sample, sparse.csr_array(dense[0, :2])], ValueError, "all of one shape"),
        ([dense[0]], TypeError, "got list"),
        (dense, TypeError, "got ndarray"),
        ([], TypeError, "got list"),
        ([sample * 1j], TypeError, "real numbers"),
    ):
        with pytest.raises(error, match=words):
            Events.from_sparse(x)


# --- Dask ---------------------------------------------------------------------------------------


@pytest.mark.backend("reach")
def test_dask_arrays_are_sent_to_bulk(dense):
    da = pytest.importorskip("dask.array", reason="dask[array] is not installed")
    x = da.from_array(dense, chunks=(2, -1, -1))
    for call in (
        lambda: fs.forward(x, NETWORK),
        lambda: fs.forward(x, NETWORK, backend="numpy"),
        lambda: fs.forward(x),
        lambda: fs.prepare(NETWORK, backend="numpy")(x),
        lambda: fs.layer(x, beta=0.5),
        lambda: fs.encoding.latency(x),
        lambda: Events.from_dense(x),
        lambda: next(fs.stream(NETWORK, [x], backend="numpy")),
        lambda: next(fs.bulk.forward_iter(NETWORK, [x], backend="numpy")),
    ):
        with pytest.raises(TypeError, match=r"Dask array: fastsnn_np.bulk.forward_blocks\(x, net"):
            call()


def test_the_options_of_forward_iter_are_checked_when_it_is_called():
    for options, words in (
        ({"layout": "ntb"}, "layout must be one of"),
        ({"layout": 3}, "layout must be one of"),
        ({"engine": "fast"}, "engine must be one of"),
        ({"backend": "numpyy"}, "no backend"),
    ):
        with pytest.raises(ValueError, match=words):
            fs.bulk.forward_iter(NETWORK, [], **{"backend": "numpy", **options})
    with pytest.raises(TypeError, match="check_finite must be True or False"):
        fs.bulk.forward_iter(NETWORK, [], backend="numpy", check_finite="yes")


# --- pickles ------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"return_potential": True, "return_state": True}])
def test_prepared_networks_are_pickled(dense, options):
    for engine in ("dense", "event"):
        run = fs.prepare(NETWORK, backend="numpy", engine=engine, **options)
        expected = run(dense)
        for other in (pickle.loads(pickle.dumps(run)), copy.deepcopy(run), copy.copy(run)):
            assert other.options == run.options
            got = other(dense)
            assert got.engine == expected.engine
            np.testing.assert_array_equal(got.logits, expected.logits)
            assert (got.state is None) == (expected.state is None)


@pytest.mark.backend("torch")
def test_prepared_networks_of_torch_are_pickled(dense):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    run = fs.prepare(NETWORK, backend="torch", device=torch.device("cpu"))
    other = pickle.loads(pickle.dumps(run))
    assert torch.equal(other(dense).logits, run(dense).logits)


def test_spikes_are_pickled(dense):
    for spikes, whole in forms(dense):
        other = pickle.loads(pickle.dumps(spikes))
        np.testing.assert_array_equal(other.to_dense(dtype=np.float64), whole)


# --- Torch objects where NumPy's are meant ------------------------------------------------------


@pytest.mark.backend("torch")
def test_torch_objects_where_numpys_are_meant(dense):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    cpu = torch.device("cpu")
    for backend in ("numpy", "numba"):
        assert isinstance(
            fs.forward(dense, NETWORK, backend=backend, device=cpu).logits, np.ndarray
        )
    assert isinstance(NETWORK.to("numpy", cpu).readout.weight, np.ndarray)
    with pytest.raises(ValueError, match="NumPy arrays live on 'cpu', not on device"):
        NETWORK.to("numpy", torch.device("meta"))
    (events, _), _, (spikes, whole) = forms(dense)
    same = Events(*[torch.from_numpy(a) for a in (events.indptr, events.indices)], 4)
    assert isinstance(same.indptr, np.ndarray)
    numbers = [torch.tensor([1, 0]), torch.tensor([0, 3])]
    made = Events.from_arrays(*numbers, values=torch.ones(2), n_neurons=4, n_steps=2)
    assert made.indices.tolist() == [3, 0]
    for index in (torch.tensor([4, 0]), torch.tensor(MASK)):
        np.testing.assert_array_equal(
            spikes[index].to_dense(dtype=np.float64), whole[index.numpy()]
        )
        np.testing.assert_array_equal(events[index].to_dense(), events[index.numpy()].to_dense())
    labels = torch.tensor([0, 1])
    assert fs.metrics.confusion_matrix(labels, labels, 2).tolist() == [[1, 0], [0, 1]]


@pytest.mark.backend("torch")
def test_a_device_that_is_not_there():
    pytest.importorskip("torch", reason="torch is not installed")
    for device in ("gpu", "cuda:99", 3.5, [1]):
        with pytest.raises(ValueError, match=r"device=.* cannot be used: "):
            fs.prepare(NETWORK, backend="torch", device=device)
