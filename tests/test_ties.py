"""Which step of a tied maximum has the gradient: the first, wherever V is exact."""

from __future__ import annotations

import numpy as np
import pytest

import fastsnn_np as fs

# beta = 1/2 and inputs that are powers of two: every V is exact, in every order of adding.
# V = 1, 1/2, 1, 1/2, 1, 1/2: the maximum is met at steps 0, 2 and 4.
CURRENT = np.array([1.0, 0.0, 0.75, 0.0, 0.75, 0.0])
SILENT = np.zeros(6)  # all steps are tied


def case(dtype):
    x = np.stack([CURRENT, SILENT])[:, None].astype(dtype)
    readout = fs.Readout(
        np.ones((1, 1), dtype), beta=np.full(1, 0.5, dtype), kind="max", input_scale="unit"
    )
    return x, fs.Network((), readout)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("engine", ["dense", "event"])
def test_the_logit_of_a_tie(engine, dtype):
    x, network = case(dtype)
    for given in (x, fs.Events.from_dense(x)):
        result = fs.forward(given, network, engine=engine, return_potential=True)
        np.testing.assert_array_equal(result.potentials[0][0, 0], [1, 0.5, 1, 0.5, 1, 0.5])
        np.testing.assert_array_equal(result.logits, [[1], [0]])


@pytest.mark.backend("torch")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("engine", ["dense", "event"])
def test_the_gradient_of_a_tie_goes_to_its_first_step(engine, dtype):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from fastsnn_np.torch import FastSNN

    x, network = case(dtype)
    model = FastSNN.from_network(network, engine=engine)
    given = torch.from_numpy(x).requires_grad_()
    model(given).sum().backward()
    expected = np.zeros_like(x)
    expected[:, 0, 0] = 1  # V[0] = I[0]; all later steps would have halves before them
    np.testing.assert_array_equal(given.grad.numpy(), expected)


def test_the_event_engine_tells_the_first_step():
    from fastsnn_np.backends.event import layers

    for dtype in (np.float32, np.float64):
        x, network = case(dtype)
        part = network.readout
        weights = layers.weights_of(part.weight, part.bias, part.beta, part.input_scale)
        rows = layers.rows_of(x, np.dtype(dtype))
        assert layers.readout(rows, weights, summed=False).where.ravel().tolist() == [0, 0]
