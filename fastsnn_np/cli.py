"""``python -m fastsnn_np``: demo and train, and what is in `commands`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ._checks import whole
from ._storage import as_folder, as_path
from ._version import __version__
from .commands import COMMANDS, add_to

_STATUS = """\
exit status: 0 done; 1 something failed on the way (memory, disk, a library that is missing, values
that are no longer finite); 2 wrong input (arguments, recipes, files); 130 interrupted (SIGINT);
143 terminated (SIGTERM). An error is one line; FASTSNN_TRACEBACK=1 shows where it comes from."""
_TERMINATED = 128 + signal.SIGTERM
#: what was asked for cannot be done: another input can
_WRONG_INPUT = (
    ValueError,
    TypeError,
    FileNotFoundError,
    FileExistsError,
    NotADirectoryError,
    IsADirectoryError,
    PermissionError,
)
#: the libraries that a command needs, and the extra that installs them
_TRAINING = ("train", "demo")  # the commands that need Torch and Lightning


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    arguments = _parser().parse_args(argv)
    try:
        with _signals(), _short_warnings():
            _check_libraries(arguments.command)
            _run(arguments)
            sys.stdout.flush()
    except KeyboardInterrupt as error:
        return _failed(arguments, str(error) or "interrupted", 128 + signal.SIGINT)
    except SystemExit as error:
        if error.code != _TERMINATED:
            raise
        words = str(error)
        return _failed(arguments, "terminated" if words == str(_TERMINATED) else words, _TERMINATED)
    except BrokenPipeError:  # nobody reads on, as in `fastsnn_np doctor | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if os.environ.get("FASTSNN_TRACEBACK"):
            raise
        status = 2 if isinstance(error, _WRONG_INPUT) else 1
        return _failed(arguments, _sentence(error), status)
    return 0


def _run(arguments: argparse.Namespace) -> None:
    if arguments.command in COMMANDS:
        print(COMMANDS[arguments.command].report(arguments))
    elif arguments.command == "demo":
        from ._demo import demo

        demo(
            as_folder(arguments.out, "--out"),
            epochs=whole("--epochs", arguments.epochs),
            seed=whole("--seed", arguments.seed, at_least=0, below=2**63),
        )
    else:
        _train(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastsnn_np",
        description="Single-spike spiking neural networks on any array library.",
        epilog=_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"fastsnn_np {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    for command in COMMANDS.values():
        add_to(commands, command, _STATUS)
    demo = commands.add_parser(
        "demo", help="train on the shipped Fashion-MNIST sample and run every backend on it"
    )
    demo.add_argument("--out", default="demo", help="folder for what it writes")
    demo.add_argument("--epochs", type=int, default=20)
    demo.add_argument("--seed", type=int, default=0)
    _add_train(
        commands.add_parser(
            "train",
            help="train a network on a data set by a recipe",
            epilog=_STATUS,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )
    return parser


def _add_train(train: argparse.ArgumentParser) -> None:
    train.add_argument("dataset", help="a data set, such as shd; an unknown one lists the known")
    train.add_argument("--recipe", default="best", help="best, paper, or a .toml file of your own")
    train.add_argument("--out", default="run", help="folder for what it writes")
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
    train.add_argument("--root", help="folder with the data set's original files")
    train.add_argument(
        "--resume",
        action="store_true",
        help="continue the run in --out, with a constant learning rate to more epochs as well",
    )
    train.add_argument("--devices", type=int, default=1, help="processes, or GPUs, per machine")
    train.add_argument("--nodes", type=int, default=1, help="machines; see the README")
    train.add_argument("--threads", type=int, help="threads; the last digits depend on it")
    train.add_argument("--quiet", action="store_true", help="no progress bar")


def _train(arguments: argparse.Namespace) -> None:
    from .experiments import load_recipe, run_experiment
    from .experiments.recipe import parse_changes
    from .torch.training.trainer import check_processes

    changes = parse_changes(arguments.settings)
    for name in ("hidden", "epochs", "model"):
        if getattr(arguments, name) is not None:
            changes[name] = getattr(arguments, name)
    recipe = load_recipe(arguments.recipe, arguments.dataset).with_changes(changes)
    for name in ("devices", "nodes"):
        whole(f"--{name}", getattr(arguments, name))
    check_processes("--devices", arguments.devices)
    out = as_folder(arguments.out, "--out")
    root = None if arguments.root is None else as_path(arguments.root, "--root")
    options: dict[str, Any] = {"devices": arguments.devices, "num_nodes": arguments.nodes}
    if arguments.devices * arguments.nodes > 1:
        options["strategy"] = "ddp"
    summary = run_experiment(
        recipe,
        out,
        seed=whole("--seed", arguments.seed, at_least=0, below=2**63),
        root=root,
        resume=arguments.resume,
        progress=not arguments.quiet,
        threads=arguments.threads,
        trainer_options=options,
    )
    if not summary:
        return  # one of several processes, and not the one that reports
    spikes = ", ".join(f"{count:.1f}" for count in summary["spikes_per_sample"])
    print(
        f"{recipe.dataset}, {summary['note']}: test accuracy {summary['accuracy']:.2%} after "
        f"{summary['epochs']} epochs, {summary['seconds']:.0f} s "
        f"({1e3 * summary['seconds_per_step']:.2f} ms per step); spikes per sample, by hidden "
        f"layer: {spikes}\nWrote {out}"
    )


def _check_libraries(command: str) -> None:
    """Refuse to begin what a missing library would end: its own error, and what installs it."""
    if command not in _TRAINING:
        return
    name = "torch"
    try:
        import torch  # noqa: F401

        name = "lightning"
        import lightning.pytorch  # noqa: F401
    except ImportError as error:
        raise ImportError(f"it needs {name} ({error}): pip install 'fastsnn-np[torch]'") from error


@contextmanager
def _signals() -> Iterator[None]:
    """SIGTERM as an exception, so that what is being written is finished or removed."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers, and it gets the signals
        return

    def terminate(number: int, frame: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
        raise SystemExit(_TERMINATED)

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _short_warnings() -> Iterator[None]:
    """Warnings as one line each, without the place in the code that they come from."""

    def show(message: Any, category: Any, *place: Any, **more: Any) -> None:
        print(f"fastsnn_np: warning: {' '.join(str(message).split())}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _sentence(error: Exception) -> str:
    """What went wrong, on one line."""
    text = " ".join(str(error).split())
    words = text.lower()
    if isinstance(error, MemoryError) or "allocate memory" in words or "out of memory" in words:
        return f"not enough memory: {text or 'fewer steps, neurons or samples per batch need less'}"
    if "no space left" in words and not isinstance(error, OSError):
        return f"the disk is full: {text}"
    known = (OSError, ValueError, TypeError, FloatingPointError, RuntimeError, ImportError)
    if isinstance(error, known) and type(error) is not RecursionError and text:
        return text
    return f"{type(error).__name__}: {text} (FASTSNN_TRACEBACK=1 shows where it comes from)"


def _failed(arguments: argparse.Namespace, words: str, status: int) -> int:
    print(f"fastsnn_np {arguments.command}: {words}", file=sys.stderr)
    return status
