"""The dense engine as an ONNX graph: matrix products, no loop over time, any batch."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from .. import _decay
from .._checks import check_steps
from .._namespace import said, to_numpy
from .._storage import as_path, replacing
from ..network import Layer, Network, Readout
from ._parts import check_single_spike

_OPSET = 17


def to_onnx(network: Network, path: str | os.PathLike[str], n_steps: int) -> None:
    """Write a network as an ONNX model that any runtime computes, for inputs of `n_steps` steps.

    The model takes ``x``, (batch, inputs, n_steps) in the network's dtype, and gives ``logits``,
    (batch, classes), and for each hidden layer ``spike_times_0``, ..., int64 (batch, neurons),
    where n_steps means never. The batch may be of any size but 0. It is what
    ``forward(engine="dense")`` computes, block by block.

    Parameters
    ----------
    network : Network
    path : path
        The file, such as ``"network.onnx"``.
    n_steps : int
        Number of steps of the input; fixed, since it decides how time is cut into blocks.

    Raises
    ------
    ImportError
        If onnx is not installed.

    Notes
    -----
    A runtime rounds sums in an order of its own: spike times agree but for neurons that come
    within rounding of the threshold, see `fastsnn_np.agreement`.
    """
    if not isinstance(network, Network):
        raise TypeError(f"network must be a Network, got {said(network)}")
    check_single_spike(network, "an ONNX file of this writer")
    path, n_steps = as_path(path), check_steps(n_steps)
    try:
        import onnx
    except ImportError as error:
        raise ImportError(f"ONNX needs onnx ({error}): pip install 'fastsnn-np[onnx]'") from error
    network = network.mapped(to_numpy)
    graph = _Graph(onnx.helper, onnx.numpy_helper, network.dtype)
    kind = onnx.helper.np_dtype_to_tensor_dtype(network.dtype)
    train, outputs = "x", []
    for i, layer in enumerate(network.layers):
        times = graph.spike_times(train, layer, n_steps, f"spike_times_{i}")
        outputs.append((times, onnx.TensorProto.INT64, layer.n_neurons))
        train = graph.train(times, n_steps)
    graph.logits(train, network.readout, n_steps)
    outputs.insert(0, ("logits", kind, network.readout.n_neurons))
    tensor = onnx.helper.make_tensor_value_info
    made = onnx.helper.make_graph(
        graph.nodes,
        "fastsnn_np",
        [tensor("x", kind, ["batch", network.sizes[0], n_steps])],
        [tensor(name, dtype, ["batch", size]) for name, dtype, size in outputs],
        graph.constants,
    )
    model = onnx.helper.make_model(
        made,
        producer_name="fastsnn_np",
        opset_imports=[onnx.helper.make_opsetid("", _OPSET)],
        ir_version=8,
    )
    onnx.checker.check_model(model)
    with replacing(path) as temporary:
        temporary.write_bytes(model.SerializeToString())


class _Graph:
    """Nodes and constants as they are added; each method gives the name of its result."""

    def __init__(self, helper: Any, arrays: Any, dtype: Any) -> None:
        self.helper, self.arrays, self.dtype = helper, arrays, dtype
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Any, dtype: Any = np.int64) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(self.arrays.from_array(np.ascontiguousarray(value, dtype), name))
        return name

    def add(self, kind: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        name = name or f"v{len(self.nodes)}"
        self.nodes.append(self.helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def reshaped(self, x: str, *shape: int) -> str:
        return self.add("Reshape", x, self.constant(shape))

    def cut(self, x: str, start: int, stop: int, axis: int) -> str:
        ends = [self.constant([n]) for n in (start, stop, axis)]
        return self.add("Slice", x, *ends)

    def potential(self, x: str, part: Layer | Readout, n_steps: int) -> str:
        """Steps 1 and 2, (batch, neurons, time)."""
        current = self.add("MatMul", self.constant(part.weight, self.dtype), x)
        if part.bias is not None:
            bias = self.constant(part.bias[:, None], self.dtype)
            current = self.add("Add", current, bias)
        plan = _decay.plan_of(np, part.beta, n_steps, part.input_scale)
        assert isinstance(plan, _decay.Blocks)
        by_neuron = self.add("Transpose", current, perm=[1, 0, 2])
        v = self.by_blocks(by_neuron, plan, part.n_neurons, n_steps)
        return self.add("Transpose", v, perm=[1, 0, 2])

    def by_blocks(self, x: str, plan: _decay.Blocks, neurons: int, steps: int) -> str:
        """The potential of x, (neurons, batch, time), as `_decay` has it."""
        c, count = plan.toeplitz.shape[-1], plan.n_blocks
        if count * c != steps:
            x = self.add("Pad", x, self.constant([0, 0, 0, 0, 0, count * c - steps]))
        v = self.reshaped(x, neurons, -1, c)
        v = self.add("MatMul", v, self.constant(plan.toeplitz, self.dtype))
        if plan.ends is not None:
            v = self.reshaped(v, neurons, -1, count, c)
            last = self.reshaped(self.cut(v, c - 1, c, 3), neurons, -1, count)
            ends = self.by_blocks(last, plan.ends, neurons, count)
            shifted = self.add("Pad", ends, self.constant([0, 0, 1, 0, 0, -1]))
            onset = self.constant(plan.onset[:, None, None, :], self.dtype)
            before = self.reshaped(shifted, neurons, -1, count, 1)
            v = self.add("Add", v, self.add("Mul", before, onset))
        return self.cut(self.reshaped(v, neurons, -1, count * c), 0, steps, 2)

    def spike_times(self, x: str, layer: Layer, n_steps: int, name: str) -> str:
        """Steps 1 to 4: the first step above the threshold, or n_steps."""
        v = self.potential(x, layer, n_steps)
        above = self.add("Greater", v, self.constant(layer.threshold, self.dtype))
        number = self.cast(above, np.int32)
        first = self.add("ArgMax", number, axis=2, keepdims=0)
        fired = self.add("ReduceMax", number, axes=[2], keepdims=0)
        fired = self.add("Greater", fired, self.constant(0, np.int32))
        return self.add("Where", fired, first, self.constant(n_steps), name=name)

    def train(self, times: str, n_steps: int) -> str:
        """Spike times as a train of 0 and 1, (batch, neurons, time)."""
        column = self.add("Unsqueeze", times, self.constant([2]))
        return self.cast(self.add("Equal", column, self.constant(np.arange(n_steps))), self.dtype)

    def logits(self, x: str, readout: Readout, n_steps: int) -> None:
        v = self.potential(x, readout, n_steps)
        if readout.kind == "sum":
            self.add("ReduceSum", v, self.constant([2]), name="logits", keepdims=0)
        else:
            self.add("ReduceMax", v, name="logits", axes=[2], keepdims=0)

    def cast(self, x: str, dtype: Any) -> str:
        return self.add("Cast", x, to=self.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
