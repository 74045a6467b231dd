"""The event engine's CUDA kernels: their source, their parameters, and what launches one.

The source is compiled by NVRTC where it runs, once per precision and GPU. A library says how: by
CuPy's ``RawModule``, which keeps the result on disk, or by Torch.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastsnn_np._namespace import Array

SOURCE = Path(__file__).parent / "event" / "event.cu"
#: threads a block: two warps, so that a batch of one still spreads over the GPU
BLOCK = 64
#: Density up to which `Events` are computed as events, derived and not yet measured. With density d
#: an output neuron of a sample and step adds 4 d J bytes of weight rows, which come from L2 at
#: 5.5 TB/s on an H100; the dense product takes 2 J flops at 75 % of 67 TFLOP/s (float32). They
#: cost the same at d = 2 / 50e12 * 5.5e12 / 4 = 5.5 %, whatever J, batch and steps are.
DENSEST = 0.05
#: what CuPy takes for a null pointer; None would make the driver read an argument at address 0
NULL = np.uintp(0)
_REALS = {"float32": "float", "float64": "double"}
_MOST_ROWS, _MOST_TILES = 2**31 - 1, 65_535


def options(dtype: Any) -> tuple[str, ...]:
    """NVRTC's options for a precision; what is fused is written as fma, and nothing else is."""
    return ("--std=c++17", "--fmad=false", f"-DREAL={_REALS[str(np.dtype(dtype))]}")


@functools.cache
def parameters() -> dict[str, tuple[str, ...]]:
    """The type of each parameter of each kernel, as the source has it: "int", "const REAL*"."""
    text = re.sub(r"//.*", "", SOURCE.read_text())
    found = re.findall(r"__global__ void (\w+)\((.*?)\)\s*\{", text, re.DOTALL)
    return {
        name: tuple(" ".join(p.split()[:-1]) for p in declared.split(","))
        for name, declared in found
    }


@dataclass(frozen=True)
class Kernels:
    """The kernels in one precision, for arrays of one library."""

    dtype: Any  #: NumPy's float32 or float64
    #: ``launch(name, grid, block, args)`` on the current stream of the current device
    launch: Callable[[str, tuple[int, int], tuple[int], tuple[Any, ...]], None]
    #: what `launch` takes for an array
    pointer: Callable[[Array], Any]
    #: the same values in C order, without a copy if they are
    contiguous: Callable[[Array], Array]

    @functools.cached_property
    def _conversions(self) -> dict[str, tuple[Any, ...]]:
        by_value = {"int": np.int32, "REAL": np.dtype(self.dtype).type}
        return {
            name: tuple(self._pointer if "*" in kind else by_value[kind] for kind in kinds)
            for name, kinds in parameters().items()
        }

    def __call__(self, name: str, rows: int, columns: int, *args: Any) -> None:
        """One thread per row and column; None is a null pointer, numbers get the size they need.

        Raises
        ------
        ValueError
            If there are more rows or columns than a grid has blocks for.
        """
        conversions = self._conversions[name]
        sized = tuple(convert(a) for convert, a in zip(conversions, args, strict=True))
        if rows and columns:
            self.launch(name, _grid(name, rows, columns), (BLOCK,), sized)

    def _pointer(self, array: Array | None) -> Any:
        return NULL if array is None else self.pointer(array)


def _grid(name: str, rows: int, columns: int) -> tuple[int, int]:
    """Rows along x, which alone counts beyond 65,535; the blocks of a tile of neurons are near."""
    tiles = -(-columns // BLOCK)
    if rows > _MOST_ROWS or tiles > _MOST_TILES:
        raise ValueError(
            f"the kernel {name} would need {rows} x {tiles} blocks of {BLOCK} threads, and CUDA "
            f"takes {_MOST_ROWS} x {_MOST_TILES}: use a smaller batch, fewer neurons or steps, or "
            "engine='dense'"
        )
    return rows, tiles
