"""A NIR file as nodes and edges: HDF5 read as data alone, without looking for what is not used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._storage import size_of
from ..datasets._hdf5 import hdf5

_MOST_NODES = 10_000
_DEFLATE = 1100  # times that the filters of HDF5 make zeros smaller, and a little more


@dataclass(frozen=True)
class Node:
    """A node of a graph: its kind, such as "LIF", and its arrays; a graph has nodes of its own."""

    name: str
    kind: str
    arrays: dict[str, Any]
    graph: Graph | None = None


@dataclass(frozen=True)
class Graph:
    """Nodes by name, edges between them, and what the writer has said about it."""

    nodes: dict[str, Node]
    edges: list[tuple[str, str]]
    metadata: dict[str, Any]

    def after(self, name: str) -> list[str]:
        """Names of the nodes that a node feeds; each once."""
        return list(dict.fromkeys(target for source, target in self.edges if source == name))


def read_graph(path: Path) -> Graph:
    """The graph in a NIR file.

    Raises
    ------
    ValueError
        If the file is no NIR graph, is damaged, or names nodes that it does not have.
    OSError
        If it cannot be read.
    """
    size = size_of(path)
    with hdf5(path) as file:
        root = file.get("node")
        if root is None:
            raise ValueError(f"{path} is an HDF5 file, but no NIR graph: it has no 'node'")
        return _Reader(path, size).graph(root, "the graph", depth=0)


class _Reader:
    def __init__(self, path: Path, size: int) -> None:
        self.path, self.most = path, _DEFLATE * size

    def graph(self, group: Any, where: str, depth: int) -> Graph:
        if self.text(group, "type", where) != "NIRGraph" or "nodes" not in group:
            raise ValueError(f"{self.path}: {where} is no NIRGraph")
        nodes = {name: self.node(name, part, depth) for name, part in self.members(group["nodes"])}
        edges = [(str(a), str(b)) for a, b in self.edges(group)]
        for name in {name for edge in edges for name in edge}:
            if name not in nodes:
                raise ValueError(f"{self.path}: an edge of {where} names {name!r}, no node of it")
        metadata = {}
        if "metadata" in group:
            metadata = {k: self.value(v, k) for k, v in self.members(group["metadata"])}
        return Graph(nodes, edges, metadata)

    def node(self, name: str, group: Any, depth: int) -> Node:
        kind = self.text(group, "type", name)
        if kind == "NIRGraph":
            if depth:
                raise ValueError(f"{self.path}: {name!r} is a graph in a graph in a graph")
            return Node(name, kind, {}, self.graph(group, repr(name), depth + 1))
        skipped = ("type", "metadata")
        arrays = {k: self.value(v, k) for k, v in self.members(group) if k not in skipped}
        return Node(name, kind, arrays)

    def members(self, group: Any) -> Iterator[tuple[str, Any]]:
        import h5py

        if not isinstance(group, h5py.Group) or len(group) > _MOST_NODES:
            raise ValueError(f"{self.path}: {group.name} should be a group of nodes or arrays")
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"{self.path}: {name!r} is a link to another place, not data")
            yield name, group[name]

    def value(self, place: Any, name: str) -> Any:
        """An array, or text."""
        import h5py

        if not isinstance(place, h5py.Dataset) or place.external or place.is_virtual:
            raise ValueError(f"{self.path}: {name!r} should be an array in this file")
        if place.size is None or place.size * place.dtype.itemsize > self.most:
            raise ValueError(f"{self.path}: {name!r} declares more than the file holds")
        value = place[()]
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else value

    def text(self, group: Any, name: str, where: str) -> str:
        found = self.value(group[name], name) if name in group else None
        if not isinstance(found, str):
            raise ValueError(f"{self.path}: {where} does not say its {name}")
        return found

    def edges(self, group: Any) -> list[tuple[str, str]]:
        found = np.asarray(self.value(group["edges"], "edges")) if "edges" in group else None
        if found is None or (found.size and (found.ndim != 2 or found.shape[1] != 2)):
            raise ValueError(f"{self.path}: the edges should be pairs of names")
        return [
            (_as_text(source), _as_text(target)) for source, target in found.reshape(-1, 2).tolist()
        ]


def _as_text(name: Any) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
