"""Every check of the project as a nox session; `nox -l` lists them."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "virtualenv"
nox.options.sessions = [
    "tests",
    "tests-bounds",
    "tests-train",
    "tests-reach",
    "lint",
    "types",
    "wheel",
]
nox.options.error_on_missing_interpreters = True

CONSTRAINTS = ("-c", "constraints.txt")
BACKENDS = ["numpy", "numba", "torch", "strict"]
if sys.platform != "darwin":
    BACKENDS.append("cupy")  # without a GPU on a stand-in for CuPy, which its header says
# group of benchmarks/peers.py -> the libraries, and what they import of what they ask for
PEERS = {
    "plain": ([],),
    "snntorch": (["snntorch"],),
    "spikingjelly": (["spikingjelly"], "loguru"),
    "norse": (["norse"], "nir", "nirtorch"),
    "sinabs": (["sinabs"], "nir", "nirtorch", "pbr"),
    "jax": ([], "spyx"),
}


def install(session: nox.Session, *groups: str, extras: str = "") -> None:
    """Install the project, editable, and dependency groups at the tested versions."""
    project = nox.project.load_toml("pyproject.toml")
    wanted = nox.project.dependency_groups(project, *groups)
    session.install(*CONSTRAINTS, "-e", f".{extras}", *wanted)


def test(session: nox.Session, backend: str) -> None:
    install(session, backend)
    session.run("pytest", f"--backend={backend}", *session.posargs)


@nox.session
@nox.parametrize("backend", BACKENDS, ids=BACKENDS)
def tests(session: nox.Session, backend: str) -> None:
    """The tests of one backend; numpy also runs those that belong to none."""
    test(session, backend)


@nox.session(name="tests-jax")
def tests_jax(session: nox.Session) -> None:
    """The core on JAX, which has no backend module here and needs none."""
    test(session, "jax")


@nox.session(name="tests-bounds")
def tests_bounds(session: nox.Session) -> None:
    """The event kernels with every array access checked, serial and compiled afresh.

    Inside a parallel loop an IndexError is lost, and a warm cache holds unchecked code.
    """
    install(session, "torch")  # the backward kernels are reached through Torch
    checks = {
        "NUMBA_BOUNDSCHECK": "1",
        "NUMBA_CACHE_DIR": session.create_tmp(),
        "FASTSNN_PARALLEL": "0",
    }
    tests = ["tests/test_events.py", "tests/test_chunks.py", "tests/test_forward.py"]
    session.run("pytest", "--backend=numba", *tests, *session.posargs, env=checks)
    session.run("pytest", "--backend=torch", "tests/test_event_gradients.py", env=checks)
    plain = {"NUMBA_DISABLE_JIT": "1"}  # the small cases, as the Python that is read
    session.run("pytest", "--backend=numba", "tests/test_events.py", env=plain)


@nox.session(name="tests-train")
def tests_train(session: nox.Session) -> None:
    """Training runs as people start them, some of them killed and resumed."""
    test(session, "train")


@nox.session(name="tests-reach")
def tests_reach(session: nox.Session) -> None:
    """Several processes, Dask clusters with workers that die, scikit-learn's own checks."""
    test(session, "reach")


@nox.session
def demo(session: nox.Session) -> None:
    """Train on the shipped images, save, run every backend, print a table, write plots to demo/."""
    session.install(*CONSTRAINTS, "-e", ".[torch,plot]")
    session.run("python", "-m", "fastsnn_np", "demo", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style and formatting."""
    session.install(*CONSTRAINTS, *nox.project.dependency_groups(toml(), "lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict."""
    install(session, "types")
    session.run("mypy")


@nox.session
def wheel(session: nox.Session) -> None:
    """Build sdist and wheel, install the wheel alone, and use it from an empty folder."""
    session.install(*CONSTRAINTS, *nox.project.dependency_groups(toml(), "wheel"))
    dist = Path(session.create_tmp()).resolve() / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(dist), silent=True)
    (built,) = dist.glob("*.whl")
    session.run("python", "-m", "pip", "uninstall", "-y", "fastsnn-np", silent=True)
    session.install(*CONSTRAINTS, str(built))
    empty = dist.parent / "empty"
    empty.mkdir(exist_ok=True)
    script = Path("tests/wheel_smoke.py").resolve()
    session.chdir(empty)
    session.run("python", str(script))


@nox.session
def benchmark(session: nox.Session) -> None:
    """The benchmarks; `nox -s benchmark -- --help` lists the cases."""
    install(session, "benchmark")
    session.install(*CONSTRAINTS, "--no-deps", "snntorch")  # its own needs are for data sets
    bench(session, *session.posargs)


@nox.session
@nox.parametrize("group", list(PEERS), ids=list(PEERS))
def peers(session: nox.Session, group: str) -> None:
    """A library that people use against ours, in an environment of its own."""
    install(session, "benchmark")
    libraries, *imported = PEERS[group]
    if imported:
        session.install(*CONSTRAINTS, *imported)
    if libraries:
        session.install(*CONSTRAINTS, "--no-deps", *libraries)
    bench(session, "peers", "--group", group, *session.posargs)


@nox.session
def guard(session: nox.Session) -> None:
    """About ten ratios against benchmarks/baseline.json, in about a minute."""
    install(session, "benchmark")
    bench(session, "guard", *session.posargs)


def bench(session: nox.Session, *arguments: str) -> None:
    """Run the benchmarks. Some machines pin a BLAS core type, and the fastest is wanted here."""
    env = {"OPENBLAS_CORETYPE": None, "OPENBLAS_L2_SIZE": None}
    session.run("python", "-m", "benchmarks", *arguments, env={**os.environ, **env})


def toml() -> dict:
    return nox.project.load_toml("pyproject.toml")
