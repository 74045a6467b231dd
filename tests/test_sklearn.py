"""The scikit-learn estimator: its conventions, what it learns, and what it refuses."""

from __future__ import annotations

import pickle
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

import fastsnn_np as fs

pytestmark = pytest.mark.backend("reach")
pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from scipy.special import softmax  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.datasets import load_digits, load_iris  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

from fastsnn_np.sklearn import FastSNNClassifier  # noqa: E402

trains = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
QUICK = {"epochs": 20, "learning_rate": 0.01, "random_state": 0}


@trains
@parametrize_with_checks([FastSNNClassifier(hidden_layer_sizes=(20,), epochs=3, random_state=0)])
def test_estimator(estimator, check):
    """Every check of scikit-learn; none is expected to fail."""
    check(estimator)


@pytest.fixture(scope="module")
def iris():
    return train_test_split(*load_iris(return_X_y=True), random_state=0, stratify=None)


@pytest.fixture(scope="module")
def fitted(iris):
    return FastSNNClassifier(**QUICK).fit(iris[0], iris[2])


@pytest.fixture(scope="module")
def events():
    """Recordings of two classes: one fires early in the first half, the other in the second."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    step, neuron = rng.integers(0, 25, (2, 60, 40))
    neuron = neuron % 10 + 10 * labels[:, None]
    sample = np.repeat(np.arange(60), 40)
    held = fs.Events.from_arrays(step.ravel(), neuron.ravel(), sample, n_neurons=20, n_steps=25)
    return held, np.array(["left", "right"])[labels]


@trains
def test_learns(iris, fitted):
    _, test, _, labels = iris
    assert fitted.score(test, labels) > 0.9
    assert len(fitted.loss_curve_) == 20
    assert fitted.loss_curve_[-1] < 0.5 * fitted.loss_curve_[0]
    x, y = load_digits(return_X_y=True)
    train, test, labels, expected = train_test_split(x, y, random_state=0)
    names = np.array([f"digit {i}" for i in range(10)])
    digits = FastSNNClassifier(epochs=20, random_state=0).fit(train, names[labels])
    assert digits.score(test, names[expected]) > 0.9
    assert set(digits.predict(test)) <= set(names)


@trains
def test_prediction_is_that_of_the_network(iris, fitted):
    spikes = fitted._spikes(iris[1])
    result = fs.forward(spikes, fitted.network_, backend="numba")
    np.testing.assert_array_equal(fitted.predict(iris[1]), fitted.classes_[result.prediction])
    expected = softmax(result.logits.astype(float), axis=1)
    np.testing.assert_allclose(fitted.predict_proba(iris[1]), expected)


@trains
def test_engines(iris, fitted):
    """The engine is that of `forward`; both give the same probabilities, and names are checked."""
    x = iris[1]
    probabilities = []
    for backend, engine in (("numba", "auto"), ("numpy", "event"), ("numpy", "dense")):
        copy = pickle.loads(pickle.dumps(fitted)).set_params(backend=backend, engine=engine)
        probabilities.append(copy.predict_proba(x))
    np.testing.assert_array_equal(probabilities[1], probabilities[0])
    np.testing.assert_allclose(probabilities[2], probabilities[0], atol=1e-4)
    assert (probabilities[2] != probabilities[0]).any()  # another order of sums
    with pytest.raises(ValueError, match="engine must be one of 'auto', 'dense', 'event'"):
        FastSNNClassifier(engine="fast").fit(x, iris[3])


@trains
def test_same_seed_same_network(iris, fitted):
    again = clone(fitted).fit(iris[0], iris[2])
    np.testing.assert_array_equal(again.network_.layers[0].weight, fitted.network_.layers[0].weight)
    other = clone(fitted).set_params(random_state=1).fit(iris[0], iris[2])
    assert (other.network_.layers[0].weight != fitted.network_.layers[0].weight).any()


@trains
def test_predicts_without_torch(iris, fitted, tmp_path):
    """A pickle is of plain arrays: another process predicts from it and never imports Torch."""
    (tmp_path / "c.pickle").write_bytes(pickle.dumps(fitted))
    np.save(tmp_path / "x.npy", iris[1])
    code = (
        "import sys, pickle, numpy as np\n"
        "import fastsnn_np\n"
        "assert 'sklearn' not in sys.modules\n"
        "import fastsnn_np.sklearn\n"
        "assert 'numba' not in sys.modules\n"
        "class NoTorch:\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'torch':\n"
        "            raise ImportError('no Torch here')\n"
        "sys.meta_path.insert(0, NoTorch)\n"
        "classifier = pickle.load(open('c.pickle', 'rb'))\n"
        "np.save('y.npy', classifier.predict_proba(np.load('x.npy')))\n"
        "try:\n"
        "    classifier.fit(np.load('x.npy'), np.arange(len(np.load('x.npy'))) % 2)\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "training needs Torch (no Torch here): pip install 'fastsnn-np[torch]'" in done.stdout
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), fitted.predict_proba(iris[1]))


@trains
def test_grid_search_over_a_pipeline(iris):
    x, _, y, _ = iris
    pipeline = make_pipeline(StandardScaler(), FastSNNClassifier(**{**QUICK, "epochs": 10}))
    grid = {"fastsnnclassifier__learning_rate": [1e-6, 0.01]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(x, y)
    assert search.best_params_ == {"fastsnnclassifier__learning_rate": 0.01}
    assert search.best_score_ > 0.7
    assert len(cross_val_score(pipeline, x, y, cv=2)) == 2


@trains
def test_partial_fit_goes_on(iris):
    """Weights and the optimiser's moments are carried on: call after call, also from a pickle."""
    x, _, y, _ = iris
    one = FastSNNClassifier(**QUICK)
    for _ in range(20):
        one.partial_fit(x, y, classes=[0, 1, 2])
    assert one.score(x, y) > 0.9
    assert len(one.loss_curve_) == 20
    steps = 20 * -(-len(x) // 32)
    assert {float(state["step"]) for state in one._optimiser} == {steps}
    copy = pickle.loads(pickle.dumps(one))
    for classifier in (one, copy):
        classifier.partial_fit(x, y)
    np.testing.assert_array_equal(copy.network_.readout.weight, one.network_.readout.weight)
    assert float(copy._optimiser[0]["step"]) == steps + 4
    fresh = FastSNNClassifier(**QUICK).fit(x, y)
    before = fresh.network_.readout.weight.copy()
    fresh.partial_fit(x[:8], y[:8])
    assert 0 < np.abs(fresh.network_.readout.weight - before).max() < 0.02


@trains
def test_neurons_fire_to_begin_with(rng):
    """Two features are four spikes, too few for the usual weights; silence is left as it is."""
    options = {"hidden_layer_sizes": (50, 40), "epochs": 1, "random_state": 0}
    x, y = rng.random((60, 2)), np.arange(60) % 2
    classifier = FastSNNClassifier(**options, learning_rate=1e-9).fit(x, y)
    for times in fs.forward(classifier._spikes(x), classifier.network_).spike_times:
        assert (times < 100).mean() >= 0.3
    assert np.abs(classifier.network_.layers[0].weight).max() > 0.7  # and the usual ones: 0.5
    silence = fs.Events.from_arrays([], [], n_samples=60, n_neurons=4, n_steps=9)
    with pytest.warns(UserWarning, match="hidden layer 0 is dead"):
        network = FastSNNClassifier(hidden_layer_sizes=50, epochs=1).fit(silence, y).network_
    assert np.abs(network.layers[0].weight).max() <= 0.51


@trains
def test_range_widens(iris):
    x, _, y, _ = iris
    classifier = FastSNNClassifier(**QUICK).partial_fit(x[:10], y[:10], classes=[0, 1, 2])
    classifier.partial_fit(x[10:], y[10:])
    np.testing.assert_array_equal(classifier.feature_range_, [x.min(0), x.max(0)])
    outside = classifier.predict_proba(x + 100)
    np.testing.assert_array_equal(outside, classifier.predict_proba(x.max(0) + 0 * x))


@trains
def test_events(events):
    held, labels = events
    classifier = FastSNNClassifier(**QUICK).fit(held[:40], labels[:40])
    assert classifier.n_features_in_ == 20 and classifier.n_steps_ == 25
    assert classifier.score(held[40:], labels[40:]) == 1
    classifier.partial_fit(held[40:], labels[40:])
    longer = fs.Events.from_arrays([0], [0], n_neurons=20, n_steps=30)
    with pytest.raises(ValueError, match="have 20 neurons and 30 steps.*fitted on 20 and 25"):
        classifier.predict(longer)
    with pytest.raises(ValueError, match="fitted on Events, got an array of features"):
        classifier.predict(np.zeros((2, 20)))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        classifier.fit(held, labels[:5])


@trains
@pytest.mark.parametrize("encoding", ["latency", "linear_latency"])
@pytest.mark.parametrize("on_off", [False, True])
def test_encodings(iris, encoding, on_off):
    x, _, y, _ = iris
    classifier = FastSNNClassifier(**QUICK, encoding=encoding, on_off=on_off).partial_fit(
        x, y, classes=[0, 1, 2]
    )
    assert classifier.network_.sizes == (8 if on_off else 4, 100, 3)
    spikes = classifier._spikes(x)
    assert (spikes.times[:, :4].argmin(0) == x.argmax(0)).all()  # the largest fires first
    if on_off:
        assert (spikes.times[:, 4:].argmin(0) == x.argmin(0)).all()


@trains
def test_refuses(iris, fitted, events):
    x, _, y, _ = iris
    new = FastSNNClassifier(**QUICK)
    with pytest.raises(NotFittedError):
        new.predict(x)
    with pytest.raises(ValueError, match="at least 2 classes, and y holds one class: 7"):
        new.fit(x, np.full(len(x), 7))
    with pytest.raises(ValueError, match="contains NaN"):
        new.fit(np.where(x >= x.max(), np.nan, x), y)
    with pytest.raises(ValueError, match=r"encoding must be one of .* got 'rate'"):
        FastSNNClassifier(encoding="rate").fit(x, y)
    with pytest.raises(ValueError, match="classes must be given in the first call"):
        new.partial_fit(x, y)
    with pytest.raises(ValueError, match="has 3 features, but FastSNNClassifier is expecting 4"):
        fitted.predict(x[:, :3])
    with pytest.raises(ValueError, match="fitted on an array of features, got Events"):
        fitted.predict(events[0])
    copy = pickle.loads(pickle.dumps(fitted))
    with pytest.raises(ValueError, match="has 3 features, but FastSNNClassifier is expecting 4"):
        copy.partial_fit(x[:, :3], y)
    with pytest.raises(
        ValueError, match=r"y holds \[9\], which are not among the classes \[0 1 2\]"
    ):
        copy.partial_fit(x, np.full(len(x), 9))
    with pytest.raises(ValueError, match=r"classes are \[0 1 2\] since the first call"):
        copy.partial_fit(x, y, classes=[0, 1])
