"""The arrays of the stand-in CuPy, its operators and ufuncs."""

from __future__ import annotations

import types
from typing import Any

import numpy as np
from standin_device import COUNTS, Device, launch

MODULE: Any = types.ModuleType("cupy")
SCALARS = (bool, int, float, complex, np.generic)


def raw(x: Any, name: str) -> Any:
    """The NumPy array inside an operand, which must be ours and on the current device."""
    if isinstance(x, ndarray):
        if x.device != Device():
            raise ValueError(f"{name}: the array is on {x.device}, the current one is {Device()}")
        return x._a
    if isinstance(x, SCALARS) or x is None:
        return x
    raise TypeError(f"{name}: Unsupported type {type(x)}")


def made(a: Any, *launched: str) -> ndarray:
    """A new array on the current device, and the kernels that made it."""
    for name in launched:
        launch(name)
    return _wrapped(np.asarray(a), Device())


def viewed(x: ndarray, a: Any) -> ndarray:
    return _wrapped(a, x.device)


def _wrapped(a: Any, device: Device) -> ndarray:
    out = object.__new__(ndarray)
    out._a, out.device = a, device
    return out


class ndarray:  # noqa: N801
    __array_ufunc__ = None  # CuPy's own would compute with CuPy, which nothing here relies on
    _a: Any
    device: Device
    dtype = property(lambda s: s._a.dtype)
    shape = property(lambda s: s._a.shape)
    strides = property(lambda s: s._a.strides)
    ndim = property(lambda s: s._a.ndim)
    size = property(lambda s: s._a.size)
    nbytes = property(lambda s: s._a.nbytes)
    itemsize = property(lambda s: s._a.itemsize)
    flags = property(lambda s: s._a.flags)
    base = property(lambda s: s._a.base)
    T = property(lambda s: viewed(s, s._a.T))

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def get(self, stream: Any = None, order: Any = "C", out: Any = None, blocking: Any = True):
        COUNTS["sync"] += blocking
        COUNTS["d2h"] += 1
        return self._a.copy()

    def item(self, *args: Any) -> Any:
        return self.get().item(*args)

    def tolist(self) -> Any:
        return self.get().tolist()

    def __bool__(self) -> bool:
        return bool(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __len__(self) -> int:
        return len(self._a)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return repr(self.get())

    def __format__(self, spec: str) -> str:
        return format(self.get(), spec)

    def astype(self, dtype, order="K", casting=None, subok=None, copy=True):
        if not copy and self.dtype == dtype:
            return self
        return made(raw(self, "astype").astype(dtype), "astype")

    def copy(self, order="C"):
        return made(self._a.copy(), "copy")  # works between devices

    def transpose(self, *axes: Any) -> ndarray:
        return viewed(self, self._a.transpose(*axes))

    def reshape(self, *shape: Any) -> ndarray:
        return MODULE.reshape(self, shape[0] if len(shape) == 1 else shape)

    def __getitem__(self, key: Any) -> ndarray:
        keys = key if isinstance(key, tuple) else (key,)
        if any(isinstance(k, (ndarray, np.ndarray, list)) for k in keys):
            found = tuple(raw(k, "getitem") for k in keys)
            for k in found:
                COUNTS["sync"] += isinstance(k, np.ndarray) and k.dtype == bool
            return made(raw(self, "getitem")[found], "getitem")
        return viewed(self, np.asarray(self._a[key]))

    def __setitem__(self, key: Any, value: Any) -> None:
        launch("setitem")
        raw(self, "setitem")[key] = raw(value, "setitem")


ndarray.__module__ = "cupy"


class ufunc:  # noqa: N801
    def __init__(self, name: str) -> None:
        self.__name__, self._function = name, getattr(np, name)

    def __call__(self, *args: Any, out: Any = None, dtype: Any = None) -> Any:
        name = self.__name__
        operands = [raw(a, name) for a in args]
        if not any(isinstance(a, ndarray) for a in args) and out is None:
            return self._function(*operands)
        more = {} if dtype is None else {"dtype": dtype}
        if out is not None:
            self._function(*operands, out=raw(out, name), casting="same_kind", **more)
            launch(name)
            return out
        with np.errstate(all="ignore"):
            return made(self._function(*operands, **more), name)


class _Add(ufunc):
    def at(self, a: Any, indices: Any, b: Any = None) -> None:
        if a.dtype.char not in "iefdFDILQ":
            raise TypeError(f"scatter_add does not support {a.dtype}")
        launch("scatter_add")
        np.add.at(raw(a, "add.at"), raw(indices, "add.at"), raw(b, "add.at"))


_LISTED = (
    "abs add bitwise_and bitwise_or bitwise_xor divide equal exp expm1 floor floor_divide greater "
    "greater_equal invert isfinite isinf isnan less less_equal log log1p logical_and logical_not "
    "logical_or maximum minimum multiply negative not_equal power remainder sign sqrt square "
    "subtract true_divide"
)
UFUNCS = _LISTED.split()
for _name in UFUNCS:
    setattr(MODULE, _name, (_Add if _name == "add" else ufunc)(_name))

_BINARY_OPERATORS = (
    "add:add sub:subtract mul:multiply truediv:true_divide pow:power mod:remainder "
    "floordiv:floor_divide and:bitwise_and or:bitwise_or xor:bitwise_xor"
)
_COMPARISONS = "lt:less le:less_equal gt:greater ge:greater_equal eq:equal ne:not_equal"
_BINARY = dict(pair.split(":") for pair in _BINARY_OPERATORS.split())
_COMPARED = dict(pair.split(":") for pair in _COMPARISONS.split())
for _op, _name in (_BINARY | _COMPARED).items():
    _f = getattr(MODULE, _name)
    setattr(ndarray, f"__{_op}__", lambda s, o, f=_f: f(s, o))
    if _op in _BINARY:
        setattr(ndarray, f"__r{_op}__", lambda s, o, f=_f: f(o, s))
        setattr(ndarray, f"__i{_op}__", lambda s, o, f=_f: f(s, o, out=s))
ndarray.__hash__ = None  # type: ignore[assignment]
ndarray.__invert__ = lambda s: MODULE.invert(s)  # type: ignore[attr-defined]
ndarray.__neg__ = lambda s: MODULE.negative(s)  # type: ignore[attr-defined]
ndarray.__abs__ = lambda s: MODULE.abs(s)  # type: ignore[attr-defined]
ndarray.__matmul__ = lambda s, o: MODULE.matmul(s, o)  # type: ignore[attr-defined]
