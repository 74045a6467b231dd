"""First-spike selection with a surrogate gradient in closed form."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from .._decay import check_option
from .._first_spike import first_spike as _first_spike

Gradient = Literal["straight_through", "paper"]


def first_spike(
    potential: Tensor,
    threshold: float = 1.0,
    *,
    gradient: Gradient = "straight_through",
    slope: float = 10.0,
) -> Tensor:
    """The first threshold crossing of every neuron, differentiable by a surrogate gradient.

    The backward pass is that of g(phi(f(V))) with f' replaced by (slope |V - theta| + 1)^-2
    (eq. 20), in closed form: with G = dL/dS,

        dL/dV[m] = (slope |V[m] - theta| + 1)^-2 * sum_{t>=m} (t-m+1) M[t] G[t].

    Parameters
    ----------
    potential : tensor (..., neurons, time), float32 or float64
        Membrane potential without reset.
    threshold : float
    gradient : {"straight_through", "paper"}
        M is g'(z). "paper" takes it literally, 1 before the neuron's spike and 0 from it on;
        "straight_through" takes 1 everywhere, which trains far better.
    slope : float
        Slope of the surrogate, positive.

    Returns
    -------
    tensor of the same shape and dtype
        1 at the first step where V > theta, else 0.

    Raises
    ------
    ValueError
        If the slope is not positive, the mode unknown, or there is no time step.

    Examples
    --------
    >>> v = torch.tensor([[0.5, 1.5, 2.0]], requires_grad=True)
    >>> first_spike(v)
    tensor([[0., 1., 0.]], grad_fn=<_FirstSpikeBackward>)
    """
    check_gradient(gradient, slope)
    spikes: Tensor = _FirstSpike.apply(potential, threshold, gradient == "paper", slope)
    return spikes


def check_gradient(gradient: Any, slope: Any) -> None:
    """Refuse an unknown gradient mode or a slope that is not positive."""
    check_option("gradient", gradient, Gradient)
    if not 0 < slope < math.inf:
        raise ValueError(f"slope must be positive and finite, got {slope}")


class _FirstSpike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, potential: Tensor, threshold: float, paper: bool, slope: float) -> Tensor:
        spikes, times = _first_spike(potential, threshold)
        ctx.save_for_backward(potential, times)
        ctx.threshold, ctx.paper, ctx.slope = threshold, paper, slope
        return spikes.to(potential.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        potential, times = ctx.saved_tensors
        (grad,) = grads
        if ctx.paper:
            step = torch.arange(potential.shape[-1], device=potential.device)
            grad = torch.where(step < times[..., None], grad, 0)
        r = grad.flip(-1).cumsum(-1).cumsum(-1).flip(-1)
        surrogate = (ctx.slope * (potential - ctx.threshold).abs() + 1) ** -2
        return surrogate * r, None, None, None
