"""Array libraries as test parameters, and which of them a run is about."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from dataclasses import dataclass
from typing import Any

import array_api_compat
import numpy as np
import pytest
from hypothesis import settings

import fastsnn_np as fs
from fastsnn_np import backends
from fastsnn_np._namespace import to_numpy

# doctest would import it
collect_ignore = [] if importlib.util.find_spec("h5py") else ["hostile_hdf5.py"]

settings.register_profile("fastsnn", deadline=None, derandomize=False, print_blob=True)
settings.load_profile("fastsnn")

# name of the parameter -> (the backend it is selected with, the module)
LIBRARIES = {
    "numpy": ("numpy", "numpy"),
    "torch": ("torch", "torch"),
    "strict": ("strict", "array_api_strict"),
    "strict-device1": ("strict", "array_api_strict"),
    "cupy": ("cupy", "cupy"),
    "jax": ("jax", "jax.numpy"),
}
#: with --backend=cupy: "real", what is installed, and "standin" where that takes its place
CUPY: dict[str, Any] = {}
BACKENDS = ["numpy", "numba", "torch", "strict", "cupy", "jax", "train", "reach", "exchange"]


SELECTED: list[str] = []  #: the backends that this run is about; all that are installed if empty


def examples(most: int) -> int:
    """Number of random examples: JAX compiles every operation anew for every new shape."""
    return max(most // 10, 2) if SELECTED == ["jax"] else most


@dataclass(frozen=True)
class Library:
    """An array library and a device of it, with a way in and a way out."""

    name: str
    xp: Any
    device: Any

    def asarray(self, x: Any, dtype: Any = None) -> Any:
        host = np.array(x, dtype)  # a copy: tests may hold on to theirs
        return self.xp.asarray(host, device=self.device)

    def to_numpy(self, x: Any) -> Any:
        if self.name.startswith("strict"):
            x = x.to_device(self.xp.Device("CPU_DEVICE"))
        return to_numpy(x)

    def has_float64(self) -> bool:
        return bool(self.asarray(np.ones(1)).dtype == self.xp.float64)


def load(name: str) -> Library:
    module = importlib.import_module(LIBRARIES[name][1])
    if name.startswith("strict"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module.set_array_api_strict_flags(api_version="2024.12")
        device = module.Device("device1" if name.endswith("device1") else "CPU_DEVICE")
        return Library(name, module, device)
    if name == "jax":
        importlib.import_module("jax").config.update("jax_enable_x64", True)
        return Library(name, module, None)
    if name == "cupy" and not module.cuda.is_available():
        pytest.skip(
            f"CuPy {module.__version__} imports, but has no GPU here: {_why_no_gpu(module)}"
        )
    return Library(name, array_api_compat.array_namespace(module.zeros(1)), None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        action="append",
        choices=BACKENDS,
        help="run the tests of this backend only; it is an error if it is not installed",
    )


def _why_no_gpu(cupy: Any) -> str:
    try:
        cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # CuPy's own words are the reason
        return str(error)
    return "no GPU"


def pytest_report_header(config: pytest.Config) -> list[str]:
    if "cupy" not in (config.getoption("--backend") or []):
        return []
    cupy = CUPY["real"]
    if "standin" not in CUPY:
        return [f"cupy: {cupy.__version__} on {cupy.cuda.runtime.getDeviceCount()} GPU(s)"]
    return [
        f"cupy: NO GPU HERE ({_why_no_gpu(cupy)}): the tests run on a stand-in for CuPy "
        f"{cupy.__version__}.",
        "  It shows: names, shapes, dtypes, devices, no implicit conversion; numbers of launches, "
        "synchronisations and copies; what the kernels compute, as C++.",
        "  It does not show: anything about drivers, time, races, the rounding of cuBLAS and "
        "cuFFT, or memory.",
    ]


def pytest_configure(config: pytest.Config) -> None:
    modules = {
        "numba": "numba",
        "train": "lightning",
        "reach": "sklearn",
        "exchange": "nir",
        **dict(LIBRARIES.values()),
    }
    SELECTED[:] = config.getoption("--backend") or []
    for name in SELECTED:
        try:
            importlib.import_module(modules[name])
        except ImportError as error:
            raise pytest.UsageError(f"--backend={name}, but it is missing: {error}") from error
    if "cupy" in (config.getoption("--backend") or []):
        CUPY["real"] = importlib.import_module("cupy")
        if not CUPY["real"].cuda.is_available():
            import standin_cupy

            CUPY["standin"] = standin_cupy.install(CUPY["real"].__version__)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "lib" not in metafunc.fixturenames:
        return
    chosen = metafunc.config.getoption("--backend")
    names = [n for n, (backend, _) in LIBRARIES.items() if not chosen or backend in chosen]
    marks = [pytest.param(n, marks=pytest.mark.backend(LIBRARIES[n][0])) for n in names]
    metafunc.parametrize("lib", marks, indirect=True)


@pytest.fixture(scope="session")
def cupys() -> dict[str, Any]:
    """The CuPy modules of this run; none without --backend=cupy."""
    return CUPY


@pytest.fixture(scope="session")
def lib(request: pytest.FixtureRequest) -> Library:
    name = request.param
    try:
        return load(name)
    except ImportError as error:
        return pytest.skip(f"not installed: {error}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With --backend: keep what belongs to it; what belongs to none runs with numpy.

    Without: whatever is not installed is skipped, and says so.
    """
    chosen = config.getoption("--backend")
    kept, dropped = [], []
    for item in items:
        marker = item.get_closest_marker("backend")
        path = item.path.as_posix()
        if marker is None and ("fastsnn_np/torch" in path or "fastsnn_np/experiments" in path):
            marker = pytest.mark.backend("torch").mark
        if marker is None and item.path.name in ("bulk.py", "sklearn.py"):
            marker = pytest.mark.backend("reach").mark
        name = marker.args[0] if marker else "numpy"
        (kept if not chosen or name in chosen else dropped).append(item)
        if not chosen and marker and name in ("torch", "numba") and not _installed(name):
            item.add_marker(pytest.mark.skip(reason=f"{name} is not installed"))
    items[:] = kept
    config.hook.pytest_deselected(items=dropped)


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> str:
    """The name of a backend that can be used here; others are skipped, with their own error."""
    name: str = request.param
    status = backends.status(name)
    if status.error is not None:
        pytest.skip(f"{name}: {status.error}")
    return name


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Fresh numbers for every test, the same in every run."""
    return np.random.default_rng(list(request.node.name.encode()))


@pytest.fixture
def task() -> tuple[fs.SpikeTimes, Any]:
    """Two classes told apart by which half of the inputs fires first: a few epochs are enough."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 120)
    times = rng.integers(10, 20, (120, 12))
    for sample, label in zip(times, labels, strict=True):
        sample[6 * label : 6 * label + 6] -= 10
    return fs.SpikeTimes(times, 20), labels
