"""One small module a library: what the Array API does not give there, and its kernels.

A backend module has ``version()``, ``devices()`` (which raises the library's own error where it
cannot be used) and ``asarray(x, device=None)``, the explicit move of an array to it. What it adds
is optional and asked for by name with `hook`: ``fft_convolve``, ``scatter_add``, or engines of its
own, ``layer`` and ``readout``. A library without a module here works all the same.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import Any

if __name__ != "fastsnn_np.backends":
    raise ImportError("import fastsnn_np.backends: a second copy as 'backends' would share nothing")

__all__ = ["CAPABILITIES", "Capability", "Status", "available", "get", "hook", "status"]


@dataclass(frozen=True)
class Capability:
    """What a backend is for: the README's table and the tests' choices come from here."""

    arrays: str  #: the arrays it takes and gives
    devices: tuple[str, ...]
    engines: tuple[str, ...]
    trains: bool  #: whether gradients can be had (through fastsnn_np.torch)


CAPABILITIES = {
    "numpy": Capability("NumPy", ("cpu",), ("dense",), trains=False),
    "numba": Capability("NumPy", ("cpu",), ("event", "dense kernel"), trains=False),
    "torch": Capability("Torch", ("cpu", "cuda", "any other of Torch"), ("dense",), trains=True),
    "cupy": Capability("CuPy", ("cuda",), ("dense",), trains=False),
}


@dataclass(frozen=True)
class Status:
    """Whether a backend can be used here, and on what."""

    name: str
    version: str | None
    devices: tuple[str, ...]
    error: str | None  #: the library's own import or driver error

    def __str__(self) -> str:
        version = self.version or "-"
        if self.error is not None:
            return f"{self.name:<6} {version:<12} not usable: {self.error}"
        return f"{self.name:<6} {version:<12} {', '.join(self.devices)}"


def get(name: str) -> ModuleType:
    """The backend module called `name`, imported now if it was not before.

    Raises
    ------
    ValueError
        If there is no such backend; the message lists the known ones.
    ImportError
        The library's own error, if it cannot be imported.
    """
    if name not in CAPABILITIES:
        raise ValueError(f"no backend {name!r}; known: {', '.join(CAPABILITIES)}")
    return importlib.import_module(f"fastsnn_np.backends.{name}")


def hook(library: str, name: str) -> Any:
    """The function `name` of the library's backend module, or None if it needs none."""
    return getattr(get(library), name, None) if library in CAPABILITIES else None


def status(name: str) -> Status:
    """Try a backend and tell what came of it; only a failing library is caught, and quoted."""
    if name not in CAPABILITIES:
        get(name)
    version = None
    try:
        module = get(name)
        version = module.version()
        return Status(name, version, tuple(module.devices()), None)
    except Exception as error:  # a broken driver raises anything; it is shown, not hidden
        first_line = (str(error).strip() or "no message").splitlines()[0]
        return Status(name, version, (), f"{type(error).__name__}: {first_line}")


def available() -> tuple[str, ...]:
    """The names of the backends that can be used on this machine."""
    return tuple(name for name in CAPABILITIES if status(name).error is None)
