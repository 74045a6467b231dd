"""Does pip find versions for every extra beside every build of Torch? Nothing is installed.

``nox -s resolve``; it takes minutes and needs a package index, so that it is no part of the tests.
CUDA builds are what PyPI serves for Linux: of CUDA 12 up to Torch 2.9, of CUDA 13 from 2.11 on. A
build for the CPU is looked for in the folder or index of the option --cpu.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
TORCH = {"CPU": "torch==2.13.0+cpu", "CUDA 12": "torch==2.9.1", "CUDA 13": "torch==2.13.0"}
#: one CUDA toolkit in an environment: both ask for the package cuda-toolkit, of two majors
IMPOSSIBLE = {("cupy", "CUDA 13")}


class Found(NamedTuple):
    extra: str
    build: str
    resolved: bool
    said: str  #: the versions that matter, or pip's last line

    @property
    def expected(self) -> bool:
        return self.resolved == ((self.extra, self.build) not in IMPOSSIBLE)


def resolve(extra: str, build: str, cpu: str | None) -> Found:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed"]
        command += ["--quiet", "--report", str(report), f"{ROOT}[{extra}]", TORCH[build]]
        if build == "CPU" and cpu is not None:
            command += ["--find-links" if Path(cpu).is_dir() else "--extra-index-url", cpu]
        env = {k: v for k, v in os.environ.items() if k not in ("PIP_FIND_LINKS", "PIP_CONSTRAINT")}
        env["PIP_CONFIG_FILE"] = os.devnull  # a machine's own caps and folders would decide
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            return Found(extra, build, False, lines[0] if lines else done.stderr[-200:])
        wanted = ("torch", "cupy-cuda12x", "cupy-cuda13x", "cuda-toolkit")
        installed = (item["metadata"] for item in json.loads(report.read_text())["install"])
        versions = [f"{i['name']} {i['version']}" for i in installed if i["name"] in wanted]
        return Found(extra, build, True, ", ".join(sorted(versions)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cpu", help="folder or index that has Torch's build for the CPU")
    parser.add_argument("--jobs", type=int, default=4)
    options = parser.parse_args()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    builds = [build for build in TORCH if build != "CPU" or options.cpu is not None]
    pairs = [(extra, build) for extra in project["optional-dependencies"] for build in builds]
    wrong = 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        found = pool.map(lambda pair: resolve(*pair, options.cpu), pairs)
        for one in found:
            wrong += not one.expected
            mark = "as expected" if one.expected else "NOT EXPECTED"
            word = "resolves" if one.resolved else "does not resolve"
            row = f"{one.extra:<8} beside {one.build:<8} {word}, {mark}: {one.said}"
            sys.stdout.write(row + "\n")
            sys.stdout.flush()
    sys.stdout.write(f"{len(pairs)} combinations, {wrong} not as expected\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
