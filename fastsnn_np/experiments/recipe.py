"""Recipes: everything that a training run needs to know, as one small validated file."""

from __future__ import annotations

import os
import tomllib
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from .._checks import fraction, nearest, not_negative, positive, whole
from .._decay import InputScale
from .._kinds import Adaptation, Reset, ResetAt
from .._layer import ReadoutKind
from .._namespace import said
from ..datasets._catalogue import DATA_SETS, DataSet
from ..torch.functional import Gradient, SurrogateName
from ..torch.training.classifier import Schedule

Encoding = Literal["latency", "linear_latency", "events"]
ModelName = Literal["fast", "standard", "spiking"]

_FOLDER = Path(__file__).parent / "recipes"
_COUNTS = ("n_steps", "epochs", "batch_size")
_POSITIVE = ("dt", "tau", "tau_readout", "tau_adaptation", "slope", "learning_rate")
_FRACTIONS = ("dropout", "flip", "drop", "blend", "label_smoothing", "validation_fraction")
_NOT_NEGATIVE = (
    "weight_decay",
    "gradient_clip",
    "patience",
    "tau_weight",
    "support",
    "refractory",
    "validation_fold",
    "shift",
    "shift_time",
    "jitter",
    "count_penalty",
    "latency_penalty",
)
#: what keys are for neurons that fire again and again, and what keys for all others
_SPIKING = (
    "adaptation",
    "recurrent",
    "reset",
    "reset_at",
    "refractory",
    "tau_adaptation",
    "tau_weight",
    "support",
)
_NOT_SPIKING = ("readout", "gradient", "surrogate")


@dataclass(frozen=True)
class Recipe:
    """How a network is trained on a data set; the defaults are those of `FastSNN`.

    Raises
    ------
    ValueError, TypeError
        If a value is of the wrong type or out of range; the message names the key.
    """

    dataset: str  #: a name in `DATA_SETS`
    encoding: Encoding  #: how images are encoded; "events" for recordings
    n_steps: int = 100
    dt: float = 1.0  #: ms
    merge_polarities: bool = True  #: n-mnist: 1,156 input channels, as in the paper, or 2,312
    binary: bool = True  #: recordings: whether the events of a channel in one step count as one
    model: ModelName = "fast"  #: `FastSNN`, `StandardSNN` or `SpikingSNN`
    hidden: tuple[int, ...] = (200,)
    tau: float = 10.0  #: ms
    tau_readout: float = 20.0  #: ms
    learn_beta: bool = True
    readout: ReadoutKind = "sum"
    input_scale: InputScale = "unit"
    gradient: Gradient = "straight_through"
    slope: float = 10.0
    surrogate: SurrogateName = "fast_sigmoid"
    # neurons of model = "spiking", see `Neuron` and `SpikingLIF`
    adaptation: Adaptation = "none"
    recurrent: bool = False
    reset: Reset = "subtract"
    reset_at: ResetAt = "after decay"
    refractory: int = 0
    tau_adaptation: float = 100.0  #: ms
    tau_weight: float = 0.0  #: ms, see `WeightedReadout`; 0 for a sum without weights
    support: float = 0.0  #: of the surrogate; 0 for all of it
    dropout: float = 0.0
    epochs: int = 20
    batch_size: int = 128
    learning_rate: float = 1e-3
    schedule: Schedule = "cosine"
    weight_decay: float = 0.0
    gradient_clip: float = 0.0  #: largest norm; 0 for none
    #: share of the training data (of its groups, such as speakers, where there are some) to hold
    #: out: epochs are evaluated on it, and not on the test data
    validation_fraction: float = 0.0
    validation_fold: int = 0  #: which of the shares of that size is held out
    #: epochs without a better validation accuracy before it stops, with the weights of the best
    #: one; 0 for never
    patience: int = 0
    #: bf16-mixed is for the dense engine and the standard SNN: events are computed in float32
    precision: Literal["32-true", "64-true", "bf16-mixed"] = "32-true"
    label_smoothing: float = 0.0
    count_penalty: float = 0.0
    latency_penalty: float = 0.0
    shift: int = 0  #: augmentation: pixels an image, or channels a recording, is moved by, at most
    shift_time: int = 0  #: augmentation: steps a sample is moved by, at most
    blend: float = 0.0  #: augmentation: probability that a recording is blended with another one
    flip: float = 0.0  #: augmentation: probability that an image is mirrored, left to right
    jitter: int = 0  #: augmentation: steps a spike is moved by, at most
    drop: float = 0.0  #: augmentation: fraction of silenced channels

    def __post_init__(self) -> None:
        hints = get_type_hints(Recipe)
        for field in fields(self):
            value = getattr(self, field.name)
            object.__setattr__(self, field.name, _typed(field.name, value, hints[field.name]))
        _require("dataset", self.dataset, self.dataset in DATA_SETS, f"one of {_known()}")
        for names, check in (
            (_COUNTS, whole),
            (_POSITIVE, positive),
            (_FRACTIONS, fraction),
            (_NOT_NEGATIVE, not_negative),
        ):
            for name in names:
                check(f"recipe: {name}", getattr(self, name))
        whole("recipe: n_steps", self.n_steps, below=2**31)
        neurons = bool(self.hidden) and all(1 <= n < 2**31 for n in self.hidden)
        _require("hidden", self.hidden, neurons, "numbers of neurons, below 2^31")
        if self.patience and not self.validation_fraction:
            raise ValueError(
                "recipe: patience needs validation data, and the test data must not say when to "
                "stop: set validation_fraction, such as 0.1"
            )
        images, mirrored = self.data_set.kind == "images", self.data_set.mirrored
        self._check_kind()
        _require("blend", self.blend, not (images and self.blend), "0 for images")
        _require("jitter", self.jitter, images or not self.jitter, "0 for recordings")
        _require(
            "flip", self.flip, mirrored or not self.flip, "0 where mirror images are not alike"
        )
        _require(
            "encoding",
            self.encoding,
            (self.encoding != "events") == images,
            "latency or linear_latency for images, events for recordings",
        )

    def _check_kind(self) -> None:
        """Refuse what is for another kind of model."""
        spiking = self.model == "spiking"
        for name in _NOT_SPIKING if spiking else _SPIKING:
            value, default = getattr(self, name), DEFAULTS[name]
            kind = f'with model = "{self.model}", which has no choice of it'
            _require(name, value, value == default, f"{default!r} {kind}")
        mixed = spiking and self.precision == "bf16-mixed"
        _require("precision", self.precision, not mixed, "32-true or 64-true on events")

    @property
    def data_set(self) -> DataSet:
        """What there is to know of the recipe's data set."""
        return DATA_SETS[self.dataset]

    def with_changes(self, changes: dict[str, Any]) -> Recipe:
        """The same recipe with some values changed; unknown keys are refused."""
        check_keys(changes)
        return replace(self, **changes)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


#: the value of each key that a recipe may leave out, as JSON has it
DEFAULTS: dict[str, Any] = {
    field.name: list(field.default) if isinstance(field.default, tuple) else field.default
    for field in fields(Recipe)
    if field.default is not MISSING
}


def recipe_of(content: dict[str, Any], where: str) -> Recipe:
    """The recipe that a file holds; `where` names the file in errors.

    Raises
    ------
    ValueError
        If a key is unknown or missing, or a value does not fit.
    """
    check_keys(content, where=f" in {where}")
    needed = [field.name for field in fields(Recipe) if field.name not in DEFAULTS]
    missing = [name for name in needed if name not in content]
    if missing:
        raise ValueError(f"{where} is no recipe: it has no {' and no '.join(missing)}")
    try:
        return Recipe(**content)
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from error


def load_recipe(name: str | os.PathLike[str], dataset: str | None = None) -> Recipe:
    """A recipe by name, such as "best" for the data set "shd", or from a TOML file of your own.

    Raises
    ------
    ValueError
        If there is no such data set or recipe, or the file is not TOML, has an unknown key, or is
        for another data set.
    """
    if not isinstance(name, (str, os.PathLike)):
        raise TypeError(f"a recipe has a name or a path, got {said(name)}")
    if dataset is not None and dataset not in list(DATA_SETS):
        raise ValueError(
            f"no data set {dataset!r}; did you mean {nearest(str(dataset), DATA_SETS)!r}? "
            f"There are {_known()}"
        )
    known = {path.stem: path for path in sorted(_FOLDER.glob("*.toml"))}
    path = known.get(f"{dataset}-{name}") if dataset else None
    path = path or (Path(name) if str(name).endswith(".toml") else None)
    if path is None:
        names = ", ".join(known)
        raise ValueError(f"no recipe {name!r} for {dataset!r}; there are {names}, or a .toml file")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no TOML file: {error}") from error
    recipe = recipe_of(content, path.name)
    if dataset not in (None, recipe.dataset):
        raise ValueError(f"{path.name} is a recipe for {recipe.dataset!r}, not for {dataset!r}")
    return recipe


def parse_changes(settings: list[str]) -> dict[str, Any]:
    """``["slope=5", "hidden=[300]"]`` as values; what is no TOML value is a string."""
    changes = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not (equals and key.strip()):
            raise ValueError(f"--set wants key=value, got {setting!r}")
        try:
            changes[key.strip()] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            changes[key.strip()] = text.strip()
    check_keys(changes)
    return changes


def check_keys(given: Any, where: str = "") -> None:
    """Refuse keys that no recipe has, and name the nearest one."""
    known = [field.name for field in fields(Recipe)]
    for key in given:
        if key not in known:
            raise ValueError(f"no recipe key {key!r}{where}; did you mean {nearest(key, known)!r}?")


def _known() -> str:
    return ", ".join(map(repr, DATA_SETS))


_WANTED = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def _typed(name: str, value: Any, hint: Any) -> Any:
    """`value` as the type its field says; an int will do for a float, a list for a tuple."""
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            allowed = ", ".join(map(repr, get_args(hint)))
            raise ValueError(f"recipe: {name} must be one of {allowed}, got {value!r}")
        return value
    if get_origin(hint) is tuple:
        value = (value,) if isinstance(value, int) else value
        if isinstance(value, (list, tuple)) and all(type(n) is int for n in value):
            return tuple(value)
    elif hint is float and type(value) is int:
        return float(value)
    elif type(value) is hint:
        return value
    wanted = "a list of whole numbers" if get_origin(hint) is tuple else _WANTED[hint]
    raise TypeError(f"recipe: {name} must be {wanted}, got {value!r}")


def _require(name: str, value: Any, holds: bool, wanted: str) -> None:
    if not holds:
        raise ValueError(f"recipe: {name} must be {wanted}, got {value!r}")
