"""The decay's products stay in full float32, whatever Torch was told about all others."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.backend("torch")
torch = pytest.importorskip("torch", reason="torch is not installed")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

import fastsnn_np as fs  # noqa: E402
from fastsnn_np.torch import FastSNN  # noqa: E402

NEWER = hasattr(torch.backends.cuda.matmul, "fp32_precision")


@pytest.fixture(autouse=True)
def as_before():
    yield
    if NEWER:
        torch.backends.cuda.matmul.fp32_precision = "none"
        torch.backends.mkldnn.matmul.fp32_precision = "none"
    torch.set_float32_matmul_precision("highest")


def settings():
    try:
        older = torch.get_float32_matmul_precision()
    except RuntimeError:
        older = "mixed"
    if not NEWER:
        return (older,)
    places = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)
    return (older, *(place.fp32_precision for place in places))


class Products(TorchDispatchMode):
    """The settings that each matrix product met."""

    def __init__(self):
        super().__init__()
        self.met = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.bmm):
            self.met.append(settings())
        return function(*args, **(kwargs or {}))


def older(precision):
    return lambda: torch.set_float32_matmul_precision(precision)


def allow():
    torch.backends.cuda.matmul.allow_tf32 = True


def newer():
    torch.backends.cuda.matmul.fp32_precision = "tf32"


SET = {"highest": older("highest"), "high": older("high"), "medium": older("medium")}
SET |= {"allow_tf32": allow} | ({"newer": newer} if NEWER else {})
FULL = ("highest", "ieee", "ieee") if NEWER else ("highest",)


@pytest.mark.parametrize("how", SET)
@pytest.mark.parametrize("beta", [0.9, "per neuron"])
def test_decay_forward_and_backward(how, beta):
    SET[how]()
    before = settings()
    beta = torch.linspace(0.5, 0.9, 3).requires_grad_() if beta == "per neuron" else beta
    current = torch.rand(2, 3, 200, requires_grad=True)
    with Products() as products:
        (grad,) = torch.autograd.grad(fs.decay(current, beta=beta).square().sum(), [current])
    assert len(products.met) >= 4 and set(products.met) == {FULL}
    assert settings() == before
    older("highest")()
    (exact,) = torch.autograd.grad(fs.decay(current, beta=beta).square().sum(), [current])
    torch.testing.assert_close(grad, exact)


def test_a_training_step_changes_no_setting():
    torch.set_float32_matmul_precision("high")
    before = settings()
    model = FastSNN([6, 5, 3], engine="dense")
    with Products() as products:
        model(torch.rand(2, 6, 40)).sum().backward()
    assert set(products.met) == {FULL, before}  # the decay's, and those of the weights
    assert settings() == before
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_second_derivatives():
    torch.set_float32_matmul_precision("high")
    current = torch.rand(1, 2, 70, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: fs.decay(x, beta=0.8).square(), [current])
