"""One small module per library: what the Array API does not give there.

A backend says where arrays live. Its module makes one `Backend` record, and `get` gives it by
name. A library without a module here works all the same, by the Array API alone. How a layer is
computed is another question, of an engine: see ``fastsnn_np._engine`` and ``backends.event``.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from fastsnn_np._namespace import library_name, namespace, said
from fastsnn_np.backends._cupy_advice import advice
from fastsnn_np.backends._record import Backend

if __name__ != "fastsnn_np.backends":
    raise ImportError("import fastsnn_np.backends: a second copy as 'backends' would share nothing")

__all__ = [
    "CAPABILITIES",
    "Backend",
    "Capability",
    "Status",
    "available",
    "beside",
    "get",
    "of",
    "status",
    "table",
]


@dataclass(frozen=True)
class Capability:
    """What a backend is for: the README's table and the tests' choices come from here."""

    arrays: str  #: the arrays it takes and gives
    devices: tuple[str, ...]
    engines: tuple[str, ...]
    #: how `SpikeTimes` and `Events` are multiplied by weights, in the engines' order of choice
    sparse: tuple[str, ...]
    trains: bool  #: whether gradients can be had (through fastsnn_np.torch)


CAPABILITIES = {
    "numpy": Capability(
        "NumPy", ("cpu",), ("dense", "event"), ("by event", "sparse product"), trains=False
    ),
    "numba": Capability(
        "NumPy", ("cpu",), ("dense kernel", "event"), ("by event", "made dense"), trains=False
    ),
    "torch": Capability(
        "Torch",
        ("cpu", "cuda", "any other of Torch"),
        ("dense", "event on cpu and cuda"),
        ("by event", "sparse product"),
        trains=True,
    ),
    "cupy": Capability(
        "CuPy", ("cuda",), ("dense kernel", "event"), ("by event", "made dense"), trains=False
    ),
}
_OTHERS = Capability("its own", ("its own",), ("dense",), ("made dense",), trains=False)


def table() -> str:
    """What each backend is for, as the README's table in Markdown."""
    rows: list[tuple[str, ...]] = [
        ("backend", "arrays", "devices", "engines", "sparse input", "trains"),
        ("---",) * 6,
    ]
    names = [*[f"`{name}`" for name in CAPABILITIES], "none, any Array API library"]
    for name, can in zip(names, [*CAPABILITIES.values(), _OTHERS], strict=True):
        trains = "yes" if can.trains else "no"
        lists = (", ".join(found) for found in (can.devices, can.engines, can.sparse))
        rows.append((name, can.arrays, *lists, trains))
    return "\n".join(f"| {' | '.join(row)} |".replace("| --- ", "|---") for row in rows)


@dataclass(frozen=True)
class Status:
    """Whether a backend can be used here, and on what."""

    name: str
    version: str | None
    devices: tuple[str, ...]
    error: str | None  #: the library's own import or driver error
    advice: str | None = None  #: what to do about it, where that is known

    def __str__(self) -> str:
        version = self.version or "-"
        if self.error is not None:
            advice = "" if self.advice is None else f" -> {self.advice}"
            return f"{self.name:<6} {version:<12} not usable: {self.error}{advice}"
        return f"{self.name:<6} {version:<12} {', '.join(self.devices)}"


def get(name: str) -> Backend:
    """The backend called `name`; its library is imported now if it was not before.

    Raises
    ------
    ValueError
        If there is no such backend; the message lists the known ones.
    ImportError
        The library's own error, if it cannot be imported.
    """
    match name if isinstance(name, str) else None:
        case "numpy":
            from fastsnn_np.backends.numpy import BACKEND
        case "numba":
            from fastsnn_np.backends.numba import BACKEND
        case "torch":
            from fastsnn_np.backends.torch import BACKEND
        case "cupy":
            from fastsnn_np.backends.cupy import BACKEND
        case _:
            raise ValueError(f"no backend {said(name)}; known: {', '.join(CAPABILITIES)}")
    return BACKEND


def of(xp: ModuleType) -> Backend:
    """The backend of arrays of the namespace `xp`: of any other library, one that adds nothing."""
    if not isinstance(xp, ModuleType):
        raise TypeError(f"xp must be an Array API namespace, a module, got {said(xp)}")
    name = library_name(xp)
    if name in CAPABILITIES:
        return get(name)

    def asarray(x: Any, device: Any = None) -> Any:
        return xp.asarray(x, device=device)

    return Backend(name, version=lambda: str(xp.__version__), devices=list, asarray=asarray)


def beside(array: Any) -> AbstractContextManager[Any]:
    """A context in which the library of `array` computes where the array lies."""
    backend = of(namespace(array=array))
    return backend.on(backend.home(array))


def status(name: str) -> Status:
    """Try a backend and tell what came of it; only a failing library is caught, and quoted."""
    if not isinstance(name, str) or name not in CAPABILITIES:
        get(name)
    version = None
    try:
        backend = get(name)
        version = backend.version()
        return Status(name, version, tuple(backend.devices()), None)
    except Exception as error:  # a broken driver raises anything; it is shown, not hidden
        first_line = (str(error).strip() or "no message").splitlines()[0]
        what_to_do = advice(error) if name == "cupy" else None
        return Status(name, version, (), f"{type(error).__name__}: {first_line}", what_to_do)


def available() -> tuple[str, ...]:
    """The names of the backends that can be used on this machine."""
    return tuple(name for name in CAPABILITIES if status(name).error is None)
