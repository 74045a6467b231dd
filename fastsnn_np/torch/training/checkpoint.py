"""Checkpoints without pickle: tensors in a safetensors file, the rest as JSON in its header."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import CheckpointIO
from torch import Tensor

from ..._storage import Format

_FORMAT = Format("checkpoint", version=1, framework="pt")
CHECKPOINTS = "checkpoints"  #: the folder of checkpoints in the folder of a run
LAST = "last"  #: the name of the only checkpoint


def last_checkpoint(folder: str | os.PathLike[str] | None) -> Path | None:
    """The checkpoint in `folder`, if there is one."""
    path = None if folder is None else Path(folder) / f"{LAST}.ckpt"
    return path if path is not None and path.is_file() else None


class SafetensorsIO(CheckpointIO):
    """How Lightning's `Trainer` writes and reads checkpoints here: ``Trainer(plugins=[...])``.

    A checkpoint appears whole or not at all, and reading one runs no code from it.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | os.PathLike[str],
        storage_options: Any = None,
    ) -> None:
        """Write a checkpoint, through a temporary name.

        Raises
        ------
        TypeError
            If it holds something that is no tensor, number, string, list or dict.
        """
        tensors: dict[str, Tensor] = {}
        tree = _packed(checkpoint, tensors, "checkpoint")
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        _FORMAT.write(path, {"checkpoint": tree}, tensors)

    def load_checkpoint(
        self,
        path: str | os.PathLike[str],
        map_location: Any = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read what `save_checkpoint` wrote, on the CPU.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is truncated, foreign, or of a newer version.
        """
        header, tensors = _FORMAT.read(path)
        try:
            checkpoint: dict[str, Any] = _unpacked(header["checkpoint"], tensors)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} has a damaged checkpoint header: {error!r}") from error
        return checkpoint

    def remove_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Delete a checkpoint that has been superseded."""
        Path(path).unlink(missing_ok=True)


def _packed(value: Any, tensors: dict[str, Tensor], where: str) -> Any:
    """A nested value as JSON; JSON has no tuples and no keys but strings, so containers are named.

    Tensors go to `tensors`, under the names that stand for them.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Tensor):
        # Weights are stored transposed in memory, and so must their optimiser's state be: fused
        # optimisers take both for rows of numbers. The format itself knows contiguous tensors only.
        kind = "transposed" if _is_transposed(value) else "tensor"
        value = value.detach().cpu()
        value = value.t() if kind == "transposed" else value
        tensors[where] = value.clone(memory_format=torch.contiguous_format)
        return {kind: where}
    if isinstance(value, dict):
        items = [
            [_packed(k, tensors, where), _packed(v, tensors, f"{where}.{k}")]
            for k, v in value.items()
        ]
        return {"dict": items}
    if isinstance(value, (list, tuple)):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [_packed(v, tensors, f"{where}.{i}") for i, v in enumerate(value)]}
    raise TypeError(
        f"a checkpoint holds tensors, numbers, strings, lists and dicts; {where} is {type(value)}"
    )


def _is_transposed(value: Tensor) -> bool:
    return value.ndim == 2 and not value.is_contiguous() and value.t().is_contiguous()


def _unpacked(value: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind in ("tensor", "transposed"):
        return tensors[content].t() if kind == "transposed" else tensors[content]
    if kind == "dict":
        return {_unpacked(k, tensors): _unpacked(v, tensors) for k, v in content}
    items = [_unpacked(v, tensors) for v in content]
    return tuple(items) if kind == "tuple" else items
