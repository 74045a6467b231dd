"""What a measurement belongs to: machine, threads, versions, commit and time."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent  #: the folder that `benchmarks` lies in
_PACKAGES = (
    *("fastsnn-np", "numpy", "scipy", "numba", "torch", "jax"),
    *("snntorch", "spikingjelly", "norse", "sinabs", "spyx"),
)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@cache
def machine() -> str:
    """Processor and number of cores."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            model = next(line.split(":")[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        pass
    return f"{model}, {os.cpu_count()} cores, {platform.system()}"


def threads() -> int:
    """How many threads a contestant may use: the cores this process may run on."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def versions(packages: tuple[str, ...] = _PACKAGES) -> str:
    """Versions of what is installed, and the settings that change the speed."""
    found = [f"Python {platform.python_version()}"]
    for package in packages:
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    settings = [f"{k}={v}" for k, v in os.environ.items() if k.startswith(("OPENBLAS", "NUMBA"))]
    return "; ".join([", ".join(found), *settings])


def git(*arguments: str, folder: Path = ROOT) -> str:
    """What git prints, or nothing where it fails or is not installed."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


@cache
def commit(folder: Path = ROOT) -> str:
    """The commit, with a + where the code differs from it; the results do not count as code."""
    changed = git(
        *("status", "--porcelain", "--", ":/", ":(exclude,top)benchmarks/results"), folder=folder
    )
    head = git("rev-parse", "--short=10", "HEAD", folder=folder)
    return (head or "unknown") + ("+" if changed else "")
