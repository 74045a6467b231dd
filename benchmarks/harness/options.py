"""The options that several commands share, and the session that they make."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from .checkout import Checkout
from .results import DEFAULT, Results
from .session import Session

Shared = Literal["results", "device", "resume", "rounds", "against"]
MEASURES: tuple[Shared, ...] = ("results", "device", "resume", "rounds", "against")


def _add_results(command: argparse.ArgumentParser) -> None:
    command.add_argument("--results", type=Path, default=DEFAULT, help="CSV file")


def _add_device(command: argparse.ArgumentParser) -> None:
    command.add_argument("--device", default="cpu", help="cpu or cuda")
    command.add_argument("--backend", choices=["cupy"], help="arrays of the dense core")


def _add_resume(command: argparse.ArgumentParser) -> None:
    command.add_argument("--fresh", action="store_true", help="measure all once more")
    command.add_argument("--retry-disturbed", action="store_true", help="and what others disturbed")
    command.add_argument("--seed", type=int, default=0)


def _add_rounds(command: argparse.ArgumentParser) -> None:
    command.add_argument("--rounds", type=int, help="repeats")


def _add_against(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--against", type=Path, metavar="CHECKOUT", help="measure this checkout's code in turns too"
    )
    command.add_argument(
        "--against-python", type=Path, help="its Python; by default its .venv's, or this one"
    )


SHARED: dict[Shared, Callable[[argparse.ArgumentParser], None]] = {
    "results": _add_results,
    "device": _add_device,
    "resume": _add_resume,
    "rounds": _add_rounds,
    "against": _add_against,
}


def add_shared(command: argparse.ArgumentParser, shares: Sequence[Shared]) -> None:
    """Add the options that a command shares with others."""
    command.add_argument("--quick", action="store_true", help="fewer points and repeats")
    for shared in shares:
        SHARED[shared](command)


def session_of(parsed: argparse.Namespace, shares: Sequence[Shared], server: str) -> Session:
    """The session by the options that a command shares; its workers run the module `server`.

    Raises
    ------
    ValueError
        If the results are another program's, or ``--against`` is no checkout.
    """
    more: dict[str, Any] = {}
    fresh = {}
    if "resume" in shares:
        fresh = {"fresh": parsed.fresh, "retry_disturbed": parsed.retry_disturbed}
        more["seed"] = parsed.seed
    if "device" in shares:
        more |= {"device": parsed.device, "backend": parsed.backend}
    if "rounds" in shares:
        more["rounds"] = parsed.rounds
    if "against" in shares and parsed.against is not None:
        more["against"] = Checkout.at(parsed.against, parsed.against_python)
    results = Results(parsed.results, **fresh)
    return Session(parsed.command, results, parsed.quick, server=server, **more)


def slowing_settings() -> str:
    """A remark on settings that slow NumPy's BLAS down, or nothing."""
    pinned = [k for k in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE") if k in os.environ]
    if not pinned:
        return ""
    unset = " ".join(f"-u {name}" for name in pinned)
    return f"{' and '.join(pinned)} slow NumPy's products down here: start with `env {unset}`"
