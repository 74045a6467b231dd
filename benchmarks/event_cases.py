"""The event engine's cases: whole networks against peers, layers against bare products, scaling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import fastsnn_np as fs
from fastsnn_np import agreement, reference
from fastsnn_np.datasets import fashion_mnist, fashion_mnist_sample
from fastsnn_np.encoding import latency, random_spike_trains

from . import memory, peers
from .runner import Bar, Case, Duel
from .timers import wall_clock


def against_peers(task: str, at_least: dict[str, float]) -> Case:
    """Training steps or inference of 784-200-10, T = 100, in several systems."""

    def setup() -> Duel:
        systems = {name: peers.system(name) for name in (peers.ANCHOR, *at_least)}
        judge = peers.Judge()

        def check(outputs: dict[str, Any]) -> str:
            remarks = {
                name: judge.check(task, peers.output_of(systems[name], task, kept))
                for name, kept in outputs.items()
            }
            return "; ".join(f"{name}: {remark}" for name, remark in remarks.items())

        return Duel({n: peers.call_of(made, task) for n, made in systems.items()}, check)

    kind, batch = task.split()
    what = "training step, Adam included" if kind == "train" else "inference"
    return Case(
        task.replace(" ", "-"),
        f"784-200-10, T = 100, batch {batch}, first-spike-coded Fashion-MNIST: {what}",
        setup,
        tuple(Bar(peers.ANCHOR, name, ratio) for name, ratio in at_least.items()),
        rounds=15 if batch != "1" else 50,
    )


def layer_against_products(
    rate: float, neurons: int, steps: int, bars: tuple[float, float]
) -> Case:
    """One layer from events against the dense products that any other way contains."""

    def setup() -> Duel:
        from fastsnn_np.backends import events

        trains = random_spike_trains(128, 1000, steps, rate=(0, 2 * rate), seed=0)
        x = trains.astype(np.float32)
        rng = np.random.default_rng(1)
        weight = (0.05 * rng.standard_normal((neurons, 1000))).astype(np.float32)
        beta = np.float32(fs.beta_from_tau(10.0))
        weights = events.weights_of(np.asfortranarray(weight), None, beta, "unit")
        rows = events.rows_of(fs.Events.from_dense(trains), np.float32)
        above = rng.standard_normal((128, steps, 1)).astype(np.float32)
        above_weight = np.ones((1, neurons), np.float32)
        current = rng.standard_normal((128, neurons, steps)).astype(np.float32)

        def forward() -> Any:
            return events.hidden(rows, weights, threshold=1.0)

        def both(keep_current: bool = False) -> Any:
            return events.hidden_backward(
                rows,
                weights,
                forward(),
                above,
                above_weight,
                threshold=1.0,
                slope=100.0,
                paper=False,
                keep_current=keep_current,
            )

        def products() -> Any:
            out = weight @ x
            gradient, one = np.zeros_like(weight), np.empty_like(weight)
            for b in range(128):
                np.matmul(current[b], x[b].T, out=one)
                gradient += one
            return out, gradient

        def check(outputs: dict[str, Any]) -> str:
            judge = reference.layer(
                x[:8].astype(np.float64),
                weight.astype(np.float64),
                beta=beta,
                input_scale="unit",
                return_potential=True,
            )
            times = outputs["events forward"].times[:8]
            same = agreement.spike_times(times, judge.potential, dtype=np.float32)
            assert same.different == 0, same
            di = both(keep_current=True).current  # (batch, steps, neurons)
            dense = sum(x[b] @ di[b] for b in range(128))
            ours = outputs["events both"].weight
            assert np.abs(ours - dense).max() <= 1e-4 * np.abs(dense).max()
            density = 100 * rows.indices.size / x.size
            return f"spikes {same}; weight gradient to 1e-4; density {density:.1f} %"

        return Duel(
            {
                "product": lambda: weight @ x,
                "events forward": forward,
                "two products": products,
                "events both": both,
            },
            check,
        )

    return Case(
        f"layer-{rate:g}hz-{neurons}x{steps}",
        f"N_in = 1000, n = {neurons}, T = {steps}, batch 128, mean rate {rate:g} Hz: the event "
        "engine's layer against NumPy's matrix products alone (forward: one; both: two)",
        setup,
        (Bar("events forward", "product", bars[0]), Bar("events both", "two products", bars[1])),
        rounds=7,
    )


def scaling() -> Case:
    """Doubling the events, the steps, the neurons or the batch."""

    def setup() -> Duel:
        def run(batch: int = 64, neurons: int = 200, steps: int = 256, rate: float = 20) -> Any:
            trains = random_spike_trains(batch, 500, steps, rate=(rate, rate), seed=0)
            events = fs.Events.from_dense(trains)
            network = fs.Network.random([500, neurons, 10], seed=0)
            prepared = fs.prepare(network, return_state=True)  # to the end, whatever fires
            return lambda: prepared(events).logits

        # the rate is halved with twice the steps: as many events, twice the steps
        calls = {
            "base": run(),
            "2 x events": run(rate=40),
            "2 x steps": run(steps=512, rate=10),
            "2 x neurons": run(neurons=400),
            "2 x batch": run(batch=128),
        }

        def check(outputs: dict[str, Any]) -> str:
            assert all(np.isfinite(logits).all() for logits in outputs.values())
            return "different work by intention; all finite"

        return Duel(calls, check)

    return Case(
        "scaling",
        "500-200-10 from events, T = 256, batch 64, 20 Hz, forward: doubling one thing at a time",
        setup,
        tuple(Bar(f"2 x {k}", "base", 1 / 2.1) for k in ("events", "steps", "neurons", "batch")),
    )


def silence() -> Case:
    """A long silence after the input, against the same input spread over all steps."""

    def setup() -> Duel:
        rng = np.random.default_rng(0)
        count, steps = 20_000, 20_000

        def run(last: int) -> Callable[[], Any]:
            events = fs.Events.from_arrays(
                rng.integers(0, last, count),
                rng.integers(0, 500, count),
                n_neurons=500,
                n_steps=steps,
            )
            network = fs.Network.random([500, 200, 10], seed=0)
            prepared = fs.prepare(network, return_state=True)
            return lambda: prepared(events).logits

        calls = {"spread evenly": run(steps), "then silence": run(100)}

        def check(outputs: dict[str, Any]) -> str:
            assert all(np.isfinite(logits).all() for logits in outputs.values())
            return "different work by intention; all finite"

        return Duel(calls, check)

    bar = (Bar("then silence", "spread evenly", 1 / 1.2),)
    about = "500-200-10, T = 20,000, 20,000 events: all in the first 100 steps, or spread evenly"
    return Case("silence", about, setup, bar)


def epoch() -> Case:
    """One epoch of all 60,000 training images; needs the data set, see `fashion_mnist`."""

    def setup() -> Duel:
        import torch

        from fastsnn_np.torch import FastSNN, fit

        images, labels = fashion_mnist("train")
        encoded = latency(images)
        x = fs.SpikeTimes(torch.from_numpy(encoded.times), encoded.n_steps)
        accuracies: list[float] = []

        def run() -> float:
            torch.manual_seed(0)
            history = fit(FastSNN(peers.SIZES), x, labels, epochs=1, batch_size=128)
            accuracies.append(history[0]["accuracy"])
            return accuracies[-1]

        def check(outputs: dict[str, Any]) -> str:
            assert outputs["one epoch"] > 0.6, "training does not learn"
            return f"training accuracy within the epoch {outputs['one epoch']:.1%}"

        return Duel({"one epoch": run}, check)

    return Case(
        "epoch",
        "784-200-10 on all 60,000 images of Fashion-MNIST, 469 steps of batch 128, event engine, "
        "everything included but reading and encoding the images (target: under 4 s)",
        setup,
        rounds=3,
    )


def training_engine() -> Case:
    """What `fit` adds to a training step, next to a bare loop that computes the same.

    It adds the same whatever the batch, and a small one does not hide it in noise.
    """

    def setup() -> Duel:
        import torch

        from fastsnn_np.torch import FastSNN, fit
        from fastsnn_np.torch.data import Batches

        images, labels = fashion_mnist_sample("train")
        encoded, batch_size, epochs = latency(images), 8, 3
        x = fs.SpikeTimes(torch.from_numpy(encoded.times), encoded.n_steps)
        targets = torch.from_numpy(labels.astype(np.int64))
        steps = epochs * len(labels) // batch_size
        options: dict[str, Any] = {"epochs": epochs, "batch_size": batch_size}
        taken: dict[str, float] = {}
        trained: dict[str, Any] = {}

        def timed(name: str, train: Callable[[Any], Any]) -> float:
            torch.manual_seed(0)
            trained[name] = FastSNN(peers.SIZES)
            taken[name] = wall_clock(lambda: train(trained[name]))[0] / steps
            return taken[name]

        def loop(model: Any) -> None:
            optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
            batches = Batches(x, targets, batch_size=batch_size, shuffle=True)
            for batches.epoch in range(epochs):
                for batch in batches:
                    loss = torch.nn.functional.cross_entropy(model(batch.x), batch.labels)
                    optimiser.zero_grad()
                    loss.backward()
                    optimiser.step()

        def check(outputs: dict[str, Any]) -> str:
            weights = [list(model.parameters()) for model in trained.values()]
            assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))
            return "the same weights to the bit"

        return Duel(
            {
                "bare loop": lambda: timed("loop", loop),
                "fit": lambda: timed("fit", lambda model: fit(model, x, labels, **options)),
                "fit's own": lambda: taken["fit"] - taken["loop"],
                "one millisecond": lambda: 1.0,
            },
            check,
        )

    return Case(
        "training-engine",
        "784-200-10, 3 epochs of 250 steps of batch 8: `fit` (Lightning), its start included, "
        "next to a bare loop over the same batches, ms a step",
        setup,
        (Bar("fit's own", "one millisecond", 1.0),),
        rounds=7,
        unit="ms a step",
    )


TRAIN = {"JAX lax.scan": 12.0, "lean torch loop": 20.0, "snnTorch Leaky": 30.0}
INFER = dict.fromkeys(TRAIN, 15.0)

CASES = (
    against_peers("train 128", TRAIN),
    against_peers("infer 128", INFER),
    against_peers("infer 1", INFER),
    layer_against_products(100, 200, 128, (2.0, 1.5)),
    layer_against_products(10, 200, 128, (12.0, 8.0)),
    layer_against_products(100, 1000, 256, (2.0, 1.5)),
    layer_against_products(10, 1000, 256, (12.0, 8.0)),
    scaling(),
    silence(),
    epoch(),
    training_engine(),
    *memory.CASES,
)
