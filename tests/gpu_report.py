"""Everything that only a GPU can show, in one go: ``nox -s gpu`` leaves gpu-report.md.

A part that fails is written down and the others go on; the exit status is that of the worst. With
--rehearse the same lines run on the stand-in CuPy, small, to show that they run: no time in such a
report means anything.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cuda_networks as networks
import gpu_times as times
import numpy as np
from cuda_emulator import Emulator

from fastsnn_np.backends import _cuda as cuda
from fastsnn_np.backends.event.cuda_engine import CudaDense

ROOT = Path(__file__).parents[1]


def run(*command: str) -> tuple[int, str]:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    env = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False, cwd=ROOT)
    return done.returncode, done.stdout + done.stderr


def doctor() -> Iterator[str]:
    code, said = run(sys.executable, "-m", "fastsnn_np", "doctor")
    yield from ("```", said.rstrip(), "```")
    if code or ("cupy" in said and "not usable" in said.split("cupy", 1)[1]):
        raise RuntimeError("CuPy is not usable here")


def tests() -> Iterator[str]:
    code, said = run(
        sys.executable, "-m", "pytest", "-q", "--backend=cupy", "-p", "no:cacheprovider"
    )
    yield from ("```", *said.rstrip().splitlines()[-12:], "```")
    if code:
        raise RuntimeError(f"pytest --backend=cupy ended with {code}")


def on_device(cp: Any, dtype: str) -> cuda.Kernels:
    """The kernels on a GPU for NumPy arrays: copied there, and back into them."""
    module = cp.RawModule(code=cuda.SOURCE.read_text(), options=cuda.options(dtype))

    def launch(name: str, grid: Any, block: Any, args: Any) -> None:
        there = [cp.asarray(a) if isinstance(a, np.ndarray) else a for a in args]
        module.get_function(name)(grid, block, tuple(there))
        for host, array in zip(args, there, strict=True):
            if isinstance(host, np.ndarray) and host.flags.writeable:
                host[...] = array.get()

    return cuda.Kernels(dtype, launch, lambda array: array, np.ascontiguousarray)


def results(drawn: networks.Drawn, kernels: cuda.Kernels, seen: list[Any]) -> list[Any]:
    """What every kernel writes for a network; `seen` are the spikes that gradients start from."""
    out, read = networks.forward(drawn, kernels)
    dense, dense_read = networks.forward(drawn, kernels, CudaDense)
    if not seen:
        where = np.zeros_like(drawn.dlogits, np.int32)
        potentials = map(networks.time_first, (out.potential, read.potential))
        seen += [out.times, *potentials, where]
    spikes, potential, of_readout, where = seen
    gradients = networks.backward(drawn, kernels, spikes, potential, where, of_readout)
    found = [*out, *read, *dense, *dense_read]
    return [*found, *(a for g in gradients for a in vars(g).values())]


def bits(cp: Any, count: int) -> Iterator[str]:
    """A GPU's results against the emulator's, bit by bit, in both precisions."""
    source = cuda.SOURCE.read_text()
    for dtype in ("float32", "float64"):
        emulated = networks.kernels_of(Emulator(source, dtype))
        gpu = on_device(cp, dtype)
        compared = different = 0
        for seed in range(count):
            drawn, seen = networks.draw(seed, dtype), []
            for a, b in zip(results(drawn, emulated, seen), results(drawn, gpu, seen), strict=True):
                compared += a.size
                different += a.tobytes() != b.tobytes()
        yield f"* {dtype}: {count} networks, {compared} numbers, {different} arrays differ"
        if different:
            raise RuntimeError(f"{different} arrays of {dtype} differ from the emulator's")


def sanitizer(rehearse: bool) -> Iterator[str]:
    tool = shutil.which("compute-sanitizer")
    if tool is None or rehearse:
        yield "compute-sanitizer is not installed, or this is a rehearsal: not run."
        return
    for check in ("memcheck", "initcheck", "racecheck"):
        command = (tool, "--tool", check, "--error-exitcode", "9", sys.executable, __file__)
        code, said = run(*command, "--bits-only", "5")
        yield f"* {check}: exit status {code}, {said.rstrip().splitlines()[-1]}"
        if code:
            raise RuntimeError(f"compute-sanitizer {check} found something")


def machine(cp: Any) -> Iterator[str]:
    yield f"{platform.platform()}, Python {platform.python_version()}, CuPy {cp.__version__}"


def installed(rehearse: bool) -> Any:
    import cupy

    if cupy.cuda.is_available():
        return cupy
    if not rehearse:
        sys.exit("no GPU here: run on a machine that has one, or with --rehearse")
    import standin_cupy

    return standin_cupy.install(cupy.__version__)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--bits-only", type=int, help="compare so many networks and stop")
    parser.add_argument("--out", type=Path, default=Path("gpu-report.md"))
    options = parser.parse_args()
    cp = installed(options.rehearse)
    if options.bits_only:
        sys.stdout.writelines(f"{line}\n" for line in bits(cp, options.bits_only))
        return 0
    small = options.rehearse
    effort = times.Effort(1, 2, graphs=False) if small else times.Effort()
    parts: dict[str, Callable[[], Iterator[str]]] = {
        "Machine": lambda: machine(cp),
        "Doctor": doctor,
        "Tests": tests,
        "Bits": lambda: bits(cp, 5 if small else 60),
        "compute-sanitizer": lambda: sanitizer(small),
        "Times of forward runs": lambda: times.forward_times(cp, effort),
        "Densities": lambda: times.density_sweep(cp, effort),
        "Training steps": lambda: times.training_times(effort, "cpu" if small else "cuda"),
    }
    if small:
        del parts["Doctor"], parts["Tests"]
    failed = []
    kind = "rehearsal on the stand-in CuPy: NO GPU, and no time here means anything"
    lines = [f"# GPU report{f' ({kind})' if small else ''}", ""]
    for title, part in parts.items():
        lines += [f"## {title}", ""]
        try:
            for line in part():
                lines.append(line)
                sys.stdout.write(line + "\n")
        except Exception:  # written down; what comes after may still tell something
            failed.append(title)
            lines += ["", "FAILED", "```", traceback.format_exc().rstrip(), "```"]
            traceback.print_exc()
        lines.append("")
        options.out.write_text("\n".join(lines) + "\n")
    lines += [f"Failed: {', '.join(failed)}" if failed else "All parts ran.", ""]
    options.out.write_text("\n".join(lines))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
