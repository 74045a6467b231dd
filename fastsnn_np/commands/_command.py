"""What a command is: options, a result as data, and the same as text."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Command:
    """A command of the command line.

    Parameters
    ----------
    name : str
    about : str
        One line for the list of commands.
    example : str
        Command lines that help shows, without the program's name.
    add_options : callable
        Adds options to a parser.
    run : callable
        Gets the parsed options, gives the result as what JSON can hold.
    text : callable
        Gets the result, gives it as lines to read.
    """

    name: str
    about: str
    example: str
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], Any]
    text: Callable[[Any], str]

    def report(self, arguments: argparse.Namespace) -> str:
        """Run, and say what came of it: as text, or with ``--json`` as JSON."""
        result = self.run(arguments)
        return json.dumps(result, indent=1) if arguments.json else self.text(result)


def add_to(commands: Any, command: Command, epilog: str) -> None:
    """A parser for a command, among those of argparse."""
    examples = "\n".join(f"  fastsnn-np {line}" for line in command.example.splitlines())
    parser = commands.add_parser(
        command.name,
        help=command.about,
        description=f"{command.about[0].upper()}{command.about[1:]}.",
        epilog=f"example:\n{examples}\n\n{epilog}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_options(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def table(rows: list[list[str]]) -> str:
    """Rows as columns, the first to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
