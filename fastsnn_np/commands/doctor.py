"""``doctor``: which backends work on this machine."""

from __future__ import annotations

import argparse
import platform
from dataclasses import asdict
from typing import Any

from .. import backends
from .._doctor import described
from .._version import __version__
from ._command import Command


def _add_options(parser: argparse.ArgumentParser) -> None:
    """None but those of every command."""


def _run(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "version": __version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "backends": [asdict(backends.status(name)) for name in backends.CAPABILITIES],
    }


def _text(result: dict[str, Any]) -> str:
    return described([backends.Status(**status) for status in result["backends"]])


COMMAND = Command(
    "doctor",
    about="say which backends work here, and why others do not",
    example="doctor",
    add_options=_add_options,
    run=_run,
    text=_text,
)
