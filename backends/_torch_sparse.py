"""The product of sparse spikes and a dense matrix in Torch, differentiable in the matrix."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import torch


def product(matrix: Any, dense: torch.Tensor) -> torch.Tensor:
    """A `spikes.Compressed` matrix times a tensor (columns, n), in full precision."""
    apply: Any = _Product.apply
    found: torch.Tensor = apply(dense, matrix)
    return found


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(dense: torch.Tensor, matrix: Any) -> torch.Tensor:
        _silence()
        make = torch.sparse_csr_tensor if matrix.by_row else torch.sparse_csc_tensor
        sparse = make(
            matrix.indptr,
            matrix.indices,
            matrix.values,
            matrix.shape,
            check_invariants=False,  # repeated entries add, and need no order
        )
        # `@` would fill and copy the result first, and transpose what is not contiguous
        out = dense.new_empty(matrix.shape[0], dense.shape[1])
        with torch.autocast(dense.device.type, enabled=False):
            return torch.addmm(out, sparse.to_sparse_csr(), dense.contiguous(), beta=0, out=out)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        _, ctx.matrix = inputs

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        return product(ctx.matrix.transposed, grads[0]), None


@functools.cache
def _silence() -> None:
    """Let Torch say once, to nobody, that its compressed layouts are in a beta state."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*beta state", UserWarning)
        nothing = torch.zeros(1, dtype=torch.int32)
        torch.sparse_csr_tensor(
            nothing, nothing[:0], torch.zeros(0), (0, 1), check_invariants=False
        ).to_sparse_csc()
