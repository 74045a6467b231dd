"""A single-spike network as a scikit-learn classifier; training it needs Torch."""

# ruff: noqa: N803, N806 (X is scikit-learn's name for the samples)

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from ._checks import check_option, flag, is_whole
from ._engine import EngineName
from ._forward import prepare
from ._namespace import said
from .encoding import latency, linear_latency
from .network import TAU_HIDDEN, TAU_READOUT, Network
from .spikes import Events, SpikeTimes

__all__ = ["FastSNNClassifier"]

Encoding = Literal["latency", "linear_latency"]
ENCODINGS: dict[str, Callable[..., SpikeTimes]] = {
    "latency": latency,
    "linear_latency": linear_latency,
}
_SEEDS = 2**31 - 1
_SOME = 256  # samples, by which the first weights are scaled
_AWAKE = 0.3  # fraction of a layer's neurons and of these samples that fire to begin with


class FastSNNClassifier(ClassifierMixin, BaseEstimator):
    """Neurons that fire at most once, as a scikit-learn classifier.

    Features are scaled to [0, 1] by their smallest and largest values in `fit`, and each becomes
    an input neuron that fires earlier the larger the value p is, and another one for 1 - p, since
    the first is silent where p is small. Recorded `Events` are taken as they are.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int
        Neurons of each hidden layer.
    epochs, batch_size : int
        Passes over the samples in `fit`, and samples per step of the optimiser, Adam.
    learning_rate : float
    encoding : {"latency", "linear_latency"}
        The function of `fastsnn_np.encoding` that turns scaled features into spike times.
    on_off : bool
        Whether there is the second neuron, for 1 - p. Few features need it, images do not.
    n_steps : int
        Time steps of 1 ms; `Events` bring their own number.
    tau, tau_readout : float
        Time constants in ms from which those of the hidden layers and of the readout are learnt.
    backend : str
        The backend of `fastsnn_np.forward` that predicts, on NumPy arrays: "numba" or "numpy".
    engine : {"auto", "dense", "event"}
        How it computes there, see `fastsnn_np.forward`.
    random_state : int, RandomState instance or None
        Decides the initial weights and the order of the samples.

    Attributes
    ----------
    classes_ : array (classes,)
    n_features_in_ : int
        Features, or input neurons of the events.
    n_steps_ : int
        Time steps.
    network_ : fastsnn_np.Network
        What was trained, of NumPy arrays: it predicts without Torch.
    feature_range_ : array (2, features) or None
        Smallest and largest value of each feature; None after `fit` on events.
    loss_curve_ : list of float
        Mean loss of each epoch, and of each call of `partial_fit`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = FastSNNClassifier(random_state=0).fit(X, y)
    >>> classifier.score(X, y) > 0.9
    True
    """

    feature_range_: Any  # set where training begins, and None for events

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        *,
        epochs: int = 50,
        batch_size: int = 32,
        learning_rate: float = 3e-3,
        encoding: str = "latency",
        on_off: bool = True,
        n_steps: int = 100,
        tau: float = TAU_HIDDEN,
        tau_readout: float = TAU_READOUT,
        backend: str = "numba",
        engine: EngineName = "auto",
        random_state: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.encoding = encoding
        self.on_off = on_off
        self.n_steps = n_steps
        self.tau = tau
        self.tau_readout = tau_readout
        self.backend = backend
        self.engine = engine
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> FastSNNClassifier:
        """Train a new network.

        Parameters
        ----------
        X : array (samples, features) or Events
            Finite numbers.
        y : array (samples,)
            Classes, of any type; at least two of them.

        Raises
        ------
        ImportError
            If Torch is not installed.
        ValueError
            If a value is NaN or infinite, there is a single class, or a parameter is out of range.
        """
        self._check_parameters()
        X, y = self._checked(X, y, reset=True)
        self._start(X, np.unique(y))
        self._train(X, y, self.epochs)
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> FastSNNClassifier:
        """Train one epoch on these samples, going on from where the last call, or `fit`, ended.

        The range that features are scaled by widens as larger and smaller values come in.

        Parameters
        ----------
        X, y
            As in `fit`.
        classes : array (classes,)
            All classes there will be; needed in the first call, later ones may repeat it.
        """
        self._check_parameters()
        first = "network_" not in vars(self)
        X, y = self._checked(X, y, reset=first)
        if classes is None:
            if first:
                raise ValueError("classes must be given in the first call of partial_fit")
            classes = self.classes_
        classes = np.unique(classes)
        if not first and not np.array_equal(classes, self.classes_):
            raise ValueError(f"classes are {self.classes_} since the first call, got {classes}")
        strangers = np.setdiff1d(y, classes)
        if strangers.size:
            raise ValueError(f"y holds {strangers}, which are not among the classes {classes}")
        if first:
            self._start(X, classes)
        if self.feature_range_ is not None:
            self.feature_range_ = _range(np.vstack([self.feature_range_, X]))
        self._train(X, y, epochs=1)
        return self

    def predict(self, X: Any) -> Any:
        """The most probable class of each sample."""
        logits = self._logits(X)
        return self.classes_[logits.argmax(axis=1)]

    def predict_proba(self, X: Any) -> Any:
        """Softmax of the logits: float64 (samples, classes), in the order of ``classes_``."""
        logits = self._logits(X).astype(np.float64)
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        return weights / weights.sum(axis=1, keepdims=True)

    def _logits(self, X: Any) -> Any:
        check_is_fitted(self, "network_")
        self._check_parameters()
        _check_samples(X)
        if not isinstance(X, Events):
            X = validate_data(self, X, dtype=np.float64, reset=False)
        self._check_form(X)
        run = prepare(self.network_, backend=self.backend, engine=self.engine)
        return run(self._spikes(X)).logits

    def _checked(self, X: Any, y: Any, *, reset: bool) -> Any:
        """Samples, float64 or `Events`, and labels; `reset` where what is new sets the form."""
        _check_samples(X)
        if not isinstance(X, Events):
            X, y = validate_data(self, X, y, dtype=np.float64, reset=reset)
        else:
            y = column_or_1d(y)
            check_consistent_length(X, y)
        check_classification_targets(y)
        if reset:
            events = isinstance(X, Events)
            self.n_features_in_ = X.n_neurons if events else X.shape[1]
            self.n_steps_ = X.n_steps if events else self.n_steps
            self.feature_range_ = None if events else _range(X)
        else:
            self._check_form(X)
        return X, y

    def _check_parameters(self) -> None:
        """Refuse parameters that `fit` of a network, which checks the others, does not know."""
        sizes = np.atleast_1d(np.asarray(self.hidden_layer_sizes, dtype=object)).tolist()
        if not all(is_whole(size) and 1 <= size < 2**31 for size in sizes):
            raise ValueError(
                "hidden_layer_sizes must be a whole number of at least 1 and below 2^31, or "
                f"several, got {said(self.hidden_layer_sizes)}"
            )
        check_option("encoding", self.encoding, Encoding)
        flag("on_off", self.on_off)
        check_option("backend", self.backend, Literal["numba", "numpy"])
        check_option("engine", self.engine, EngineName)
        try:
            check_random_state(self.random_state)
        except ValueError as error:
            raise ValueError(
                f"random_state must be a whole number of at least 0, a numpy.random.RandomState or "
                f"None, got {said(self.random_state)}"
            ) from error

    def _check_form(self, X: Any) -> None:
        """Refuse events after features, features after events, and events of another shape."""
        events = isinstance(X, Events)
        if events != (self.feature_range_ is None):
            forms = ("Events", "an array of features")
            wanted, came = forms if self.feature_range_ is None else forms[::-1]
            raise ValueError(f"this classifier was fitted on {wanted}, got {came}")
        if events and (X.n_neurons, X.n_steps) != (self.n_features_in_, self.n_steps_):
            raise ValueError(
                f"Events have {X.n_neurons} neurons and {X.n_steps} steps, and this classifier "
                f"was fitted on {self.n_features_in_} and {self.n_steps_}"
            )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # a check wants 0.83 of blobs in two features, which are four spikes: defaults reach 0.87,
        # and fewer epochs or neurons do not
        tags.classifier_tags.poor_score = True
        return tags

    def _start(self, X: Any, classes: Any) -> None:
        """A new network whose neurons fire for X, and an optimiser that knows nothing."""
        if len(classes) < 2:
            raise ValueError(
                f"a classifier needs at least 2 classes, and y holds one class: {classes[0]}"
            )
        _fit_network()  # what fails before a network is there leaves no half-fitted classifier
        self.classes_ = classes
        pair = 2 if self.on_off and self.feature_range_ is not None else 1
        self._random = check_random_state(self.random_state)
        network = Network.random(
            (pair * self.n_features_in_, *np.atleast_1d(self.hidden_layer_sizes), len(classes)),
            seed=self._random.randint(_SEEDS),
            tau=self.tau,
            tau_readout=self.tau_readout,
        )
        self.network_ = _awake(network, self._spikes(X[:_SOME]), self.backend, self.engine)
        self._optimiser: Any = None
        self.loss_curve_: list[float] = []

    def _train(self, X: Any, y: Any, epochs: int) -> None:
        self.network_, self._optimiser, history = _fit_network()(
            self.network_,
            self._spikes(X),
            np.searchsorted(self.classes_, y),
            state=self._optimiser,
            epochs=epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            seed=int(self._random.randint(_SEEDS)),
        )
        self.loss_curve_ += [record["loss"] for record in history]

    def _spikes(self, X: Any) -> SpikeTimes | Events:
        if self.feature_range_ is None:
            events: Events = X
            return events
        low, high = self.feature_range_
        span = np.where(high > low, high - low, 1)  # a feature that never changes says nothing
        scaled = np.clip((X - low) / span, 0, 1)
        if self.on_off:
            scaled = np.concatenate([scaled, 1 - scaled], axis=1)
        # an axis of its own: as many samples as features are no square image
        return ENCODINGS[self.encoding](scaled[:, None], n_steps=self.n_steps_)


def _check_samples(X: Any) -> None:
    """Refuse what scikit-learn would take for one number, or not know at all."""
    if X is None or isinstance(X, (str, bytes, Network, SpikeTimes)):
        came = "SpikeTimes: to_events() makes Events" if isinstance(X, SpikeTimes) else said(X)
        raise TypeError(f"X must be an array (samples, features) or Events, got {came}")


def _range(X: Any) -> Any:
    return np.array([X.min(axis=0), X.max(axis=0)])


def _awake(network: Network, x: SpikeTimes | Events, backend: str, engine: EngineName) -> Network:
    """Hidden weights raised by half until enough neurons fire: the silent ones hardly learn.

    The usual weights are right for hundreds of inputs, and a table may have two.
    """
    layers = list(network.layers)
    for i, layer in enumerate(network.layers):
        for _ in range(20):
            raised = Network(tuple(layers), network.readout)
            times = prepare(raised, backend=backend, engine=engine)(x).spike_times
            if np.mean(times[i] < x.n_steps) >= _AWAKE:
                break
            layers[i] = replace(layers[i], weight=1.5 * layers[i].weight)
        else:
            layers[i] = layer  # nothing comes in, so nothing helps
    return Network(tuple(layers), network.readout)


def _fit_network() -> Any:
    try:
        from .torch.training.estimator import fit_network
    except ImportError as error:
        raise ImportError(
            f"training needs Torch ({error}): pip install 'fastsnn-np[torch]'"
        ) from error
    return fit_network
