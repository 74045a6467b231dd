"""CUDA kernels compiled as C++ and run on the CPU, each thread of the grid in turn.

It holds for kernels in which no thread waits for another. It says nothing about drivers, time or
races. Each argument is held against the parameter list that the compiler itself read.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

HEADER = Path(__file__).with_name("cuda_emulator.h")
REALS = {"float32": "float", "float64": "double"}
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-g")


class Pointer(NamedTuple):
    """Memory as a kernel sees it: its address, and what stands there as far as that is known."""

    address: int
    dtype: Any
    contiguous: bool = True


class Emulator:
    """The kernels of a CUDA source, in one precision.

    Parameters
    ----------
    source : str
        CUDA C++ whose working precision is the macro REAL.
    dtype : NumPy dtype
        float32 or float64.
    flags : sequence of str
        More options for g++.
    """

    def __init__(self, source: str, dtype: Any, flags: tuple[str, ...] = ()) -> None:
        self.real = np.dtype(dtype)
        plain = re.sub(r"//.*", "", source)
        self.names = re.findall(r"__global__\s+void\s+(\w+)\s*\(", plain)
        exported = "\n".join(f"EMULATED({name})" for name in self.names)
        code = f'{HEADER.read_text()}\n#line 1 "event.cu"\n{source}\n{exported}\n'
        options = (
            *("-std=c++17", "-O2", "-march=native", "-ffp-contract=off", "-Wall", "-Werror"),
            *("-Wno-unknown-pragmas", f"-DREAL={REALS[self.real.name]}", *flags),
        )
        self.library = ctypes.CDLL(str(_built(code, options)))
        self.parameters = {name: self._parameters(name) for name in self.names}

    def _parameters(self, name: str) -> list[tuple[Any, bool]]:
        function = self.library[f"signature_{name}"]
        function.restype = ctypes.c_char_p
        codes = function().decode().split()
        return [(np.dtype(code.rstrip("*")), code.endswith("*")) for code in codes]

    def launch(
        self, name: str, grid: tuple[int, ...], block: tuple[int, ...], args: Any, seed: int = 0
    ) -> None:
        """Run a kernel; arguments are NumPy arrays or `Pointer`, or NumPy scalars by value."""
        wanted = self.parameters[name]
        assert len(args) == len(wanted), f"{name}: {len(args)} arguments for {len(wanted)}"
        check_grid(name, grid, block)
        held = [
            _held(f"{name}, argument {i}", *pair)
            for i, pair in enumerate(zip(args, wanted, strict=True))
        ]
        pointers = (ctypes.c_void_p * len(held))(*[ctypes.addressof(h) for h in held])
        sizes = [(ctypes.c_uint * 3)(*(*size, 1, 1)[:3]) for size in (grid, block)]
        self.library[f"run_{name}"](*sizes, pointers, ctypes.c_uint(seed))


def check_grid(name: str, grid: tuple[int, ...], block: tuple[int, ...]) -> None:
    """The limits of every GPU since compute capability 3.0."""
    assert all(type(n) is int and n >= 1 for n in (*grid, *block)), f"{name}: {grid}, {block}"
    assert grid[0] < 2**31 and max(grid[1:], default=1) <= 65_535, f"{name}: grid {grid}"
    assert int(np.prod(block)) <= 1024, f"{name}: block {block}"


def _held(what: str, argument: Any, parameter: tuple[Any, bool]) -> Any:
    dtype, is_pointer = parameter
    if not is_pointer:
        assert isinstance(argument, np.generic), f"{what}: {type(argument)} by value"
        assert argument.dtype == dtype, f"{what}: {argument.dtype} for {dtype}"
        return np.ctypeslib.as_ctypes_type(dtype)(argument.item())
    if isinstance(argument, np.generic):  # a null pointer
        assert argument.dtype == np.uintp and argument == 0, f"{what}: {argument!r} as a pointer"
        return ctypes.c_void_p(0)
    if isinstance(argument, np.ndarray):
        argument = Pointer(argument.ctypes.data, argument.dtype, argument.flags.c_contiguous)
    assert isinstance(argument, Pointer), f"{what}: {type(argument)} as a pointer"
    assert argument.contiguous, f"{what} is not contiguous"
    as_bytes = dtype == np.uint8 and argument.dtype == np.bool_
    assert argument.dtype == dtype or as_bytes, f"{what}: {argument.dtype} for {dtype}"
    return ctypes.c_void_p(argument.address)


def missing() -> str | None:
    """Why kernels cannot be emulated here, or None."""
    return None if shutil.which("g++") else "g++ is not installed"


def _built(code: str, options: tuple[str, ...]) -> Path:
    """The compiled library; kept in the temporary folder under the hash of what made it."""
    digest = hashlib.sha256("\0".join((code, *options)).encode()).hexdigest()[:20]
    folder = Path(tempfile.gettempdir()) / f"fastsnn_np-emulator-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    library = folder / f"{digest}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=folder) as name:
            source, made = Path(name, "kernels.cpp"), Path(name, "kernels.so")
            source.write_text(code)
            command = ["g++", *options, "-shared", "-fPIC", "-o", str(made), str(source)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            made.replace(library)
    return library
