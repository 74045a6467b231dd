"""The devices of the stand-in CuPy: two of them, a current one, and what is counted on them."""

from __future__ import annotations

import collections
import operator
import types
from typing import Any

DEVICES = 2
#: "launch" (kernels), "sync" (the host waits), "h2d", "d2h", "p2p" (copies) since `reset`
COUNTS: collections.Counter[str] = collections.Counter()
LAUNCHED: list[str] = []  #: names of the kernels in order
_current = [0]


def reset() -> None:
    COUNTS.clear()
    LAUNCHED.clear()


def launch(name: str) -> None:
    COUNTS["launch"] += 1
    LAUNCHED.append(name)


class CUDARuntimeError(RuntimeError):
    pass


class Device:
    def __init__(self, device: Any = None) -> None:
        self.id = _current[-1] if device is None else operator.index(int(device))
        if not 0 <= self.id < DEVICES:
            raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")

    def __int__(self) -> int:
        return self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"

    def __enter__(self) -> Device:
        _current.append(self.id)
        return self

    def __exit__(self, *error: Any) -> None:
        _current.pop()

    def synchronize(self) -> None:
        COUNTS["sync"] += 1


def modules() -> dict[str, types.ModuleType]:
    """cupy.cuda and its parts."""
    cuda: Any = types.ModuleType("cupy.cuda")
    device: Any = types.ModuleType("cupy.cuda.device")
    runtime: Any = types.ModuleType("cupy.cuda.runtime")
    compiler: Any = types.ModuleType("cupy.cuda.compiler")
    nvrtc: Any = types.ModuleType("cupy.cuda.nvrtc")
    memory: Any = types.ModuleType("cupy.cuda.memory")
    cuda.Device = device.Device = Device
    cuda.is_available = lambda: True
    cuda.Stream = type("Stream", (), {})
    cuda.ExternalStream = type("ExternalStream", (), {})
    cuda.get_cublas_handle = device.get_cublas_handle = lambda: 0
    runtime.getDeviceCount = lambda: DEVICES
    runtime.getDeviceProperties = lambda i: {"name": b"stand-in, no GPU", "major": 9, "minor": 0}
    runtime.driverGetVersion = runtime.runtimeGetVersion = lambda: 12_090
    runtime.CUDARuntimeError = CUDARuntimeError
    nvrtc.getVersion = lambda: (12, 9)
    compiler.CompileException = type("CompileException", (Exception,), {})
    memory.OutOfMemoryError = type("OutOfMemoryError", (MemoryError,), {})
    parts = {"device": device, "runtime": runtime, "compiler": compiler, "nvrtc": nvrtc}
    for name, part in {**parts, "memory": memory}.items():
        setattr(cuda, name, part)
    return {"cupy.cuda": cuda, **{f"cupy.cuda.{name}": part for name, part in parts.items()}}
