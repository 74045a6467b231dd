"""Contestants in another process: another checkout's, or a library that may fail to import.

The process stays, so that contestants can be timed in turns. The parent writes one line of JSON a
request, and gets one back.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .checkout import Checkout
from .contest import Contest, Contestant, Figures
from .machine import ROOT
from .timers import Timer


class WorkerError(RuntimeError):
    """The process ended; the message is its own last line."""


class Worker:
    """A process that sets up contests and runs their contestants.

    Parameters
    ----------
    module : str
        What the process runs; it calls `serve`.
    arguments : sequence of str
        Its command line.
    checkout : Checkout, optional
        Whose `fastsnn_np` it imports; by default the one that this process would import.
    """

    def __init__(
        self, module: str, arguments: Sequence[str] = (), checkout: Checkout | None = None
    ) -> None:
        self.unchecked = checkout
        self.folder = tempfile.TemporaryDirectory()
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed in `close`)
        where = Path(self.folder.name)
        self.process = subprocess.Popen(
            [checkout.python if checkout else sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            cwd=where if checkout else ROOT,
            env=checkout.environment(where) if checkout else None,
        )

    def ask(self, do: str, **request: Any) -> Any:
        """The answer to a request.

        Raises
        ------
        WorkerError
            If the process has ended, or imports another `fastsnn_np` than its checkout's.
        """
        if self.unchecked is not None:
            found, path = Path(self._ask("where")), self.unchecked.path
            if not found.resolve().is_relative_to(path):
                raise WorkerError(f"{self.unchecked.python} imports {found}, not that of {path}")
            self.unchecked = None
        return self._ask(do, **request)

    def _ask(self, do: str, **request: Any) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self.process.wait()
            raise WorkerError(self._last_words())
        return json.loads(answer)

    def close(self) -> None:
        with suppress(BrokenPipeError):  # it has ended already
            self.process.communicate()
        self.errors.close()
        self.folder.cleanup()

    def _last_words(self) -> str:
        self.errors.seek(0)
        lines = [line for line in self.errors.read().splitlines() if line.strip()]
        return lines[-1] if lines else f"exit status {self.process.returncode}"


@dataclass(frozen=True)
class Remote:
    """A contestant in a worker. The worker has a timer of the same device as its parent."""

    worker: Worker
    kind: str
    arguments: dict[str, Any]
    names: tuple[str, ...]  #: contestants that the worker sets up together
    name: str

    def output(self) -> Any:
        path = Path(self._ask("output"))
        with path.open("rb") as file:
            output = pickle.load(file)
        path.unlink()
        return output

    def warm(self) -> None:
        self._ask("warm")

    def turn(self, timer: Timer) -> Figures:
        return dict(self._ask("turn"))

    def peak(self) -> float:
        return float(self._ask("peak"))

    def _ask(self, do: str) -> Any:
        return self.worker.ask(
            do, kind=self.kind, arguments=self.arguments, names=self.names, name=self.name
        )


def serve(
    make: Callable[[str, dict[str, Any], list[str]], Contest],
    timer: Timer,
    where: Callable[[], str],
) -> None:
    """Answer requests from stdin; whatever a library prints goes to stderr.

    Only the last contest is kept, so that each has the memory to itself. `where` says which
    `fastsnn_np` this process imports.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    current, contest = None, None
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "where":
            answer: Any = where()
        else:
            wanted = (request["kind"], request["arguments"], request["names"])
            if contest is None or wanted != current:
                contest = None  # frees the one before
                current, contest = wanted, make(*wanted)
            answer = _answer(request["do"], contest.contestants[request["name"]], timer)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _answer(do: str, contestant: Contestant, timer: Timer) -> Any:
    if do == "output":
        with tempfile.NamedTemporaryFile(suffix=".pickle", delete=False) as file:
            pickle.dump(contestant.output(), file)
        return file.name
    if do == "warm":
        return contestant.warm()
    if do == "turn":
        return contestant.turn(timer)
    if do == "peak":
        return contestant.peak()
    raise ValueError(f"a worker can give output, warm, turn or peak, not {do!r}")
