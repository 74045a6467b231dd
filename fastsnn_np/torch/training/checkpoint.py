"""Checkpoints without pickle: tensors in a safetensors file, the rest as JSON in its header."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
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
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"{path} has a damaged checkpoint header: {error!r}") from error
        return checkpoint

    def remove_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Delete a checkpoint that has been superseded."""
        Path(path).unlink(missing_ok=True)


def check_parameters(theirs: Any, ours: Mapping[str, Tensor]) -> None:
    """Refuse parameters by name that are not of the shapes and dtypes of ours."""
    for name in {**ours, **_dict("the parameters", theirs)}:
        if name not in ours or name not in theirs:
            raise ValueError(f"the checkpoint is damaged: {name} is {_only(name, ours)}")
        _check_alike(name, theirs[name], ours[name])


def fitted_optimiser(theirs: Any, parameters: Sequence[Tensor]) -> dict[str, Any]:
    """The state of an optimiser, each tensor laid out in memory as its parameter is.

    Fused optimisers take both for rows of numbers: other shapes or dtypes would be read out of
    bounds.

    Raises
    ------
    ValueError
        If it is not that of Adam for these parameters.
    """
    state = dict(_dict("the optimiser's state", _dict("the optimiser", theirs).get("state")))
    for number, held in state.items():
        if type(number) is not int or not 0 <= number < len(parameters):
            raise ValueError(f"the checkpoint is damaged: the optimiser has a parameter {number}")
        if set(_dict("the optimiser's state", held)) != {"step", "exp_avg", "exp_avg_sq"}:
            raise ValueError(
                f"the checkpoint is damaged: the optimiser's state of parameter {number} is "
                f"{', '.join(map(str, held))}, and that of Adam is step, exp_avg, exp_avg_sq"
            )
        parameter, found = parameters[number], dict(held)
        for name in ("exp_avg", "exp_avg_sq"):
            _check_alike(f"the optimiser's {name} of parameter {number}", held[name], parameter)
            found[name] = torch.empty_like(parameter, requires_grad=False).copy_(held[name])
        step = held["step"]
        if not isinstance(step, Tensor) or step.shape != () or not 0 <= float(step) < 2**53:
            raise ValueError(f"the checkpoint is damaged: the optimiser's step is {step}")
        state[number] = found
    return {**theirs, "state": state}


def _dict(what: str, value: Any) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"the checkpoint is damaged: {what} must be a dict, got {value!r:.60}")
    return value


def _only(name: str, ours: Mapping[str, Tensor]) -> str:
    return "missing" if name in ours else "no parameter of this network"


def _check_alike(name: str, theirs: Any, ours: Tensor) -> None:
    if not isinstance(theirs, Tensor):
        raise ValueError(f"the checkpoint is damaged: {name} is no tensor")
    if (theirs.shape, theirs.dtype) != (ours.shape, ours.dtype):
        raise ValueError(
            f"the checkpoint does not fit: {name} is {theirs.dtype} of shape "
            f"{tuple(theirs.shape)}, and {ours.dtype} of shape {tuple(ours.shape)} here"
        )


def _packed(value: Any, tensors: dict[str, Tensor], where: str) -> Any:
    """A nested value as JSON; JSON has no tuples and no keys but strings, so containers are named.

    Tensors go to `tensors`, under the names that stand for them.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Tensor):
        # the format knows contiguous tensors only
        tensors[where] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {"tensor": where}
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


def _unpacked(value: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "transposed":  # weights were kept so before version 0.2
        return tensors[content].t().contiguous()
    if kind == "dict":
        return {_unpacked(k, tensors): _unpacked(v, tensors) for k, v in content}
    items = [_unpacked(v, tensors) for v in content]
    return tuple(items) if kind == "tuple" else items
