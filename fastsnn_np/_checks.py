"""Checks of arguments: each fact is checked here, and each error has one sentence.

An error says what was wanted, what came and, where it is not obvious, what to do.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, get_args

import numpy as np

from ._namespace import Array, is_array, is_traced, namespace, no_array, said, to_numpy

_ADDRESSES = 1 << 47  # bytes that a process can address


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that `name` may stand for: of those initials, or else the most alike.

    Examples
    --------
    >>> nearest("lr", ["flip", "learning_rate"]), nearest("epoch", ["epochs", "shift"])
    ('learning_rate', 'epochs')
    """
    known = list(known)
    initials = {"".join(part[:1] for part in word.split("_")): word for word in reversed(known)}
    alike = difflib.get_close_matches(name, known, 1, 0.0)
    return initials.get(name) or alike[0]


def no_option(who: str, name: str, known: Iterable[str]) -> TypeError:
    """The error for a keyword that `who` does not take."""
    known = list(known)
    return TypeError(
        f"{who} has no option {name!r}; did you mean {nearest(name, known)!r}? "
        f"It has {', '.join(map(repr, known))}"
    )


def check_options(who: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse keywords that `who` does not take."""
    for name in given:
        if name not in known:
            raise no_option(who, name, known)


def check_option(name: str, value: Any, allowed: Any) -> None:
    """Refuse a value that is none of a `Literal`'s."""
    if not isinstance(value, str) or value not in get_args(allowed):
        raise ValueError(
            f"{name} must be one of {', '.join(map(repr, get_args(allowed)))}, got {said(value)}"
        )


def flag(name: str, value: Any) -> bool:
    """True or False, Python's or NumPy's, as a plain bool."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {said(value)}")
    return bool(value)


def positive(name: str, value: Any, unit: str = "") -> float:
    """A positive, finite number as a plain float; `unit` is named in the error."""
    if not (is_number(value) and 0 < (number := as_float(value)) < math.inf):
        raise ValueError(f"{name} must be positive and finite{_of(unit)}, got {said(value)}")
    return number


def not_negative(name: str, value: Any, unit: str = "") -> float:
    """A finite number of at least 0 as a plain float."""
    if not (is_number(value) and 0 <= (number := as_float(value)) < math.inf):
        raise ValueError(f"{name} must be 0 or more and finite{_of(unit)}, got {said(value)}")
    return number


def finite(name: str, value: Any) -> float:
    """A finite number as a plain float."""
    if not (is_number(value) and math.isfinite(number := as_float(value))):
        raise ValueError(f"{name} must be a finite number, got {said(value)}")
    return number


def fraction(name: str, value: Any) -> float:
    """A number in [0, 1) as a plain float."""
    if not (is_number(value) and 0 <= (number := as_float(value)) < 1):
        raise ValueError(f"{name} must lie in [0, 1), got {said(value)}")
    return number


def gamma_of(kind: str, gamma: Any) -> float | None:
    """The decay per step of a weighted sum, inside (0, 1) as a plain float; others have none."""
    if kind != "weighted":
        if gamma is not None:
            raise ValueError(
                f'gamma is of readouts of kind "weighted", and this one is {kind!r}, '
                f"got gamma {said(gamma)}"
            )
        return None
    if not (is_number(gamma) and 0 < (number := as_float(gamma)) < 1):
        raise ValueError(f"gamma of a weighted readout must lie inside (0, 1), got {said(gamma)}")
    return number


def probability(name: str, value: Any) -> float:
    """A number in [0, 1] as a plain float."""
    if not (is_number(value) and 0 <= (number := as_float(value)) <= 1):
        raise ValueError(f"{name} is a probability in [0, 1], got {said(value)}")
    return number


def whole(name: str, value: Any, *, at_least: int = 1, below: int | None = None) -> int:
    """A whole number as a plain int."""
    if not (is_whole(value) and value >= at_least and (below is None or value < below)):
        bound = "" if below is None else f" and below {_power(below)}"
        raise ValueError(
            f"{name} must be a whole number of at least {at_least}{bound}, got {said(value)}"
        )
    return int(value)


def _power(number: int) -> str:
    """A large power of 2 as such."""
    exponent = number.bit_length() - 1
    return f"2^{exponent}" if number == 1 << exponent > 1 << 16 else f"{number}"


def seeded(seed: Any, name: str = "seed") -> np.random.Generator:
    """The generator itself if it is one, and one of this seed otherwise."""
    try:
        if isinstance(seed, (bool, np.bool_)):
            raise TypeError
        return np.random.default_rng(seed)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} must be a whole number of at least 0, a numpy.random.Generator or None, "
            f"got {said(seed)}"
        ) from None


def working_dtype(dtype: Any) -> Any:
    """float32 or float64 as NumPy's dtype."""
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    if dtype is None or found not in (np.float32, np.float64):  # None would mean float64
        raise TypeError(f"dtype must be numpy.float32 or numpy.float64, got {said(dtype)}")
    return found


def check_iterable(name: str, value: Any, of: str) -> None:
    """Refuse what cannot be gone through; `of` says what it should hold."""
    try:
        if isinstance(value, (str, bytes)):
            raise TypeError
        iter(value)
    except TypeError:
        raise TypeError(
            f"{name} must be a sequence or an iterator of {of}, got {said(value)}"
        ) from None


@contextmanager
def room_for(what: str, *shape: int, itemsize: int = 8) -> Iterator[None]:
    """Say which array did not fit into memory, also where NumPy cannot even count its bytes."""
    size = math.prod(shape) * itemsize
    try:
        if size >= _ADDRESSES:
            raise MemoryError
        yield
    except MemoryError:
        raise MemoryError(
            f"{what} of shape {shape} would take {float(size):.2g} bytes: more than there is memory"
        ) from None


def is_number(value: Any) -> bool:
    """Whether `value` is a real number of Python or NumPy; True and False are none."""
    real = isinstance(value, (int, float, np.integer, np.floating))
    return real and not isinstance(value, bool)


def is_whole(value: Any) -> bool:
    """Whether `value` is an integer of Python or NumPy; True and False are none."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def as_float(value: Any) -> float:
    """A real number as a plain float, infinite where it is beyond the largest."""
    try:
        return float(value)
    except OverflowError:  # an int beyond the largest float
        return math.inf if value > 0 else -math.inf


def _of(unit: str) -> str:
    return f" ({unit})" if unit else ""


def check_steps(n_steps: Any) -> int:
    """The number of time steps as a plain int: at least one, and such that int32 can hold it."""
    if not (is_whole(n_steps) and 1 <= n_steps < 2**31):
        raise ValueError(
            f"n_steps must be a whole number of at least 1 and below 2^31, got {said(n_steps)}"
        )
    return int(n_steps)


def check_n_neurons(n_neurons: Any) -> int:
    """The number of input neurons as a plain int; int32 can hold their indices."""
    if not (is_whole(n_neurons) and 1 <= n_neurons <= 2**31):
        raise ValueError(
            "n_neurons must be at least 1, a whole number, and at most 2^31, since indices are "
            f"int32, got {said(n_neurons)}"
        )
    return int(n_neurons)


def check_samples(samples: Any, n_samples: int) -> Any:
    """Numbers of samples as an int64 NumPy array, each 0 <= number < n_samples."""
    samples = np.asarray(to_numpy(samples))
    if samples.ndim != 1 or (samples.size and not np.issubdtype(samples.dtype, np.integer)):
        raise TypeError(
            "samples must be integers along one axis, "
            f"got dtype {samples.dtype} and shape {samples.shape}"
        )
    if samples.size and not (samples.min() >= 0 and samples.max() < n_samples):
        raise IndexError(
            f"samples must lie in 0 ... {n_samples - 1}, got {samples.min()} to {samples.max()}"
        )
    return samples.astype(np.int64)


def check_slice(samples: slice) -> None:
    """Refuse a slice of other things than whole numbers, or of no step."""
    try:
        samples.indices(0)
    except (TypeError, ValueError):
        raise TypeError(
            f"a slice of samples must hold whole numbers, and a step other than 0, got {samples}"
        ) from None


def selected(samples: Any, n_samples: int) -> Any:
    """Numbers of the samples that NumPy's indexing along the first axis would choose, as int64.

    A slice, integers (negative ones count from the end) or one boolean per sample; the latter two
    as an array or a list, alone or before an Ellipsis as in ``x[samples, ...]``.
    """
    if isinstance(samples, tuple) and len(samples) == 2 and samples[1] is Ellipsis:
        samples = samples[0]
    if isinstance(samples, slice):
        check_slice(samples)
        return np.arange(n_samples)[samples]
    if is_whole(samples):
        raise TypeError(
            f"one sample alone has no batch axis: index with [{samples} : {samples} + 1] to keep it"
        )
    if isinstance(samples, (tuple, str)) or samples is None:
        raise TypeError(
            f"samples are chosen along the batch alone, by a slice, integers or booleans, "
            f"got {said(samples)}"
        )
    samples = np.asarray(to_numpy(samples))
    if samples.dtype == np.bool_:
        if samples.shape != (n_samples,):
            raise IndexError(
                f"a mask must have one boolean per sample, shape ({n_samples},), "
                f"got shape {samples.shape}"
            )
        return np.flatnonzero(samples)
    if samples.size and np.issubdtype(samples.dtype, np.signedinteger):
        samples = np.where((samples < 0) & (samples >= -n_samples), samples + n_samples, samples)
    return check_samples(samples, n_samples)


def check_neurons(found: int, expected: int, who: str, *, steps: int | None = None) -> None:
    """Refuse an input of another number of neurons than `who` expects."""
    if found != expected:
        and_steps = "" if steps is None else f" and {steps} steps"
        raise ValueError(
            f"x has {found} neurons{and_steps} and {who} expects {expected} neurons: "
            "x is laid out (batch, neurons, time)"
        )


def check_array(name: str, value: Any) -> None:
    """Refuse what is no array; unlike `namespace`, None and numbers too."""
    if type(value) is not np.ndarray and not is_array(value):
        raise no_array(name, value)


def check_number_or_array(name: str, value: Any) -> None:
    """Refuse what is neither a real number nor an array."""
    if type(value) is not np.ndarray and not is_number(value) and not is_array(value):
        raise TypeError(f"{name} must be a number or an array, got {said(value)}")


def check_time_axis(name: str, x: Array, *, axes: str = "(..., neurons, time)") -> None:
    """Refuse an array without neurons and time axes, or without any time step."""
    check_array(name, x)
    if x.ndim < 2:
        raise ValueError(f"{name} must have axes {axes}, got shape {tuple(x.shape)}")
    if x.shape[-1] == 0:
        raise ValueError(f"{name} must have at least one time step, got shape {tuple(x.shape)}")


def check_weights(weight: Any, bias: Any, *, inputs: int | None = None) -> None:
    """Refuse weights and biases whose shapes do not fit each other or the number of inputs."""
    check_array("weight", weight)
    if bias is not None:
        check_array("bias", bias)
    if weight.ndim != 2:
        raise ValueError(
            f"weight must have axes (neurons, inputs), got shape {tuple(weight.shape)}"
        )
    if inputs is not None:
        check_neurons(inputs, weight.shape[1], f"weight {tuple(weight.shape)}")
    if bias is not None and tuple(bias.shape) != (weight.shape[0],):
        raise ValueError(
            f"bias must have shape ({weight.shape[0]},) to fit weight {tuple(weight.shape)}, "
            f"got {tuple(bias.shape)}"
        )


def check_real(name: str, dtype: Any, xp: Any) -> None:
    """Refuse complex numbers, whose imaginary part would be lost, and what is no number."""
    if dtype == xp.float32 or dtype == xp.float64:  # at once, since isdtype takes a while
        return
    if not (dtype == xp.bool or xp.isdtype(dtype, ("bool", "integral", "real floating"))):
        raise TypeError(f"{name} must hold real numbers, got dtype {dtype}")


def check_initial(initial: Any, shape: tuple[int, ...]) -> None:
    """Refuse an initial potential that does not broadcast to `shape`, (..., neurons)."""
    given = tuple(initial.shape)
    fits = len(given) <= len(shape) and all(
        a in (1, b) for a, b in zip(given[::-1], tuple(shape)[::-1], strict=False)
    )
    if not fits:
        raise ValueError(
            "initial_potential must be a number or fit (..., neurons), "
            f"{tuple(shape)}, got shape {given}"
        )


def check_beta(xp: Any, beta: Array, *, neurons: int | None = None) -> None:
    """Refuse a beta outside (0, 1), or of a shape that is neither () nor (neurons,).

    In a function that JAX traces there are no values to look at.
    """
    if neurons is not None and tuple(beta.shape) not in ((), (neurons,)):
        raise ValueError(
            f"beta must be a number or have one value per neuron, shape ({neurons},), "
            f"got shape {tuple(beta.shape)}"
        )
    inside = xp.all((beta > 0) & (beta < 1))
    if not is_traced(inside) and not bool(inside):
        raise beta_outside(beta, beta.dtype)


def beta_outside(beta: Any, dtype: Any) -> ValueError:
    """The error for a beta that is not inside (0, 1)."""
    return ValueError(
        f"beta must lie inside (0, 1) after rounding to {dtype}, got {beta}: "
        "beta = exp(-dt / tau) reaches 0 or 1 there for a tau far below or above dt"
    )


def check_finite(name: str, array: Array) -> None:
    """Refuse NaN and infinity, and say where the first one stands; integers and booleans pass."""
    xp = namespace(array=array)
    if not xp.isdtype(array.dtype, "real floating"):
        return
    bad = ~xp.isfinite(array)
    if bool(xp.any(bad)):
        flat = int(xp.argmax(xp.reshape(xp.astype(bad, xp.uint8), (-1,))))
        at = tuple(int(i) for i in np.unravel_index(flat, tuple(array.shape)))
        raise ValueError(f"{name} holds {float(array[at])} at index {at}")
