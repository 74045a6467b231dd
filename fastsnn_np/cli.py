"""``python -m fastsnn_np``: doctor and demo."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from . import __version__
from ._doctor import doctor


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="fastsnn_np",
        description="Single-spike spiking neural networks on any array library.",
    )
    parser.add_argument("--version", action="version", version=f"fastsnn_np {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("doctor", help="say which backends work here, and why others do not")
    demo = commands.add_parser(
        "demo", help="train on the shipped Fashion-MNIST sample and run every backend on it"
    )
    demo.add_argument("--out", type=Path, default=Path("demo"), help="folder for what it writes")
    demo.add_argument("--epochs", type=int, default=20)
    demo.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    if arguments.command == "doctor":
        doctor()
    else:
        from ._demo import demo as run_demo

        run_demo(arguments.out, epochs=arguments.epochs, seed=arguments.seed)
    return 0
