"""``python -m fastsnn_np``: doctor, demo and train."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ._checks import whole
from ._doctor import doctor
from ._version import __version__


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
    _add_train(commands.add_parser("train", help="train a network on a data set by a recipe"))
    arguments = parser.parse_args(argv)
    try:
        if arguments.command == "doctor":
            doctor()
        elif arguments.command == "demo":
            from ._demo import demo as run_demo

            run_demo(arguments.out, epochs=arguments.epochs, seed=arguments.seed)
        else:
            _train(arguments)
    except (OSError, ValueError, TypeError, FloatingPointError, RuntimeError, ImportError) as error:
        if os.environ.get("FASTSNN_TRACEBACK"):
            raise
        print(f"fastsnn_np {arguments.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def _add_train(train: argparse.ArgumentParser) -> None:
    train.add_argument("dataset", help="a data set, such as shd; an unknown one lists the recipes")
    train.add_argument("--recipe", default="best", help="best, paper, or a .toml file of your own")
    train.add_argument("--out", type=Path, default=Path("run"), help="folder for what it writes")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--hidden", type=int, nargs="+", help="neurons of each hidden layer")
    train.add_argument("--epochs", type=int)
    train.add_argument("--model", help="fast, or standard: the multi-spike SNN of the paper")
    train.add_argument(
        "--set",
        dest="settings",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="change a value of the recipe; may be given several times",
    )
    train.add_argument("--root", type=Path, help="folder with the data set's original files")
    train.add_argument("--resume", action="store_true", help="continue the run in --out")
    train.add_argument("--devices", type=int, default=1, help="processes, or GPUs, per machine")
    train.add_argument("--nodes", type=int, default=1, help="machines; see the README")
    train.add_argument("--quiet", action="store_true", help="no progress bar")


def _train(arguments: argparse.Namespace) -> None:
    from .experiments import load_recipe, run_experiment
    from .experiments.recipe import parse_changes

    changes = parse_changes(arguments.settings)
    for name in ("hidden", "epochs", "model"):
        if getattr(arguments, name) is not None:
            changes[name] = getattr(arguments, name)
    recipe = load_recipe(arguments.recipe, arguments.dataset).with_changes(changes)
    for name in ("devices", "nodes"):
        whole(f"--{name}", getattr(arguments, name))
    options: dict[str, Any] = {"devices": arguments.devices, "num_nodes": arguments.nodes}
    if arguments.devices * arguments.nodes > 1:
        options["strategy"] = "ddp"
    summary = run_experiment(
        recipe,
        arguments.out,
        seed=arguments.seed,
        root=arguments.root,
        resume=arguments.resume,
        progress=not arguments.quiet,
        trainer_options=options,
    )
    if not summary:
        return  # one of several processes, and not the one that reports
    spikes = ", ".join(f"{count:.1f}" for count in summary["spikes_per_sample"])
    print(
        f"{recipe.dataset}, {summary['note']}: test accuracy {summary['accuracy']:.2%} after "
        f"{summary['epochs']} epochs, {summary['seconds']:.0f} s "
        f"({1e3 * summary['seconds_per_step']:.2f} ms per step); spikes per sample, by hidden "
        f"layer: {spikes}\nWrote {arguments.out}"
    )
