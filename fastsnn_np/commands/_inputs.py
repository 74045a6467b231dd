"""Files of images, spike trains and events as input of a network."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from .._namespace import said
from .._storage import as_path, opened, size_of
from ..encoding import latency, linear_latency
from ..spikes import Events
from ._networks import Coding

KINDS = (".npy", ".csv", ".png")
_COLUMNS = ("time", "neuron")


def encoded(images: Any, coding: Coding) -> Any:
    """Images as spike times."""
    if coding.encoding == "linear_latency":
        return linear_latency(images, n_steps=coding.n_steps)
    if coding.encoding != "latency":
        raise ValueError(f"images are encoded by latency or linear_latency, not {coding.encoding}")
    return latency(images, n_steps=coding.n_steps, dt=coding.dt)


def read_input(name: str, n_inputs: int, coding: Coding) -> Any:
    """What a network takes, from a file: (batch, inputs, time), `SpikeTimes` or `Events`.

    An ``.npy`` file holds images, one or many, or trains (batch, inputs, time); a ``.png`` file an
    image; a ``.csv`` file has columns time (ms) and neuron, and perhaps sample.

    Raises
    ------
    ValueError
        If the file is of another kind, damaged, or does not fit the network.
    """
    path = as_path(name, "input")
    size_of(path)
    if path.suffix == ".csv":
        return _events(path, n_inputs, coding)
    if path.suffix not in KINDS:
        raise ValueError(f"{path} is no input: {', '.join(KINDS)} are")
    array = _image(path) if path.suffix == ".png" else _array(path)
    if array.ndim == 3 and array.shape[1] == n_inputs and array[0].size != n_inputs:
        return array
    if array.size == n_inputs and (array.ndim == 1 or array.shape[0] != 1):
        array = array[None]
    if array.ndim < 2 or array[0].size != n_inputs:
        raise ValueError(
            f"{path} has shape {array.shape} and the network takes {n_inputs} inputs: images of as "
            f"many pixels, or trains (batch, {n_inputs}, time)"
        )
    return encoded(array, coding)


def _array(path: Path) -> Any:
    try:
        with opened(path) as file:
            array = np.load(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} is no NumPy file: {error}") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iufb" or not array.size:
        raise ValueError(f"{path} holds no numbers, but {said(array)}")
    return array


def _image(path: Path) -> Any:
    """Grey values of an image."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            f"{path} needs pillow ({error}): pip install 'fastsnn-np[plot]'"
        ) from error
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("L"))
    except (OSError, ValueError, SyntaxError) as error:
        raise ValueError(f"{path} is no image: {error}") from error


def _events(path: Path, n_inputs: int, coding: Coding) -> Events:
    """Events of a table with a head: time in ms, neuron, and sample, which is 0 unless given."""
    columns = _table(path)
    sample = columns.get("sample")
    if sample is not None and sample.min() < 0:
        raise ValueError(f"{path}: samples must be numbered from 0, got {sample.min()}")
    events = Events.from_times(
        columns["time"],
        columns["neuron"],
        sample,
        dt=coding.dt,
        n_neurons=n_inputs,
        n_steps=coding.n_steps,
        binary=coding.binary,
    )
    silent = [i for i, part in enumerate(events) if not part.n_events]
    if silent:
        raise ValueError(f"{path}: sample {silent[0]} of {len(events)} has no event")
    return events


def _table(path: Path) -> dict[str, Any]:
    """Columns by name, times as floats and the others as integers."""
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        rows = csv.reader(file)
        head = [name.strip().lower() for name in next(rows, [])]
        if not head:
            raise ValueError(f"{path} is empty: a head time,neuron,sample is wanted")
        for name in _COLUMNS:
            if name not in head:
                raise ValueError(f"{path} has no column {name!r}, only {', '.join(head)}")
        places = {name: head.index(name) for name in (*_COLUMNS, "sample") if name in head}
        kinds = {name: float if name == "time" else int for name in places}
        values: dict[str, list[Any]] = {name: [] for name in places}
        for row in rows:
            if not row:
                continue
            for name, place in places.items():
                values[name].append(_number(path, rows.line_num, name, row, place, kinds[name]))
    if not values["time"]:
        raise ValueError(f"{path} has a head and no event")
    return {name: np.array(column) for name, column in values.items()}


def _number(path: Path, line: int, name: str, row: list[str], place: int, kind: Any) -> Any:
    text = row[place].strip() if place < len(row) else ""
    try:
        return kind(text)
    except ValueError:
        wanted = "a number" if kind is float else "a whole number"
        raise ValueError(f"{path}, line {line}: {name} must be {wanted}, got {text!r}") from None
