"""Graphs of the Neuromorphic Intermediate Representation as networks."""

from __future__ import annotations

import math
import os
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._checks import check_option, positive
from .._layer import ReadoutKind
from .._storage import as_path
from ..network import Layer, Network, Readout
from ._nir_file import Graph, Node, read_graph
from ._nir_write import NEVER
from ._parts import RULES, SNNTORCH_DT, Dialect, Rule, beta_of, scaled_to

_SYNAPSES = ("Affine", "Linear")
_NEURONS = ("LIF", "LI")
_PASSED = ("Input", "Output", "Flatten")  # they change shapes, and neurons here have none
_LONG = 2000.0  # steps: a longer time constant is likely in another unit


def from_nir(
    path: str | os.PathLike[str],
    *,
    dt: float | None = None,
    readout: ReadoutKind | None = None,
    dialect: Dialect | None = None,
    rule: Rule | None = None,
) -> Network:
    """Read a NIR graph of Affine or Linear nodes and LIF, and at the end LI or LIF, as a network.

    Neurons become neurons that fire once: their first spikes are those of the graph, in layers
    above the first as long as no neuron below fires twice. Resets are not read, since they come
    after the first spike. The last neurons become the readout, whose potential is read out and
    not reset, also where they are LIF; their threshold is not used.

    Parameters
    ----------
    path : path
    dt : float, optional
        Step in ms; what the file says if `to_nir` wrote it, and 1 otherwise.
    readout : {"sum", "max"}, optional
        How the logits are read out; what the file says if `to_nir` wrote it, "sum" otherwise.
    dialect : {"nir", "snntorch", "norse"}, optional
        Who wrote it: "snntorch" has taus of a step of 0.1 ms, whatever the step; "norse" has taus
        divided by its step in s, as `norse.torch.to_nir` writes them. What the file says if
        `to_nir` wrote it, and "nir" otherwise.
    rule : {"exact", "euler"}, optional
        Whether beta is exp(-dt / tau) or 1 - dt / tau; that of the dialect unless given.

    Returns
    -------
    Network
        Of NumPy arrays, in the dtype of the weights.

    Raises
    ------
    ValueError
        If the file is no NIR graph, or the graph has a loop, a branch, a node that is not known
        here, or parameters of neurons that do not fit; the node is named.
    OSError
        If it cannot be read.
    ImportError
        If h5py is not installed.

    Warns
    -----
    UserWarning
        If a time constant is above 2000 steps: NIR's times are seconds.

    Notes
    -----
    A threshold or a resting potential per neuron goes into the weights, which then count from rest
    to threshold: W / (threshold - v_leak).
    """
    path = as_path(path)
    for name, value, allowed in (
        ("dialect", dialect, Dialect),
        ("rule", rule, Rule),
        ("readout", readout, ReadoutKind),
    ):
        if value is not None:
            check_option(name, value, allowed)
    graph = read_graph(path)
    said = graph.metadata if graph.metadata.get("writer") == "fastsnn_np" else {}
    dt = positive("dt", said.get("dt_ms", 1.0) if dt is None else dt, "ms")
    foreign = dialect == "norse" and not said
    dialect = dialect or _known(said.get("dialect"), Dialect) or "nir"
    rule = rule or _known(said.get("rule"), Rule) or RULES[dialect]
    readout = readout or _known(said.get("readout"), ReadoutKind) or "sum"
    step = SNNTORCH_DT if dialect == "snntorch" else dt
    clock = _Clock(path, step, rule, 1000 / dt if foreign else 1.0)
    pairs = _pairs(path, _chain(path, graph))
    _check_units(clock, pairs)
    *hidden, last = pairs
    layers = tuple(_layer(clock, pair) for pair in hidden)
    try:
        return Network(layers, _readout(clock, last, readout), dt)
    except ValueError as error:  # sizes that do not follow one another
        raise ValueError(f"{path}: {error}") from error


class _Clock(NamedTuple):
    path: Path
    dt: float  #: ms
    rule: Rule
    factor: float  #: that taus are multiplied by


class _Pair(NamedTuple):
    synapses: Node
    neurons: Node


def _known(value: Any, allowed: Any) -> Any:
    """What a file says of itself, if it is one of a `Literal`'s values."""
    try:
        check_option("it", value, allowed)
    except ValueError:
        return None
    return value


def _chain(path: Path, graph: Graph) -> list[Node]:
    """The nodes from the input to the output, one after the other."""
    inputs = [name for name, node in graph.nodes.items() if node.kind == "Input"]
    if len(inputs) != 1:
        raise ValueError(f"{path}: one Input is wanted, got {len(inputs)}")
    chain, name = [], inputs[0]
    seen: list[str] = []
    while True:
        if name in seen:
            loop = " -> ".join([*seen[seen.index(name) :], name])
            raise ValueError(
                f"{path}: the graph has a loop, {loop}: layers of a network feed the next one alone"
            )
        seen.append(name)
        node = graph.nodes[name]
        chain.append(_inside(path, node) if node.graph is not None else node)
        following = graph.after(name)
        if not following:
            break
        if len(following) > 1:
            raise ValueError(
                f"{path}: {name!r} feeds {len(following)} nodes, {', '.join(following)}: a layer "
                "feeds the next one alone"
            )
        name = following[0]
    left = [name for name in graph.nodes if name not in seen]
    if left:
        raise ValueError(f"{path}: {left[0]!r} is on no way from the input to the output")
    return chain


def _inside(path: Path, node: Node) -> Node:
    """The LIF of a subgraph by which `to_nir` has made it fire once."""
    assert node.graph is not None
    kinds = sorted(part.kind for part in node.graph.nodes.values())
    once = node.graph.metadata.get("fires") == "once"
    if not once or kinds != ["Input", "LIF", "Linear", "Output"]:
        raise ValueError(
            f"{path}: {node.name!r} is a graph of {', '.join(kinds)}: neurons that feed back are "
            "not read"
        )
    (lif,) = (part for part in node.graph.nodes.values() if part.kind == "LIF")
    return lif


def _check_input(path: Path, given: Node, synapses: Node) -> None:
    """Refuse an input of another size than the first weights, such as one with a batch."""
    shape = given.arrays.get("shape")
    if shape is None:
        return
    weight = _weight(path, synapses)
    size = math.prod(int(n) for n in np.asarray(shape).ravel())
    if size != weight.shape[1]:
        raise ValueError(
            f"{path}: the input has shape {tuple(np.asarray(shape).ravel().tolist())} and "
            f"{synapses.name!r} takes {weight.shape[1]}: export it for a sample without a batch "
            "dimension"
        )


def _pairs(path: Path, whole: list[Node]) -> list[_Pair]:
    """Synapses and the neurons behind them, of a chain that begins with its input."""
    chain = [node for node in whole if node.kind not in _PASSED]
    for node in chain:
        if node.kind not in (*_SYNAPSES, *_NEURONS):
            raise ValueError(
                f"{path}: node {node.name!r} is of kind {node.kind}, which no network here has; "
                f"known are {', '.join((*_SYNAPSES, *_NEURONS, *_PASSED))}"
            )
    if not chain:
        raise ValueError(f"{path}: the graph has no node between its input and its output")
    for i, node in enumerate(chain):
        wanted = _NEURONS if i % 2 else _SYNAPSES
        if node.kind not in wanted:
            raise ValueError(
                f"{path}: {node.name!r} is of kind {node.kind} where {' or '.join(wanted)} is "
                "wanted: synapses and neurons take turns"
            )
    if len(chain) % 2:
        raise ValueError(f"{path}: {chain[-1].name!r} is the last node and no neurons follow it")
    for node in chain[1:-1:2]:
        if node.kind == "LI":
            raise ValueError(f"{path}: {node.name!r} is LI, which never fires, and not the last")
    _check_input(path, whole[0], chain[0])
    return [_Pair(*pair) for pair in zip(chain[::2], chain[1::2], strict=True)]


def _check_units(clock: _Clock, pairs: list[_Pair]) -> None:
    """Warn of a time constant that is likely in another unit than NIR's seconds."""
    for _, node in pairs:
        tau = _numbers(clock.path, node, "tau").max() * 1000 * clock.factor  # ms
        if tau > _LONG * clock.dt:
            warnings.warn(
                f"{clock.path}: {node.name!r} has a tau of {tau / 1000:g} s, at a step of "
                f"{clock.dt:g} ms: NIR's times are seconds, and dt is in ms",
                UserWarning,
                stacklevel=3,
            )


def _layer(clock: _Clock, pair: _Pair) -> Layer:
    weight, bias = _weight(clock.path, pair.synapses), _bias(clock.path, pair.synapses)
    beta, gain, rest = _neurons(clock, pair.neurons, len(weight))
    threshold = _parameter(clock.path, pair.neurons, "v_threshold", len(weight))
    span = threshold - rest
    if not np.all(span > 0):
        raise ValueError(
            f"{clock.path}: {pair.neurons.name!r} has a v_threshold that is not above its v_leak"
        )
    theta = float(threshold[0])
    if np.all(threshold == theta) and not rest.any():
        return Layer(**scaled_to(weight, bias, gain, beta), threshold=theta)
    return Layer(**scaled_to(weight, bias, gain / span, beta), threshold=1.0)


def _readout(clock: _Clock, pair: _Pair, kind: ReadoutKind) -> Readout:
    weight, bias = _weight(clock.path, pair.synapses), _bias(clock.path, pair.synapses)
    beta, gain, rest = _neurons(clock, pair.neurons, len(weight))
    if rest.any():
        raise ValueError(f"{clock.path}: {pair.neurons.name!r} rests at v_leak other than 0")
    if pair.neurons.kind == "LIF":
        threshold = _parameter(clock.path, pair.neurons, "v_threshold", len(weight))
        if threshold.min() < NEVER:
            warnings.warn(
                f"{clock.path}: {pair.neurons.name!r}, the last neurons, become the readout: their "
                "potential is read out, and they do not fire",
                UserWarning,
                stacklevel=3,
            )
    return Readout(**scaled_to(weight, bias, gain, beta), kind=kind)


def _neurons(clock: _Clock, node: Node, count: int) -> tuple[Any, Any, Any]:
    """Decay per step, factor of the current and resting potential of each neuron, in float64."""
    path = clock.path
    tau = _parameter(path, node, "tau", count) * 1000 * clock.factor  # ms
    if not np.all(tau > 0):
        raise ValueError(f"{path}: {node.name!r} has a tau that is not positive")
    beta = beta_of(tau, clock.dt, clock.rule)
    if not np.all((beta > 0) & (beta < 1)):
        worst = tau[np.argmin(beta)] if beta.min() <= 0 else tau[np.argmax(beta)]
        raise ValueError(
            f"{path}: {node.name!r} has a tau of {worst:g} ms, which at a step of {clock.dt:g} ms "
            f"by the rule {clock.rule!r} is a beta outside (0, 1)"
        )
    gain = _parameter(path, node, "r", count) * (1 - beta)
    return beta, gain, _parameter(path, node, "v_leak", count)


def _parameter(path: Path, node: Node, name: str, count: int) -> Any:
    """A parameter as one float64 number per neuron; a single one is that of all."""
    value = _numbers(path, node, name)
    if value.size == 1:
        return np.full(count, value.reshape(()), np.float64)
    if value.shape != (count,):
        raise ValueError(
            f"{path}: {name} of {node.name!r} must have one value for each of {count} neurons, got "
            f"shape {value.shape}"
        )
    return value.astype(np.float64)


def _weight(path: Path, node: Node) -> Any:
    weight = _numbers(path, node, "weight")
    if weight.ndim != 2:
        raise ValueError(
            f"{path}: the weight of {node.name!r} must have axes (neurons, inputs), got shape "
            f"{weight.shape}"
        )
    return weight if weight.dtype in (np.float32, np.float64) else weight.astype(np.float32)


def _bias(path: Path, node: Node) -> Any:
    if node.kind == "Linear":
        return None
    bias = _numbers(path, node, "bias")
    neurons = len(_weight(path, node))
    if bias.shape != (neurons,):
        raise ValueError(
            f"{path}: the bias of {node.name!r} must have shape ({neurons},), got {bias.shape}"
        )
    return bias.astype(_weight(path, node).dtype)


def _numbers(path: Path, node: Node, name: str) -> Any:
    if name not in node.arrays:
        raise ValueError(f"{path}: {node.name!r}, of kind {node.kind}, has no {name}")
    value = np.asarray(node.arrays[name])
    if value.dtype.kind not in "iuf" or not value.size or not np.isfinite(value).all():
        raise ValueError(f"{path}: {name} of {node.name!r} must hold finite numbers")
    return value
