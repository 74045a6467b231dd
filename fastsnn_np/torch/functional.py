"""Spikes with a surrogate gradient: every crossing, or the first one in closed form."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from .._checks import check_option, finite, positive
from .._first_spike import first_spike as _first_spike
from .._namespace import said
from ._arguments import check_tensor

Gradient = Literal["straight_through", "paper"]
SurrogateName = Literal["fast_sigmoid", "arctan", "triangle"]
Surrogate = SurrogateName | Callable[[Tensor, float], Tensor]


def surrogate_derivative(
    distance: Tensor, slope: float = 10.0, kind: Surrogate = "fast_sigmoid"
) -> Tensor:
    """What stands for the derivative of the spike function, 1 on the threshold.

    Parameters
    ----------
    distance : tensor
        V - theta.
    slope : float
    kind : {"fast_sigmoid", "arctan", "triangle"} or callable
        "fast_sigmoid" is (slope |d| + 1)^-2 (eq. 20), "arctan" 1 / (1 + (slope d)^2), "triangle"
        max(0, 1 - slope |d|); a callable gets `distance` and `slope`.

    Returns
    -------
    tensor of the same shape
        0 where the distance is NaN or infinite.

    Examples
    --------
    >>> surrogate_derivative(torch.tensor([0.0, 0.1, float("nan")]))
    tensor([1.0000, 0.2500, 0.0000])
    """
    check_tensor("distance", distance)
    positive("slope", slope)
    if kind == "fast_sigmoid":
        derivative = (slope * distance.abs() + 1) ** -2
    elif kind == "arctan":
        derivative = 1 / (1 + (slope * distance) ** 2)
    elif kind == "triangle":
        derivative = (1 - slope * distance.abs()).clamp(min=0)
    else:
        check_surrogate(kind)
        derivative = kind(distance, slope)
        if not isinstance(derivative, Tensor) or derivative.shape != distance.shape:
            raise ValueError(
                f"a surrogate must give a tensor of the shape {tuple(distance.shape)} of its "
                f"distance, got {said(derivative)}"
            )
    return torch.where(torch.isfinite(distance), derivative, 0)


def spike(
    potential: Tensor,
    threshold: float = 1.0,
    *,
    slope: float = 10.0,
    surrogate: Surrogate = "fast_sigmoid",
) -> Tensor:
    """1 where V > theta, else 0, with the surrogate's derivative in the backward pass (eq. 3, 20).

    Parameters
    ----------
    potential : tensor of any shape
    threshold : float
    slope, surrogate
        As in `surrogate_derivative`.

    Returns
    -------
    tensor of the same shape and dtype
    """
    check_tensor("potential", potential)
    positive("slope", slope)
    check_surrogate(surrogate)
    spikes: Tensor = _Spike.apply(potential, check_threshold(threshold), slope, surrogate)
    return spikes


def first_spike(
    potential: Tensor,
    threshold: float = 1.0,
    *,
    gradient: Gradient = "straight_through",
    slope: float = 10.0,
    surrogate: Surrogate = "fast_sigmoid",
) -> Tensor:
    """The first threshold crossing of every neuron, differentiable by a surrogate gradient.

    The backward pass is that of g(phi(f(V))) with f' replaced by the surrogate h, by default
    h(d) = (slope |d| + 1)^-2 (eq. 20), in closed form: with G = dL/dS,

        dL/dV[m] = h(V[m] - theta) * sum_{t>=m} (t-m+1) M[t] G[t].

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
    surrogate : {"fast_sigmoid", "arctan", "triangle"} or callable
        See `surrogate_derivative`.

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
    check_tensor("potential", potential)
    check_gradient(gradient, slope, surrogate)
    threshold, paper = check_threshold(threshold), gradient == "paper"
    spikes: Tensor
    spikes, _ = _FirstSpike.apply(potential, threshold, paper, slope, surrogate)
    return spikes


def check_gradient(gradient: Any, slope: Any, surrogate: Any = "fast_sigmoid") -> None:
    """Refuse an unknown gradient mode or surrogate, or a slope that is not positive."""
    check_option("gradient", gradient, Gradient)
    positive("slope", slope)
    check_surrogate(surrogate)


def check_surrogate(surrogate: Any) -> Any:
    """The surrogate, which must be a known name or a callable."""
    if not callable(surrogate) and surrogate not in get_args(SurrogateName):
        known = ", ".join(map(repr, get_args(SurrogateName)))
        raise ValueError(f"surrogate must be one of {known}, or a callable, got {surrogate!r}")
    return surrogate


def check_threshold(threshold: Any) -> float:
    """The threshold as a plain float.

    Raises
    ------
    TypeError
        If it is an array: one would be aligned with time, and a parameter would have no gradient.
    ValueError
        If it is no finite number.
    """
    if isinstance(threshold, (Tensor, np.ndarray, list, tuple)):
        kind = "learnt" if isinstance(threshold, torch.nn.Parameter) else "given per neuron"
        raise TypeError(
            f"threshold must be one number for the layer, got {type(threshold).__name__} "
            f"of shape {tuple(np.shape(threshold))}: thresholds cannot be {kind}"
        )
    return finite("threshold", threshold)


def handed_down(steps: int) -> float:
    """What a hidden layer's dL/dS_in is multiplied by before the hidden layer below gets it.

    dL/dV[m] sums (t-m+1) G[t] over t >= m, at most T (T+1) / 2 times the largest G. Gradients grow
    by as much in every layer, and float32 ends at 3e38. The inverse of that sum keeps them alike in
    all layers. No layer scales the gradients of its own parameters. Neither the readout nor the
    first layer, which hands its gradient to the input, scales anything: a network of one hidden
    layer has the gradients of its equations.

    Parameters
    ----------
    steps : int
        T.

    Examples
    --------
    >>> handed_down(100) == 2 / (100 * 101)
    True
    """
    return 2 / (steps * (steps + 1))


def scale_gradient(x: Tensor, factor: float) -> Tensor:
    """`x` as it is, whose gradient is multiplied by `factor` on its way back."""
    scaled: Tensor = _ScaledGradient.apply(x, factor)
    return scaled


class _ScaledGradient(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, factor: float) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.factor = inputs[1]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0] * ctx.factor, None


class _NoSecondDerivative(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(gradient: Tensor, *differentiable: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        raise RuntimeError(
            "the surrogate gradient of a spike has no derivative of its own: a loss may not look "
            "at gradients (create_graph=True)"
        )


def no_double_backward(backward: Callable[..., Any]) -> Callable[..., Any]:
    """A backward pass whose results refuse to be differentiated again.

    They are made to depend on what was saved for it. Torch's `once_differentiable` lets it pass, as
    if the gradient were a constant, where the incoming gradient is one, such as that of
    ``logits.sum()``.
    """

    @functools.wraps(backward)
    def guarded(ctx: Any, *grads: Tensor) -> Any:
        with torch.no_grad():
            found = backward(ctx, *grads)
        if torch.compiler.is_compiling() or not torch.is_grad_enabled():
            return found
        saved, refuse = ctx.saved_tensors, _NoSecondDerivative.apply
        return tuple(refuse(g, *saved) if isinstance(g, Tensor) else g for g in found)

    return guarded


class _Spike(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(potential: Tensor, threshold: float, slope: float, surrogate: Surrogate) -> Tensor:
        return (potential > threshold).to(potential.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        potential, *ctx.options = inputs
        ctx.save_for_backward(potential)

    @staticmethod
    @no_double_backward
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (potential,) = ctx.saved_tensors
        threshold, slope, surrogate = ctx.options
        derivative = surrogate_derivative(potential - threshold, slope, surrogate)
        return grads[0] * derivative, None, None, None


def rising(x: Tensor) -> Tensor:
    """Sum of (t - m + 1) x[t] over t >= m, at every m."""
    return x.flip(-1).cumsum(-1).cumsum(-1).flip(-1)


class _FirstSpike(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(
        potential: Tensor, threshold: float, paper: bool, slope: float, surrogate: Surrogate
    ) -> tuple[Tensor, Tensor]:
        spikes, times = _first_spike(potential, threshold)
        return spikes.to(potential.dtype), times

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        potential, *ctx.options = inputs
        _, times = output
        ctx.mark_non_differentiable(times)
        ctx.save_for_backward(potential, times)

    @staticmethod
    @no_double_backward
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        potential, times = ctx.saved_tensors
        threshold, paper, slope, surrogate = ctx.options
        grad, _ = grads
        if paper:
            step = torch.arange(potential.shape[-1], device=potential.device)
            grad = torch.where(step < times[..., None], grad, 0)
        r = rising(grad)
        derivative = surrogate_derivative(potential - threshold, slope, surrogate)
        return derivative * r, None, None, None, None


class Clamped(torch.autograd.Function):
    """A parameter clamped to a range, and the gradient of a projection onto it.

    Outside, a gradient passes only where following it leads back. One that leads further out would
    carry the parameter so far that a change of mind finds it out of reach.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, low: float, high: float) -> Tensor:
        return x.clamp(low, high)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        x, ctx.low, ctx.high = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (grad,), (x,) = grads, ctx.saved_tensors
        further_out = ((x < ctx.low) & (grad > 0)) | ((x > ctx.high) & (grad < 0))
        return torch.where(further_out, 0, grad), None, None
