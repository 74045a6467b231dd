"""A peer in a process of its own: one that cannot be imported is a row, not the end of the run.

The processes stay, so that the contestants can be timed in turns. The parent writes one line of
JSON a request, {"do": "check" | "time" | "memory", "task": ...}, and gets one back.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from . import memory
from .timers import wall_clock

_SHORT_MS = 50  # below it one more call, untimed, finds caches and threads again


class PeerError(RuntimeError):
    """The process ended; the message is its own last line."""


class Peer:
    """A process that holds one system."""

    def __init__(self, name: str, seed: int) -> None:
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed in `close`)
        command = [sys.executable, "-m", "benchmarks.peer_process", name, str(seed)]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            cwd=Path(__file__).parent.parent,
        )

    def ask(self, do: str, task: str) -> Any:
        """The answer to a request.

        Raises
        ------
        PeerError
            If the process has ended.
        """
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps({"do": do, "task": task}) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self.process.wait()
            self.errors.seek(0)
            lines = [line for line in self.errors.read().splitlines() if line.strip()]
            raise PeerError(lines[-1] if lines else f"exit status {self.process.returncode}")
        return json.loads(answer)

    def output(self, task: str) -> Any:
        """What a task computes, the first time it runs."""
        path = Path(self.ask("check", task))
        output = np.load(path)
        path.unlink()
        return output

    def close(self) -> None:
        with suppress(BrokenPipeError):  # it has ended already
            self.process.communicate()
        self.errors.close()


def serve(name: str, seed: int) -> None:
    """Answer requests from stdin; whatever a library prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from . import peers

    made, calls, last = peers.system(name), {}, {}
    for line in sys.stdin:
        request = json.loads(line)
        task = request["task"]
        if task not in calls:
            calls[task] = peers.call_of(made, task, seed)
        call = calls[task]
        answer: Any
        if request["do"] == "check":
            descriptor, path = tempfile.mkstemp(suffix=".npy")
            os.close(descriptor)
            np.save(path, peers.output_of(made, task, call()))
            answer = path
        elif request["do"] == "time":
            if last.get(task, 0) < _SHORT_MS:
                call()
            last[task], kept = wall_clock(call)
            del kept
            answer = last[task]
        else:
            answer = memory.peak(call)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
