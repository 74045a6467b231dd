"""Networks as graphs of the Neuromorphic Intermediate Representation."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np

from .._checks import check_option, positive, whole
from .._namespace import said, to_numpy
from .._storage import as_path, replacing
from ..network import Layer, Network, Readout
from ._parts import (
    RULES,
    SNNTORCH_DT,
    Dialect,
    check_single_spike,
    gain_of,
    tau_of,
    weights_of,
)

NEVER = 1e30  #: the threshold of a readout where the reader has no neurons without one
_MARGIN = 2.0  # what the inhibition exceeds the least one by, for rounding on the other side
_LARGEST = float(np.finfo(np.float32).max) / 1e3  # float32 is what the other side computes in


def to_nir(
    network: Network,
    path: str | os.PathLike[str],
    dialect: Dialect = "nir",
    *,
    n_steps: int | None = None,
    largest_input: float = 1.0,
) -> None:
    """Write a network as a NIR graph: Affine and LIF for each hidden layer, Affine and LI last.

    NIR has no neuron that fires once. An LIF node fires again, and from its second spike on the
    layers above get other input: what is the same is each neuron's first spike in the first hidden
    layer, and above it as long as no neuron below has fired twice. With `n_steps` each hidden
    layer is a subgraph that inhibits itself, LIF → Linear → LIF, and fires once on the other side
    too.

    Parameters
    ----------
    network : Network
    path : path
        The file, such as ``"network.nir"``.
    dialect : {"nir", "snntorch", "norse"}
        For whom: tau = -dt / ln(beta) and the current's factor as r ("nir"); what snnTorch reads,
        tau of its step of 0.1 ms by Euler's rule and weights that hold the factor ("snntorch"); or
        what Norse reads, tau by Euler's rule and r = 1 ("norse"). The latter two have no LI: their
        readout is an LIF with a threshold of 1e30.
    n_steps : int, optional
        Write self-inhibiting subgraphs that keep a neuron silent for so many steps.
    largest_input : float
        Largest size of an input, with `n_steps`: inhibition must exceed what it drives.

    Raises
    ------
    ValueError
        If float32 cannot hold the inhibition, which decays with beta, for `n_steps` steps.
    ImportError
        If nir is not installed.

    Warns
    -----
    UserWarning
        Without `n_steps`: the neurons written fire again.

    Notes
    -----
    The inhibition is twice the least w for which sum_{j<k} beta^j D - w beta^(k-1) stays below
    the threshold for all k < n_steps, D the largest current that the weights can give.
    """
    if not isinstance(network, Network):
        raise TypeError(f"network must be a Network, got {said(network)}")
    check_single_spike(network, "a NIR file of this writer")
    check_option("dialect", dialect, Dialect)
    path = as_path(path)
    largest_input = positive("largest_input", largest_input)
    if n_steps is not None:
        n_steps = whole("n_steps", n_steps)
        if dialect == "norse":
            raise ValueError(
                "n_steps makes loops, and Norse reads none: dialect 'nir' or 'snntorch'"
            )
    nir = _library()
    graph = _Graph(nir, network, dialect)
    for i, layer in enumerate(network.layers):
        inputs = largest_input if i == 0 else 1.0
        graph.add_layer(f"layer_{i:03d}", layer, n_steps, inputs)
    graph.add_readout(network.readout)
    if n_steps is None and network.layers:
        warnings.warn(
            f"{path}: NIR has no neuron that fires once, and its LIF neurons fire again: first "
            "spikes are the same, the network is not. n_steps=... writes neurons that inhibit "
            "themselves",
            UserWarning,
            stacklevel=2,
        )
    with replacing(path) as temporary:
        nir.write(temporary, graph.finished())


def _library() -> Any:
    try:
        import nir
    except ImportError as error:
        raise ImportError(f"NIR needs nir ({error}): pip install 'fastsnn-np[nir]'") from error
    return nir


class _Graph:
    """Nodes and edges as they are added, one after the other.

    Their names are in that order, too: files are read by the alphabet, and some readers follow it.
    """

    def __init__(self, nir: Any, network: Network, dialect: Dialect) -> None:
        self.nir, self.dialect, self.network = nir, dialect, network
        self.dt = SNNTORCH_DT if dialect == "snntorch" else network.dt
        self.nodes = {"input": nir.Input({"input": np.array([network.sizes[0]])})}
        self.edges: list[tuple[str, str]] = []
        self.last = "input"

    def add(self, name: str, node: Any) -> None:
        self.nodes[name] = node
        self.edges.append((self.last, name))
        self.last = name

    def add_layer(self, name: str, layer: Layer, n_steps: int | None, largest: float) -> None:
        r = self._add_affine(f"{name}_affine", layer)
        neuron = self._lif(layer, r, layer.threshold)
        if n_steps is not None:
            inhibition = _inhibition(name, layer, n_steps, largest)
            factor = r * (1 - to_numpy(layer.beta).astype(np.float64))  # of every current
            neuron = self._inhibited(neuron, inhibition / factor)
        self.add(f"{name}_neurons", neuron)

    def add_readout(self, readout: Readout) -> None:
        r = self._add_affine("readout_affine", readout)
        if self.dialect == "nir":
            tau = self._tau(readout)
            self.add("readout_neurons", self.nir.LI(tau=tau, r=r, v_leak=np.zeros_like(tau)))
        else:
            self.add("readout_neurons", self._lif(readout, r, NEVER))

    def finished(self) -> Any:
        self.add("output", self.nir.Output({"output": np.array([self.network.sizes[-1]])}))
        about = {
            "writer": "fastsnn_np",
            "dialect": self.dialect,
            "rule": RULES[self.dialect],
            "dt_ms": float(self.network.dt),
            "fires": "once",
            "readout": self.network.readout.kind,
        }
        return self.nir.NIRGraph(nodes=self.nodes, edges=self.edges, metadata=about)

    def _add_affine(self, name: str, part: Layer | Readout) -> Any:
        """The weights, with what the reader does not multiply by; gives the node's r."""
        weight, bias = weights_of(part)
        gain = gain_of(part)
        leak = 1 - to_numpy(part.beta).astype(np.float64)
        if self.dialect == "nir":
            inside, r = np.ones_like(gain), gain / leak
        elif self.dialect == "snntorch":
            inside, r = gain, 1 / leak
        else:
            inside, r = gain / leak, np.ones_like(gain)
        self.add(
            name,
            self.nir.Affine(
                weight=(weight * inside[:, None]).astype(weight.dtype),
                bias=(bias * inside).astype(bias.dtype),
            ),
        )
        return r

    def _tau(self, part: Layer | Readout) -> Any:
        return tau_of(to_numpy(part.beta), self.dt, RULES[self.dialect]) / 1000  # s

    def _lif(self, part: Layer | Readout, r: Any, threshold: float) -> Any:
        tau = self._tau(part)
        zero = np.zeros_like(tau)
        return self.nir.LIF(
            tau=tau, r=r, v_leak=zero, v_threshold=np.full_like(tau, threshold), v_reset=zero
        )

    def _inhibited(self, neuron: Any, inhibition: Any) -> Any:
        """A subgraph in which each neuron inhibits itself, under the names snnTorch looks for."""
        size = {"input": np.array([len(inhibition)])}
        return self.nir.NIRGraph(
            nodes={
                "input": self.nir.Input(size),
                "lif": neuron,
                "w_rec": self.nir.Linear(np.diag(-inhibition.astype(np.float32))),
                "output": self.nir.Output({"output": size["input"]}),
            },
            edges=[("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")],
            metadata={"fires": "once"},
        )


def _inhibition(name: str, layer: Layer, n_steps: int, largest: float) -> Any:
    """How much each neuron's potential must be lowered by its spike to stay silent."""
    weight, bias = weights_of(layer)
    beta = to_numpy(layer.beta).astype(np.float64)
    drive = np.maximum(weight, 0).sum(axis=1, dtype=np.float64) * largest + bias
    drive = np.maximum(drive * gain_of(layer), 0)
    most = drive / (1 - beta)  # the potential that this drive would reach in the end
    excess = np.maximum(most - layer.threshold, 0) + abs(layer.threshold)
    with np.errstate(over="ignore", divide="ignore"):
        least = excess / beta ** (n_steps - 1)
    if not np.all(_MARGIN * least < _LARGEST):
        worst = int(np.argmin(beta))
        raise ValueError(
            f"{name}: after {n_steps} steps too little is left of an inhibition that float32 can "
            f"hold, since it decays with beta (neuron {worst}: {beta[worst]:.4g}): take fewer "
            "steps, or n_steps=None and neurons that fire again"
        )
    return _MARGIN * least
