"""``convert``: networks from and to other formats."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, get_args

from .._layer import ReadoutKind
from .._storage import as_path
from ..convert import from_nir, quantised, to_nir, to_onnx
from ..convert._parts import Dialect
from ..network import Network
from ._command import Command
from ._networks import load_network

_SOURCES = (".safetensors", ".nir")
_TARGETS = (".safetensors", ".nir", ".onnx")


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help=f"a network: {' or '.join(_SOURCES)}")
    parser.add_argument("target", help=f"what is written: {', '.join(_TARGETS)}")
    parser.add_argument("--dialect", choices=get_args(Dialect), help="whose NIR is read or written")
    parser.add_argument("--dt", type=float, help="NIR that is read: step in ms")
    parser.add_argument("--readout", choices=get_args(ReadoutKind), help="NIR that is read")
    parser.add_argument(
        "--steps",
        type=int,
        help="ONNX: of the input; NIR: in which neurons inhibit themselves",
    )
    parser.add_argument("--bits", type=int, help=".safetensors: integer weights of so many bits")


def _run(arguments: argparse.Namespace) -> dict[str, Any]:
    source, target = as_path(arguments.source, "source"), as_path(arguments.target, "target")
    for path, known in ((source, _SOURCES), (target, _TARGETS)):
        if path.suffix not in known:
            raise ValueError(f"{path} should end in {', '.join(known)}")
    _refuse_unused(arguments, source, target)
    network = _read(arguments, source)
    _write(arguments, network, target)
    return {
        "source": str(source),
        "target": str(target),
        "sizes": list(network.sizes),
        "bytes": target.stat().st_size,
    }


def _refuse_unused(arguments: argparse.Namespace, source: Path, target: Path) -> None:
    kinds = (source.suffix, target.suffix)
    for name, used in (
        ("dialect", ".nir" in kinds),
        ("dt", source.suffix == ".nir"),
        ("readout", source.suffix == ".nir"),
        ("steps", target.suffix in (".nir", ".onnx")),
        ("bits", target.suffix == ".safetensors"),
    ):
        if getattr(arguments, name) is not None and not used:
            raise ValueError(f"--{name} says nothing of a conversion from {kinds[0]} to {kinds[1]}")


def _read(arguments: argparse.Namespace, source: Path) -> Network:
    if source.suffix == ".nir":
        return from_nir(
            source, dt=arguments.dt, readout=arguments.readout, dialect=arguments.dialect
        )
    return load_network(arguments.source)[0]


def _write(arguments: argparse.Namespace, network: Network, target: Path) -> None:
    if target.suffix == ".nir":
        to_nir(network, target, arguments.dialect or "nir", n_steps=arguments.steps)
    elif target.suffix == ".onnx":
        if arguments.steps is None:
            raise ValueError("ONNX needs --steps, the number of steps of the input")
        to_onnx(network, target, arguments.steps)
    elif arguments.bits is not None:
        quantised(network, arguments.bits).save(target)
    else:
        network.save(target)


def _text(result: dict[str, Any]) -> str:
    sizes = "-".join(map(str, result["sizes"]))
    return f"Wrote {result['target']}: {sizes}, {result['bytes']:,} bytes"


COMMAND = Command(
    "convert",
    about="convert a network from and to NIR, to ONNX, or to integer weights",
    example="convert run/network.safetensors network.nir --dialect snntorch\n"
    "convert run/network.safetensors network.onnx --steps 100\n"
    "convert run/network.safetensors small.safetensors --bits 4",
    add_options=_add_options,
    run=_run,
    text=_text,
)
