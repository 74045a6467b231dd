"""The array library of the arguments, found once, with errors that say what to do.

This is the only module that imports ``array_api_compat``; the algorithm asks here for the
namespace ``xp`` and calls nothing else that knows one library from another.
"""

from __future__ import annotations

import re
import sys
from types import ModuleType
from typing import Any

import array_api_compat as compat
import numpy

Array = Any  # an array of any Array API library; the standard has no type to import


def device_of(x: Array) -> Any:
    """The device of an array, None where JAX spreads it over several or traces it."""
    if type(x) is numpy.ndarray:
        return "cpu"
    return None if is_traced(x) or _is_sharded(x) else compat.device(x)


def library_name(xp: ModuleType) -> str:
    """``"numpy"``, ``"torch"``, ... for a namespace, wrapped by array_api_compat or not."""
    return xp.__name__.removeprefix("array_api_compat.").split(".")[0]


def is_array(x: object) -> bool:
    """Whether `x` belongs to an Array API library (a list or a float does not)."""
    return bool(compat.is_array_api_obj(x)) and not isinstance(x, (int, float, complex, type))


def is_scalar(value: Any) -> bool:
    """Whether `value` is a real number or truth value of Python or NumPy, and no array."""
    return isinstance(value, (bool, int, float, numpy.bool_, numpy.integer, numpy.floating))


def namespace(**arrays: Any) -> Any:
    """The one namespace of all the given arrays; None, numbers of Python or NumPy are passed over.

    Dask arrays are refused: `lazy_namespace` takes them.

    Raises
    ------
    TypeError
        If something is no array, or the arrays belong to two libraries.
    ValueError
        If the arrays live on two devices.
    """
    for name, value in arrays.items():
        if compat.is_dask_array(value):
            raise TypeError(
                f"{name} is a Dask array: fastsnn_np.bulk.forward_blocks(x, network) computes it "
                "block by block, and x.compute() loads it as a NumPy array"
            )
    return lazy_namespace(**arrays)


def lazy_namespace(**arrays: Any) -> Any:
    """`namespace` for functions that look at no value of their arrays, and so take Dask's too."""
    found: dict[str, Any] = {}
    for name, value in arrays.items():
        if type(value) is numpy.ndarray:  # at once, since most are and the rest takes a while
            found[name] = value
            continue
        if value is None or is_scalar(value):
            continue
        if not is_array(value):
            raise no_array(name, value)
        _check_library(name, value)
        found[name] = value
    if not found:
        raise no_array(*next(iter(arrays.items())))
    first, *others = found
    xp = compat.array_namespace(found[first])
    for name in others:
        other = compat.array_namespace(found[name])
        if other is not xp:
            raise TypeError(
                f"{first} is a {library_name(xp)} array and {name} is a {library_name(other)} "
                "array: nothing is moved silently; pass both in one library, or name a backend "
                'in fastsnn_np.forward(..., backend="...") to move them'
            )
        devices = device_of(found[first]), device_of(found[name])
        if None not in devices and devices[0] != devices[1]:
            raise ValueError(
                f"{first} is on device {devices[0]} and {name} on {devices[1]}: nothing is moved "
                "silently; move one of them first"
            )
    return xp


def is_traced(x: Any) -> bool:
    """Whether `x` stands for an array in a function that JAX transforms, and holds no values."""
    return bool(compat.is_jax_array(x)) and isinstance(x, sys.modules["jax"].core.Tracer)


def _is_sharded(x: Any) -> bool:
    """Whether `x` is an array of JAX on several devices; JAX itself says what fits what."""
    return bool(compat.is_jax_array(x)) and len(x.devices()) > 1


def no_array(name: str, value: Any) -> TypeError:
    """The error for a `value` that should be an array: what it is, and what makes it one."""
    kind = type(value)
    module = kind.__module__
    advice = ""
    if module.startswith("scipy.sparse"):
        advice = _SPARSE
    elif module.startswith("fastsnn_np.spikes"):
        advice = f": {name}.to_dense() makes it one"
    elif isinstance(value, (list, tuple)):
        advice = ": numpy.asarray(...) makes one"
    if value is None or is_scalar(value):
        what = said(value)
    else:
        what = f"{module}.{kind.__qualname__}".removeprefix("builtins.")
    return TypeError(
        f"{name} must be an array of an Array API library (NumPy, CuPy, Torch, ...), got {what}"
        f"{advice}"
    )


def said(value: Any) -> str:
    """`value` as an error says it: an array by its shape, and nothing at length."""
    if is_array(value) and getattr(value, "shape", ()) != ():
        return f"an array of shape {tuple(value.shape)}"
    try:
        text = repr(value)
    except ValueError:  # an int of more digits than Python prints
        text = "a number too long to print"
    text = re.sub(r" at 0x[0-9a-fA-F]+", "", text)  # an address tells nobody anything
    return text if len(text) <= 80 else f"{text[:77]}..."


_SPARSE = ": Events.from_sparse(...) makes it Events, a form that every function takes"


def _check_library(name: str, value: Any) -> None:
    """Refuse arrays that are sparse, and say what takes them."""
    if compat.is_numpy_array(value):
        return
    if compat.is_pydata_sparse_array(value):
        raise TypeError(f"{name} is a sparse array, sparse.{type(value).__name__}: call todense()")
    if compat.is_torch_array(value) and str(value.layout) != "torch.strided":
        raise TypeError(f"{name} is a sparse tensor, of layout {value.layout}{_SPARSE}")


def float_dtype(xp: Any, **arrays: Any) -> Any:
    """The working dtype: the widest floating dtype given, or float32 if all are integer or bool.

    Raises
    ------
    TypeError
        For half precision, complex and anything that is no number.
    """
    widest = None
    for name, value in arrays.items():
        if value is None or is_scalar(value):
            continue
        dtype = value.dtype
        if not getattr(dtype, "isnative", True):
            dtype = dtype.newbyteorder("=")
        if dtype == xp.float64 or (dtype == xp.float32 and widest is None):
            widest = dtype
        elif dtype != xp.float32 and not (
            dtype == xp.bool or xp.isdtype(dtype, ("bool", "integral"))
        ):
            raise TypeError(
                f"{name} has dtype {dtype}: use float32 or float64 (potentials in half precision "
                "would lose spikes), or integers or booleans for spikes and counts"
            )
    return xp.float32 if widest is None else widest


def checked_dtype(xp: Any, dtype: Any, *kinds: str) -> Any:
    """A dtype of the library `xp` and of one of these kinds, as the Array API names them.

    Raises
    ------
    TypeError
        If it is none, or of another kind.
    """
    try:
        found = numpy.dtype(dtype) if library_name(xp) == "numpy" and dtype is not None else dtype
        right = bool(xp.isdtype(found, kinds))
    except (TypeError, ValueError, AttributeError):  # what libraries raise for no dtype at all
        right = False
    if not right:
        raise TypeError(
            f"dtype must be a {' or '.join(kinds).replace('real ', '')} dtype of "
            f"{library_name(xp)}, got {said(dtype)}"
        )
    return found


def as_dtype(xp: Any, x: Array, dtype: Any) -> Array:
    """`x` in `dtype`, without a copy if it has it already."""
    return x if x.dtype == dtype else xp.astype(x, dtype)


def as_parameter(xp: Any, value: Any, like: Array, dtype: Any) -> Array:
    """A number or an array as an array of `dtype` on the device of `like`."""
    if is_scalar(value):
        value = float(value)
    elif is_array(value):
        return as_dtype(xp, value, dtype)
    return xp.asarray(value, dtype=dtype, device=device_of(like))


def is_torch(x: object) -> bool:
    return bool(compat.is_torch_array(x))


def is_cupy(x: object) -> bool:
    return bool(compat.is_cupy_array(x))


def to_numpy(x: Any) -> Any:
    """`x` as a NumPy array on the host, of the native byte order; sharing memory where it can."""
    if type(x) is numpy.ndarray:
        return native(x)
    if is_torch(x):
        x = x.detach()
    if type(x).__module__.startswith("fastsnn_np."):
        raise TypeError(f"an array is wanted, got {type(x).__name__}")
    if is_torch(x) or is_cupy(x):
        try:
            x = compat.to_device(x, "cpu")
        except NotImplementedError as error:  # Torch's, of the device "meta"
            raise ValueError(f"a tensor on device {x.device} holds no values") from error
    try:
        return native(numpy.asarray(x))
    except ValueError as error:
        if not isinstance(x, (list, tuple)):
            raise
        raise ValueError(f"rows of one length are wanted, as of an array, got {said(x)}") from error


def native(x: Any) -> Any:
    """A NumPy array in this machine's byte order, which kernels and other libraries need."""
    return x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))
