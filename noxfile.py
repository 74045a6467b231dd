"""Every check of the project as a nox session; `nox -l` lists them."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "virtualenv"
nox.options.sessions = ["tests", "tests-slow", "lint", "wheel"]
nox.options.error_on_missing_interpreters = True

CONSTRAINTS = ("-c", "constraints.txt")
BACKENDS = ["numpy", "numba", "torch", "strict", "jax"]
if sys.platform != "darwin":
    BACKENDS.append("cupy")  # without a GPU on a stand-in for CuPy, which its header says
# group in benchmarks/systems/catalogue.py -> libraries, and what they import of what they ask for
PEERS = {
    "plain": ([],),
    "snntorch": (["snntorch"],),
    "spikingjelly": (["spikingjelly"], "loguru"),
    "norse": (["norse"], "nir", "nirtorch"),
    "sinabs": (["sinabs"], "nir", "nirtorch", "pbr"),
    "jax": ([], "spyx"),
}

# what is exchanged with whom -> libraries; "nir" is the formats alone
EXCHANGE_TESTS = ("convert", "exchange", "tonic", "commands", "pages")
EXCHANGE = {
    "nir": [],
    "snntorch": ["snntorch"],
    "norse": ["norse"],
    "tonic": ["tonic", "importRosbag", "expelliarmus", "librosa"],  # what its modules import
}

# name -> what makes this machine compute as another one would
MACHINES = {
    "haswell": {"OPENBLAS_CORETYPE": "Haswell"},
    "skylakex": {"OPENBLAS_CORETYPE": "SkylakeX"},
    "zen": {"OPENBLAS_CORETYPE": "Zen"},
    "prescott": {"OPENBLAS_CORETYPE": "Prescott"},
    "generic": {"NUMBA_CPU_NAME": "generic"},
    **{f"threads-{n}": {"NUMBA_NUM_THREADS": f"{n}", "OMP_NUM_THREADS": f"{n}"} for n in (1, 2, 4)},
}


def install(session: nox.Session, *groups: str, extras: str = "") -> None:
    """Install the project, editable, and dependency groups at the tested versions."""
    project = nox.project.load_toml("pyproject.toml")
    wanted = nox.project.dependency_groups(project, *groups)
    session.install(*CONSTRAINTS, "-e", f".{extras}", *wanted)


def run_tests(session: nox.Session, *arguments: str, **options: Any) -> None:
    """pytest, on all cores; kernels that one session has compiled the next one loads."""
    session.run("pytest", "-n", "auto", "--dist", "worksteal", *arguments, **options)


@nox.session
@nox.parametrize("backend", BACKENDS, ids=BACKENDS)
def tests(session: nox.Session, backend: str) -> None:
    """The tests of one backend; numpy also runs those that belong to none.

    cupy runs on the GPU, or where there is none on a stand-in, and its header says which.
    """
    # CUDA's libraries are a gigabyte, and of use to a GPU only
    extras = "[cupy]" if backend == "cupy" and shutil.which("nvidia-smi") else ""
    install(session, backend, extras=extras)
    run_tests(session, f"--backend={backend}", *session.posargs)


@nox.session(name="tests-jax")
def tests_jax(session: nox.Session) -> None:
    """The core on JAX, which has no backend module here and needs none; `tests` has it too."""
    install(session, "jax")
    run_tests(session, "--backend=jax", *session.posargs)


@nox.session(name="tests-slow")
def tests_slow(session: nox.Session) -> None:
    """What takes longer, in one environment: `-- bounds`, `-- train`, `-- reach`, or all three.

    bounds: the event kernels with every array access checked. train: training runs as people start
    them, some of them killed and resumed. reach: several processes, Dask clusters with workers
    that die, scikit-learn's own checks.
    """
    install(session, "reach")
    chosen = session.posargs or ["bounds", "train", "reach"]
    if "bounds" in chosen:
        check_bounds(session)
    others = [f"--backend={name}" for name in chosen if name != "bounds"]
    if others:
        run_tests(session, *others)


def check_bounds(session: nox.Session) -> None:
    """The kernels compiled afresh, serial and with bounds checks, then as the Python that is read.

    Inside a parallel loop an IndexError is lost, and a warm cache holds unchecked code.
    """
    checks = {
        "NUMBA_BOUNDSCHECK": "1",
        "NUMBA_CACHE_DIR": session.create_tmp(),
        "FASTSNN_PARALLEL": "0",
    }
    tests = ["tests/test_events.py", "tests/test_chunks.py", "tests/test_forward.py"]
    run_tests(session, "--backend=numba", *tests, env=checks)
    # the backward kernels are reached through Torch
    run_tests(session, "--backend=torch", "tests/test_event_gradients.py", env=checks)
    plain = {"NUMBA_DISABLE_JIT": "1"}
    run_tests(session, "--backend=numba", "tests/test_events.py", env=plain)


@nox.session(name="tests-machines")
def tests_machines(session: nox.Session) -> None:
    """The suite as other machines would run it: BLAS kernels, threads, hash seeds, test orders.

    `nox -s tests-machines -- haswell threads-4` runs some of them; all take a quarter of an hour.
    """
    install(session, "machines")
    chosen = session.posargs or list(MACHINES)
    backends = [f"--backend={name}" for name in ("numpy", "numba", "torch", "strict")]
    for seed, name in enumerate(chosen):
        session.log(f"as on the machine {name}: {MACHINES[name]}")
        env = {"PYTHONHASHSEED": str(seed), **MACHINES[name]}
        run_tests(session, *backends, f"--randomly-seed={seed}", env=env)


@nox.session
def fuzz(session: nox.Session) -> None:
    """A million random neurons per engine against the float64 reference; some minutes."""
    install(session, "torch")
    session.run("python", "tests/fuzz_agreement.py", *session.posargs)


@nox.session
def mutants(session: nox.Session) -> None:
    """Plant faults in the algorithm's modules, one after the other: do the tests find them?"""
    install(session, "torch", "numpy")
    session.run("python", "tests/mutants.py", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """Train on the shipped images, save, run every backend, print a table, write plots to demo/."""
    session.install(*CONSTRAINTS, "-e", ".[torch,plot]")
    session.run("python", "-m", "fastsnn_np", "demo", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, formatting, who may import whom, and types (mypy, strict)."""
    install(session, "lint")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports")
    session.run("mypy")


@nox.session
def gpu(session: nox.Session) -> None:
    """Everything that only a GPU can show, into gpu-report.md.

    With -- --cuda12 on a driver that does not know CUDA 13, and then without Torch, whose build is
    for that; with -- --rehearse on the stand-in CuPy, on a machine without a GPU.
    """
    options = [option for option in session.posargs if option != "--cuda12"]
    if "--rehearse" in options:
        install(session, "cupy", "torch")
    else:
        install(
            session, "test", extras="[cupy]" if options != session.posargs else "[cupy13,torch]"
        )
    session.run("python", "tests/gpu_report.py", *options, env={"PYTHONPATH": "."})


@nox.session
def resolve(session: nox.Session) -> None:
    """pip's word on every extra beside Torch for the CPU, CUDA 12 and CUDA 13; minutes."""
    session.install("pip>=24")
    session.run("python", "tests/resolve_extras.py", *session.posargs)


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
@nox.parametrize("group", list(EXCHANGE), ids=list(EXCHANGE))
def exchange(session: nox.Session, group: str) -> None:
    """Networks from and to NIR, ONNX, snnTorch and Norse, recordings of tonic; a minute each."""
    install(session, "exchange")
    if EXCHANGE[group]:
        session.install(*CONSTRAINTS, "--no-deps", *EXCHANGE[group])
    tests = [f"tests/test_{name}.py" for name in EXCHANGE_TESTS]
    run_tests(session, "--backend=exchange", *tests, *session.posargs)


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
    """About ten ratios against benchmarks/baseline.json, or `-- --against CHECKOUT`."""
    install(session, "benchmark")
    bench(session, "guard", *session.posargs)


def bench(session: nox.Session, *arguments: str) -> None:
    """Run the benchmarks. Some machines pin a BLAS core type, and the fastest is wanted here."""
    env = {"OPENBLAS_CORETYPE": None, "OPENBLAS_L2_SIZE": None}
    session.run("python", "-m", "benchmarks", *arguments, env={**os.environ, **env})


def toml() -> dict:
    return nox.project.load_toml("pyproject.toml")
