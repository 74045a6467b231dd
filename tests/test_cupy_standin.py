"""The stand-in CuPy against the real one, which imports and can be inspected without a driver."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pytest

pytestmark = pytest.mark.backend("cupy")
DTYPES = [np.dtype(code) for code in ("?", "u1", "i4", "i8", "f4", "f8")]


@pytest.fixture(scope="module")
def real(cupys):
    if not cupys:
        pytest.skip("runs with --backend=cupy")
    return cupys["real"]


@pytest.fixture(scope="module")
def standin(real):
    """The stand-in's module, also where a real GPU has kept it from being installed."""
    import standin_cupy

    return standin_cupy


def parameters(f):
    return [(p.name, p.default is p.empty) for p in inspect.signature(f).parameters.values()]


def own_functions(standin):
    made_here = {"reduced", "made_like"}
    functions = {n: f for n, f in vars(standin.MODULE).items() if inspect.isfunction(f)}
    return {n: f for n, f in functions.items() if f.__name__ not in made_here and n[0] != "_"}


def test_signatures(real, standin):
    checked = 0
    for name, ours in own_functions(standin).items():
        if name in ("from_dlpack", "isdtype", "matmul"):  # builtin, NumPy's own, *args in both
            assert hasattr(real, name)
            continue
        theirs = parameters(getattr(real, name))
        assert set(parameters(ours)) <= set(theirs), (name, parameters(ours), theirs)
        assert [p for p in theirs if p[1]] == [p for p in parameters(ours) if p[1]], name
        checked += 1
    assert checked >= 20


@pytest.mark.parametrize("name", ["all", "any", "max", "min", "sum", "mean"])
def test_reductions(name, real):
    theirs = dict(parameters(getattr(real, name)))
    assert {"a", "axis", "out", "keepdims"} <= set(theirs)
    assert ("dtype" in theirs) == (name in ("sum", "mean"))


@pytest.mark.parametrize("name", ["empty_like", "zeros_like", "ones_like", "full_like"])
def test_like(name, real, standin):
    more = {"dtype", "order", "subok", "shape"}
    assert more <= {n for n, _ in parameters(getattr(real, name))}
    assert more <= {n for n, _ in parameters(getattr(standin.MODULE, name))}


def resolved(ufunc, dtypes):
    """CuPy takes the first loop to which every argument casts safely."""
    for loop in ufunc.types:
        taken, given = loop.split("->")
        if "E" in loop:  # bfloat16, which NumPy does not know
            continue
        if all(np.can_cast(d, i) for d, i in zip(dtypes, taken, strict=True)):
            return np.dtype(given)
    return None


def test_result_types_of_ufuncs(real, standin):
    checked = 0
    from standin_array import UFUNCS

    for name in UFUNCS:
        theirs, ours = getattr(real, name), getattr(np, name)
        for a in DTYPES:
            for pair in [(a,)] if theirs.nin == 1 else [(a, b) for b in DTYPES]:
                want = resolved(theirs, pair)
                try:
                    found = ours(*[np.ones(1, d) for d in pair]).dtype
                except TypeError:
                    continue  # NumPy refuses it, so that nothing can rely on it
                assert want == found, (name, pair, want, found)
                checked += 1
    assert checked > 700


def test_arrays(real):
    from standin_array import ndarray

    for name in vars(ndarray):
        ours_alone = ("_a", "__dict__", "__weakref__", "__annotations__", "__module__", "device")
        if name not in ours_alone:
            assert hasattr(real.ndarray, name), name
    assert hasattr(real.ndarray, "device")
    for name in ("get", "astype", "copy"):  # Cython's signatures are in the docstrings
        theirs = re.findall(r"(\w+)(?:=|[,)])", getattr(real.ndarray, name).__doc__.split("\n")[0])
        assert set(inspect.signature(getattr(ndarray, name)).parameters) - {"self"} <= set(theirs)


def test_devices(real, standin):
    from standin_device import Device, modules

    for name in vars(Device):
        if name not in ("__dict__", "__weakref__", "__module__"):
            assert hasattr(real.cuda.Device, name) or name == "id", name
    assert repr(Device(1)) == repr(real.cuda.Device(1))
    assert Device(1) == Device(1) != Device(0) and real.cuda.Device(1) == real.cuda.Device(1)
    for path, module in modules().items():
        theirs = real
        for part in path.split(".")[1:]:
            theirs = getattr(theirs, part)
        for name in vars(module):
            assert name.startswith("__") or hasattr(theirs, name), (path, name)


def test_raw_modules(real, standin):
    first = real.RawModule.__doc__.splitlines()[0]
    ours = inspect.signature(standin.RawModule).parameters
    assert all(re.search(rf"\b{name}\b", first) for name in ours), first
    assert "get_function" in dir(real.RawModule)
    assert "(self, grid, block, args" in real.RawKernel.__call__.__doc__.splitlines()[0]
    assert "compile" in dir(real.RawKernel)


def test_it_is_strict(standin):
    cp, device = standin.MODULE, standin.Device
    a = cp.ones(3)
    for wrong in (
        lambda: np.asarray(a),
        lambda: a + np.ones(3),
        lambda: np.ones(3) + a,
        lambda: np.exp(a),
        lambda: cp.where(a > 0, a, np.ones(3)),
    ):
        with pytest.raises(TypeError):
            wrong()
    with device(1):
        there = cp.ones(3)
        with pytest.raises(ValueError, match="Device 0>, the current one is <CUDA Device 1>"):
            _ = a + there
        assert cp.asarray(a).device == device(1)
    assert there.device == device(1) and device() == device(0)


def test_it_counts(standin):
    import standin_device

    cp = standin.MODULE
    standin_device.reset()
    a = cp.asarray(np.ones((2, 3)))
    b = cp.sum(a * 2 + 1)
    assert float(b) == 18
    assert standin_device.COUNTS == {"launch": 3, "sync": 1, "h2d": 1, "d2h": 1}
    assert standin_device.LAUNCHED == ["multiply", "add", "sum"]
