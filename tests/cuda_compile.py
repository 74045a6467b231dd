"""NVRTC and ptxas from their pip packages: CUDA source to a GPU's code, with no driver and no GPU.

Run as a program it prints the registers of every kernel, as docs/gpu.md has them.
"""

from __future__ import annotations

import ctypes
import importlib.util
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from fastsnn_np.backends import _cuda as cuda

TARGETS = (75, 80, 86, 89, 90, 100, 120)  # of Turing, the oldest that CuPy takes, to Blackwell
REALS = ("float32", "float64")


class Use(NamedTuple):
    """What ptxas reports of a kernel."""

    registers: int
    stack: int  #: bytes
    spilled: int  #: bytes stored and loaded


def found(package: str, pattern: str) -> Path | None:
    """A file of one of NVIDIA's pip packages."""
    spec = importlib.util.find_spec("nvidia")
    folders = [] if spec is None else spec.submodule_search_locations or []
    files = (path for folder in folders for path in sorted(Path(folder, package).glob(pattern)))
    return next(files, None)


def nvrtc() -> Path | None:
    return found("cuda_nvrtc", "lib/libnvrtc.so.*")


def ptxas() -> Path | None:
    return found("cuda_nvcc", "bin/ptxas")


class CompileError(Exception):
    pass


def compiled(source: str, options: tuple[str, ...]) -> bytes:
    """PTX, or `CompileError` with NVRTC's log; a warning is an error too."""
    library = ctypes.CDLL(str(nvrtc()))
    program = ctypes.c_void_p()
    library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"event.cu", 0, None, None)
    encoded = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
    failed = library.nvrtcCompileProgram(program, len(options), encoded)
    log = _bytes(library, "ProgramLog", program)
    if failed or log.strip():
        raise CompileError(log.decode())
    ptx = _bytes(library, "PTX", program)
    library.nvrtcDestroyProgram(ctypes.byref(program))
    return ptx


def _bytes(library: Any, what: str, program: Any) -> bytes:
    size = ctypes.c_size_t()
    library[f"nvrtcGet{what}Size"](program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(max(size.value, 1))
    library[f"nvrtcGet{what}"](program, buffer)
    return buffer.raw.rstrip(b"\0")


def assembled(ptx: bytes, target: int) -> dict[str, Use]:
    """Registers and spills of every kernel in PTX."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "event.ptx")
        path.write_bytes(ptx)
        command = [str(ptxas()), "-v", f"-arch=sm_{target}", str(path), "-o", "/dev/null"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    report = re.compile(
        r"Compiling entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, "
        r"(\d+) bytes spill loads.*?Used (\d+) registers",
        re.DOTALL,
    )
    return {
        name: Use(int(registers), int(stack), int(stores) + int(loads))
        for name, stack, stores, loads, registers in report.findall(done.stderr)
    }


def used(dtype: str, target: int) -> dict[str, Use]:
    options = (f"--gpu-architecture=sm_{target}", *cuda.options(dtype))
    return assembled(compiled(cuda.SOURCE.read_text(), options), target)


def table() -> list[str]:
    """Registers per kernel and target, float32 / float64."""
    uses = {(real, target): used(real, target) for real in REALS for target in TARGETS}
    rows = ["| kernel | " + " | ".join(f"sm_{t}" for t in TARGETS) + " |"]
    rows.append("| --- |" + " --- |" * len(TARGETS))
    for name in cuda.parameters():
        cells = [" / ".join(str(uses[r, t][name].registers) for r in REALS) for t in TARGETS]
        rows.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return rows


if __name__ == "__main__":
    sys.stdout.write("\n".join(table()) + "\n")
