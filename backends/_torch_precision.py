"""Products of Torch in full float32, whatever precision was set for the rest of a program."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

_CUDA: Any = torch.backends.cuda.matmul
_CPU: Any = torch.backends.mkldnn


def matmul(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """``a @ b`` of two or of three axes, never in TF32 or bfloat16, nor are its gradients."""
    if _is_full():
        return a @ b
    product: torch.Tensor = _Product.apply(a, b)
    return product


class _Product(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        with full_precision():
            return a @ b

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, Any]:
        a, b = ctx.saved_tensors
        for_a, for_b = ctx.needs_input_grad
        return (
            matmul(grads[0], b.mT) if for_a else None,
            matmul(a.mT, grads[0]) if for_b else None,
        )


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Torch's settings for float32 products at their most precise, and then as they were.

    Torch has an older and a newer set of them, and a program may use either. The older one writes
    both, so that they never contradict each other inside.
    """
    older, newer = _older(), _newer()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        if older is not None:
            torch.set_float32_matmul_precision(older)
        if newer is not None:
            _CUDA.fp32_precision = newer[0]
            _CPU.matmul.fp32_precision = newer[1]


def _is_full() -> bool:
    newer = _newer()
    return _older() == "highest" if newer is None else set(newer) <= {"ieee", "none"}


def _older() -> str | None:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # the newer settings say something else, and are those that count
        return None


def _newer() -> tuple[str, str] | None:
    try:
        return _CUDA.fp32_precision, _CPU.matmul.fp32_precision
    except AttributeError:  # before Torch 2.9
        return None
