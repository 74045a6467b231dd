"""A CuPy without a GPU: NumPy computes, and everything else is as strict as CuPy, and counted.

Arrays are no NumPy arrays, so nothing crosses from one library to the other unseen. An operation
runs on the *current* device and refuses arrays of another one, where CuPy warns and computes on the
wrong GPU. What CuPy and array_api_compat ignore, ``device=`` of most creation functions, is ignored
here too. The module standin_array has the arrays, standin_device the devices and the counts; names,
signatures and result types are held against the real CuPy by test_cupy_standin.py.
"""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np
from cuda_emulator import Emulator, Pointer
from standin_array import MODULE, made, ndarray, raw, viewed
from standin_device import COUNTS, Device, launch, modules


def function(f: Any) -> Any:
    setattr(MODULE, f.__name__, f)
    return f


def _like(name: str, kernel: str) -> None:
    def made_like(a, *value, dtype=None, order="K", subok=None, shape=None):
        values = [raw(v, name) for v in value]
        return made(getattr(np, name)(raw(a, name), *values, dtype), *kernel.split())

    setattr(MODULE, name, made_like)


_like("empty_like", "")
for _name in ("zeros_like", "ones_like", "full_like"):
    _like(_name, "fill")


@function
def empty(shape, dtype=float, order="C"):
    return made(np.full(shape, 77).astype(dtype or float))  # what was there before


@function
def zeros(shape, dtype=float, order="C"):
    return made(np.zeros(shape, dtype or float), "fill")


@function
def ones(shape, dtype=float, order="C"):
    return made(np.ones(shape, dtype or float), "fill")


@function
def full(shape, fill_value, dtype=None, order="C"):
    return made(np.full(shape, raw(fill_value, "full"), dtype), "fill")


@function
def arange(start, stop=None, step=1, dtype=None):
    return made(np.arange(start, stop, step, dtype), "arange")


@function
def asarray(a, dtype=None, order=None, *, copy=None, blocking=False):
    return array(a, dtype, copy)


@function
def ascontiguousarray(a, dtype=None):
    there = raw(a, "ascontiguousarray")
    if there.flags.c_contiguous and (dtype is None or there.dtype == dtype):
        return a
    return made(np.ascontiguousarray(there, dtype), "copy")


@function
def array(obj, dtype=None, copy=True, order="K", subok=False, ndmin=0, *, blocking=False):
    if isinstance(obj, ndarray):
        if obj.device != Device():
            COUNTS["p2p"] += 1
            return made(obj._a.astype(dtype or obj.dtype))
        if not copy and (dtype is None or obj.dtype == dtype):
            return obj
        return made(obj._a.astype(dtype or obj.dtype), "copy")
    host = np.array(obj, dtype=dtype)
    if host.dtype == object:
        raise TypeError(f"Unsupported dtype {host.dtype}")
    COUNTS["h2d"] += 1
    return made(host)


@function
def where(condition, x=None, y=None):
    return made(np.where(*[raw(v, "where") for v in (condition, x, y)]), "where")


@function
def concatenate(tup, axis=0, out=None, *, dtype=None, casting="same_kind"):
    return made(np.concatenate([raw(t, "concatenate") for t in tup], axis), *["concat"] * len(tup))


@function
def stack(tup, axis=0, out=None, *, dtype=None, casting="same_kind"):
    return made(np.stack([raw(t, "stack") for t in tup], axis), *["concat"] * len(tup))


@function
def flip(a, axis=None):
    return made(np.flip(raw(a, "flip"), axis))  # a view, which launches nothing


@function
def take(a, indices, axis=None, out=None):
    return made(np.take(raw(a, "take"), raw(indices, "take"), axis, mode="wrap"), "take")


@function
def take_along_axis(a, indices, axis):
    there = np.take_along_axis(raw(a, "take_along_axis"), raw(indices, "take_along_axis"), axis)
    return made(there, "arange", "take")


@function
def reshape(a, newshape, order="C", *, copy=None):
    new = a._a.reshape(newshape)
    if new.size and not np.shares_memory(new, a._a):
        launch("copy")
        raw(a, "reshape")
    return viewed(a, new)


@function
def transpose(a, axes=None):
    return viewed(a, np.transpose(a._a, axes))


@function
def expand_dims(a, axis):
    return viewed(a, np.expand_dims(a._a, axis))


@function
def broadcast_to(array, shape):
    return viewed(array, np.broadcast_to(array._a, shape))


@function
def matmul(*args, axes=None, axis=None, keepdims=False, casting="same_kind", dtype=None, **more):
    a, b = (raw(x, "matmul") for x in args)
    if not a.flags.c_contiguous and not a.flags.f_contiguous:
        launch("copy")
    if not b.flags.c_contiguous and not b.flags.f_contiguous:
        launch("copy")
    batched = max(a.ndim, b.ndim) > 2  # then broadcast operands go by arrays of pointers
    pointers = ["mat_ptrs"] * 3 if batched and a.shape[:-2] != b.shape[:-2] else []
    with np.errstate(all="ignore"):
        return made(np.matmul(a, b), *pointers, "gemm")


@function
def searchsorted(a, v, side="left", sorter=None):
    found = np.searchsorted(raw(a, "searchsorted"), raw(v, "searchsorted"), side)
    return made(found, "searchsorted")


@function
def cumsum(a, axis=None, dtype=None, out=None):
    return made(np.cumsum(raw(a, "cumsum"), axis, dtype), "cumsum")


@function
def argmax(a, axis=None, dtype=None, out=None, keepdims=False):
    return made(raw(a, "argmax").argmax(axis), "argmax")


@function
def round(a, decimals=0, out=None):  # noqa: A001
    return made(np.round(raw(a, "round"), decimals), "round")


@function
def nonzero(a):
    COUNTS["sync"] += 1
    return tuple(made(found, "nonzero") for found in np.nonzero(raw(a, "nonzero")))


def _reduction(name: str) -> None:
    def reduced(a, axis=None, out=None, keepdims=False, **more):
        with np.errstate(all="ignore"):
            there = getattr(np, name)(raw(a, name), axis=axis, keepdims=keepdims, **more)
        return made(there, name)

    setattr(MODULE, name, reduced)


for _name in ("all", "any", "max", "min", "sum", "mean"):
    _reduction(_name)


_LISTED = (
    "float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 complex64 complex128 bool_ "
    "integer floating newaxis pi inf nan e issubdtype result_type can_cast dtype isdtype finfo "
    "iinfo broadcast_shapes uintp"
)
for _name in _LISTED.split():
    setattr(MODULE, _name, getattr(np, _name))
MODULE.ndarray = ndarray


@function
def from_dlpack(x, *, device=None, copy=None):
    raise TypeError("CPU arrays cannot be directly imported to CuPy.")


class RawModule:
    """CUDA C++ compiled by g++; arguments are held against the kernel's own parameters."""

    def __init__(
        self,
        code=None,
        *,
        path=None,
        options=(),
        backend="nvrtc",
        translate_cucomplex=False,
        enable_cooperative_groups=False,
        name_expressions=None,
        jitify=None,
    ):
        (real,) = (o.removeprefix("-DREAL=") for o in options if o.startswith("-DREAL="))
        assert {"--fmad=false", "--std=c++17"} <= set(options), options
        self._emulator = Emulator(code, {"float": "float32", "double": "float64"}[real])

    def get_function(self, name):
        return RawKernel(self._emulator, name)


class RawKernel:
    def __init__(self, emulator: Emulator, name: str) -> None:
        self._emulator, self._name = emulator, name

    def compile(self, log_stream=None):
        pass

    def __call__(self, grid, block, args, *, shared_mem=0):
        assert isinstance(grid, tuple) and isinstance(block, tuple) and isinstance(args, tuple)
        held = [_as_pointer(raw(a, self._name)) if isinstance(a, ndarray) else a for a in args]
        self._emulator.launch(self._name, grid, block, held, seed=len(args))
        launch(self._name)


def _as_pointer(a: Any) -> Pointer:
    return Pointer(a.ctypes.data, a.dtype, a.flags.c_contiguous)


MODULE.RawModule = RawModule


def fftconvolve(in1, in2, mode="full", axes=None):
    import scipy.signal

    there = scipy.signal.fftconvolve(raw(in1, "fft"), raw(in2, "fft"), mode, axes)
    return made(there, *["fft"] * 4)


class _Sparse:
    """A sparse matrix of SciPy, its arrays and products those of the stand-in."""

    def __init__(self, kind: str, matrix: Any, shape: Any) -> None:
        import scipy.sparse

        arrays = tuple(raw(part, kind) for part in matrix)
        self._a = getattr(scipy.sparse, kind)(arrays, shape=shape)

    def tocsr(self) -> _Sparse:
        launch("tocsr")
        found = object.__new__(_Sparse)
        found._a = self._a.tocsr()
        return found

    def __matmul__(self, dense: Any) -> Any:
        return made(np.asfortranarray(self._a @ raw(dense, "spmm")), "spmm")


def csr_matrix(arg1, shape=None):
    return _Sparse("csr_matrix", arg1, shape)


def csc_matrix(arg1, shape=None):
    return _Sparse("csc_matrix", arg1, shape)


class _Missing:
    """A name that array_api_compat takes at import and that nothing here calls."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"cupy.{self.__name__} is not in the stand-in")


def _missing(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return _Missing(name)


def install(version: str) -> Any:
    """Make this `cupy` for the rest of the process; before array_api_compat has seen another."""
    for name in [n for n in sys.modules if n.partition(".")[0] in ("cupy", "cupyx")]:
        del sys.modules[name]
    found = modules()
    MODULE.cuda = found["cupy.cuda"]
    for part in ("linalg", "fft"):
        module: Any = types.ModuleType(f"cupy.{part}")
        module.__getattr__, module.__all__ = _missing, []
        found[f"cupy.{part}"] = module
        setattr(MODULE, part, module)
    for name in ("cupyx", "cupyx.scipy", "cupyx.scipy.signal", "cupyx.scipy.sparse"):
        found[name] = types.ModuleType(name)
    found["cupyx.scipy.signal"].fftconvolve = fftconvolve  # type: ignore[attr-defined]
    for made_sparse in (csr_matrix, csc_matrix):
        setattr(found["cupyx.scipy.sparse"], made_sparse.__name__, made_sparse)
    for name in ("cupy_backends", "cupy_backends.cuda", "cupy_backends.cuda.libs"):
        found[name] = types.ModuleType(name)
    found["cupy_backends.cuda.libs"].cublas = types.SimpleNamespace(  # type: ignore[attr-defined]
        getVersion=lambda handle: 120_900
    )
    MODULE.__version__ = f"{version} (stand-in)"
    MODULE.__getattr__ = _missing
    MODULE.__all__ = [name for name in vars(MODULE) if not name.startswith("_")]
    sys.modules.update(found, cupy=MODULE)
    return MODULE
