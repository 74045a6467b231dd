"""Cases of the dense engine on sparse input, and of the core in JAX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import fastsnn_np as fs
from fastsnn_np import agreement, reference
from fastsnn_np.datasets import fashion_mnist_sample
from fastsnn_np.encoding import latency, random_spike_trains

from ...harness.contest import Bar, Call, Contest
from .. import catalogue
from ..internals import prepared_by, to_numpy
from ..names import LOOP, SPARSE
from ..tasks import SIZES
from .case import Case

DENSITIES = (2, 5, 10, 15, 20, 30)  # %
EVENT, NUMPY, TORCH = "event", "NumPy, dense", "Torch, dense"


def _agreeing(network: fs.Network, x: Any, outputs: dict[str, Any]) -> str:
    """Compare each contestant's first layer, of samples `x` in float64, with the reference."""
    part = network.layers[0]
    judge = reference.layer(
        x,
        part.weight.astype(np.float64),
        part.bias,
        beta=part.beta,
        input_scale=part.input_scale,
        return_potential=True,
    )
    rows = []
    for name, times in outputs.items():
        same = agreement.spike_times(times[: len(x)], judge.potential, dtype=np.float32)
        assert same.different == 0, (name, same)
        rows.append(f"{name} {same}")
    return "; ".join(rows)


def demo_network() -> Case:
    """1,000 images as spike times through each engine; with ``--against``, before and now."""

    def setup(names: Sequence[str]) -> Contest:
        network = fs.Network.random(SIZES, seed=0)
        network.layers[0].weight[:] *= 2
        x = latency(fashion_mnist_sample("test")[0])

        def run(backend: str, engine: str) -> Call:
            prepared = prepared_by(network, backend, engine)
            return Call(lambda: to_numpy(prepared(x).spike_times[0]))

        def check(outputs: dict[str, Any]) -> str:
            return _agreeing(network, x[:100].to_dense(np.float64), outputs)

        calls = {EVENT: ("numba", "event"), NUMPY: ("numpy", "dense"), TORCH: ("torch", "dense")}
        return Contest({name: run(*calls[name]) for name in names}, check)

    names = (EVENT, NUMPY, TORCH)
    return Case(
        "demo-network",
        "784-200-10, T = 100, 1,000 first-spike-coded images of Fashion-MNIST as `SpikeTimes`",
        names,
        setup,
        (Bar(NUMPY, EVENT, 1 / 6), Bar(TORCH, EVENT, 1 / 8)),
        names,
    )


def events_layer() -> Case:
    """The dense engine's layer on events of 1 % against the bare dense product."""

    def setup(names: Sequence[str]) -> Contest:
        import torch

        trains = random_spike_trains(128, 1000, 128, rate=(10, 10), seed=0).astype(np.float32)
        events = fs.Events.from_dense(trains)
        network = fs.Network.random([1000, 200, 10], seed=0)
        part = network.layers[0]
        part.weight[:] *= 3
        there, dense = torch.from_numpy(part.weight), torch.from_numpy(trains)

        def layer(library: str) -> Call:
            run = prepared_by(network, library, "dense")
            return Call(lambda: to_numpy(run(events).spike_times[0]))

        def check(outputs: dict[str, Any]) -> str:
            ours = {name: outputs[name] for name in (NUMPY, TORCH)}
            return _agreeing(network, trains[:16].astype(np.float64), ours)

        return Contest(
            {
                "NumPy, product": Call(lambda: part.weight @ trains, lambda kept: None),
                NUMPY: layer("numpy"),
                "Torch, product": Call(lambda: there @ dense, lambda kept: None),
                TORCH: layer("torch"),
            },
            check,
        )

    return Case(
        "events-layer",
        "1000-200-10, T = 128, batch 128, `Events` of 1 %: a forward pass, prepared, against the "
        "dense product of the hidden layer's step 1 alone",
        ("NumPy, product", NUMPY, "Torch, product", TORCH),
        setup,
        (Bar(NUMPY, "NumPy, product", 2.5), Bar(TORCH, "Torch, product", 2.5)),
        (NUMPY, TORCH),
    )


def sparse_product() -> Case:
    """Up to which density the sparse product beats the dense one: `Backend.densest_product`."""

    def setup(names: Sequence[str]) -> Contest:
        from fastsnn_np import backends
        from fastsnn_np._currents import densely
        from fastsnn_np.spikes import compressed

        rng = np.random.default_rng(0)
        weight = rng.standard_normal((200, 1000), dtype=np.float32)
        trains = {d: (rng.random((64, 1000, 128)) < d / 100) for d in DENSITIES}
        weights = {name: backends.get(name).asarray(weight) for name in ("numpy", "torch")}
        by_input = {
            name: backends.get(name).asarray(np.ascontiguousarray(weight.T)) for name in weights
        }

        def run(library: str, events: fs.Events, sparse: bool) -> Callable[[], Any]:
            product: Any = backends.get(library).sparse_product
            if sparse:
                return lambda: product(compressed(events, weights[library]), by_input[library])
            return lambda: weights[library] @ densely(events, weights[library])

        calls = {}
        for density, train in trains.items():
            events = fs.Events.from_dense(train)
            for library in weights:
                for way, sparse in (("sparse", True), ("made dense", False)):
                    call = run(library, events, sparse)
                    calls[f"{library}, {density} %, {way}"] = Call(call, to_numpy)

        def check(outputs: dict[str, Any]) -> str:
            largest = 0.0
            for name, found in outputs.items():
                if name.endswith("sparse"):
                    dense = outputs[name.replace("sparse", "made dense")]
                    by_row = dense.transpose(0, 2, 1).reshape(found.shape)
                    largest = max(largest, float(np.abs(found - by_row).max()))
            assert largest < 1e-3, largest
            return f"largest difference {largest:.1e}"

        return Contest(calls, check)

    names = tuple(
        f"{library}, {density} %, {way}"
        for library in ("numpy", "torch")
        for density in DENSITIES
        for way in ("sparse", "made dense")
    )
    return Case(
        "sparse-product",
        "`Events` (64, 1000, 128) times weights of 200 neurons, by density: by the sparse product, "
        "or made dense",
        names,
        setup,
        ours=names,
        rounds=7,
    )


def training_step() -> Case:
    """A training step of the dense engine on spike times against loops over time."""
    at_least = {LOOP: 1.5, "torch.compile, 16 steps": 1.2, "JAX lax.scan": 1.2}

    def setup(names: Sequence[str]) -> Contest:
        return catalogue.contest(names, task="train 128")

    return Case(
        "train-sparse",
        "784-200-10, T = 100, batch 128, first-spike-coded Fashion-MNIST: training step of the "
        "dense engine on `SpikeTimes`, Adam included",
        (SPARSE, "ours, dense", *at_least),
        setup,
        tuple(Bar(SPARSE, name, ratio) for name, ratio in at_least.items()),
        (SPARSE, "ours, dense"),
    )


def jax_network() -> Case:
    """A jitted function of `layer` and `readout` against a scan over time."""

    def setup(names: Sequence[str]) -> Contest:
        import jax
        import jax.numpy as jnp

        from ..jax_peers import lax_scan
        from ..tasks import network_task

        network, x, labels = network_task(128)
        hidden, last = (
            {name: jnp.asarray(getattr(part, name)) for name in ("weight", "bias", "beta")}
            for part in (network.layers[0], network.readout)
        )
        train = jnp.asarray(x.to_dense())

        @jax.jit
        def ours(x: Any, hidden: Any, last: Any) -> Any:
            options = {"beta": hidden["beta"], "input_scale": "unit"}
            times = fs.layer(x, hidden["weight"], hidden["bias"], **options).times
            spikes = (times[..., None] == jnp.arange(x.shape[-1])).astype(x.dtype)
            options["beta"] = last["beta"]
            return fs.readout(spikes, last["weight"], last["bias"], **options).logits

        def check(outputs: dict[str, Any]) -> str:
            one, other = outputs.values()
            error = np.abs(one - other).max() / np.abs(other).max()
            assert error < 1e-2, error  # a spike near the threshold may be a step off
            return f"logits to {error:.0e}"

        scan, _ = lax_scan().network(network, x, labels)
        return Contest(
            {
                "JAX lax.scan": Call(scan),
                "jitted": Call(lambda: np.asarray(ours(train, hidden, last))),
            },
            check,
        )

    return Case(
        "jax-network",
        "784-200-10, T = 100, batch 128, dense input, inference in JAX: `layer` and `readout` "
        "under one `jit` against a scan",
        ("JAX lax.scan", "jitted"),
        setup,
        (Bar("jitted", "JAX lax.scan"),),
        ("jitted",),
    )


CASES = (demo_network(), events_layer(), sparse_product(), training_step(), jax_network())
