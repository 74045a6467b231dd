"""Checks of arguments that only Torch has: tensors, and where and as what parameters are kept."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .._checks import check_initial, is_number
from .._namespace import said
from ..backends.torch import asarray


def check_tensor(name: str, value: Any) -> None:
    """Refuse what is no tensor of floating-point numbers."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        came = value.dtype if isinstance(value, Tensor) else said(value)
        raise TypeError(f"{name} must be a floating-point tensor, got {came}")


def check_part(name: str, value: Any, kind: type) -> None:
    """Refuse what is no part of a network of this kind."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be a fastsnn_np.{kind.__name__}, got {said(value)}")


def checked_dtype(dtype: Any) -> Any:
    """The dtype of parameters, or None for Torch's default; in half precision spikes are lost."""
    found = torch.get_default_dtype() if dtype is None else dtype
    if not any(found is allowed for allowed in (torch.float32, torch.float64)):
        raise TypeError(f"dtype must be torch.float32 or torch.float64, got {said(found)}")
    return dtype


def checked_device(device: Any) -> Any:
    """The device of parameters, or None for Torch's default.

    Raises
    ------
    ValueError
        If there is no such device, or it is not available.
    """
    if device is not None:
        asarray(torch.empty(0, device="cpu"), device)
    return device


def fitted_initial(initial: Any, current: Tensor) -> Tensor:
    """The initial potential in the dtype of the current, (..., neurons, time), if it fits it.

    Raises
    ------
    TypeError, ValueError
        If it is neither a number nor a tensor of real numbers, or of another shape.
    """
    if is_number(initial):
        return torch.full((), float(initial), dtype=current.dtype, device=current.device)
    if not isinstance(initial, Tensor) or initial.is_complex():
        raise TypeError(
            f"initial_potential must be a number or a tensor of real ones, got {said(initial)}"
        )
    check_initial(initial, current.shape[:-1])
    return initial.to(current.dtype)
