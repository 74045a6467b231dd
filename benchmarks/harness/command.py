"""What a command of `python -m benchmarks` is."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

from .options import MEASURES, Shared
from .rows import Row
from .session import Session

Options = TypeVar("Options")


@dataclass(frozen=True)
class NoOptions:
    """For a command that has no options of its own."""


def add_nothing(parser: argparse.ArgumentParser) -> None:
    """For a command that has no options of its own."""


@dataclass(frozen=True)
class Command(Generic[Options]):
    """A name, options, and a function that measures.

    `run` yields rows as they are taken. It neither computes with them nor draws them: the command
    line does, as rows come and at the end.
    """

    name: str
    about: str
    run: Callable[[Session, Options], Iterable[list[Row]]]
    options: type[Options]  #: a dataclass, with a field for each option of this command
    add_options: Callable[[argparse.ArgumentParser], None] = add_nothing
    shares: tuple[Shared, ...] = MEASURES

    def options_of(self, parsed: argparse.Namespace) -> Options:
        """The command's own options among those that were parsed."""
        own: Any = self.options
        return self.options(**{f.name: getattr(parsed, f.name) for f in fields(own)})
