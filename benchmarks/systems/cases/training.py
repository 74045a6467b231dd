"""Cases of training: an epoch of real images, and what `fit` adds to a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import fastsnn_np as fs
from fastsnn_np.datasets import fashion_mnist, fashion_mnist_sample
from fastsnn_np.encoding import latency

from ...harness.contest import Bar, Call, Contest, Figure
from ...harness.timers import wall_clock
from ..internals import batches
from ..tasks import SIZES
from .case import Case


def epoch() -> Case:
    """One epoch of all 60,000 training images; needs the data set, see `fashion_mnist`."""

    def setup(names: Sequence[str]) -> Contest:
        import torch

        from fastsnn_np.torch import FastSNN, fit

        images, labels = fashion_mnist("train")
        encoded = latency(images)
        x = fs.SpikeTimes(torch.from_numpy(encoded.times), encoded.n_steps)
        accuracies: list[float] = []

        def run() -> float:
            torch.manual_seed(0)
            history = fit(FastSNN(SIZES), x, labels, epochs=1, batch_size=128)
            accuracies.append(history[0]["accuracy"])
            return accuracies[-1]

        def check(outputs: dict[str, Any]) -> str:
            assert outputs["one epoch"] > 0.6, "training does not learn"
            return f"training accuracy within the epoch {outputs['one epoch']:.1%}"

        return Contest({"one epoch": Call(run)}, check)

    return Case(
        "epoch",
        "784-200-10 on all 60,000 images of Fashion-MNIST, 469 steps of batch 128, event engine, "
        "everything included but reading and encoding the images (target: under 4 s)",
        ("one epoch",),
        setup,
        ours=("one epoch",),
        rounds=3,
    )


def training_engine() -> Case:
    """What `fit` adds to a training step, next to a bare loop that computes the same.

    It adds the same whatever the batch, and a small one does not hide it in noise.
    """

    def setup(names: Sequence[str]) -> Contest:
        import torch

        from fastsnn_np.torch import FastSNN, fit

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
            trained[name] = FastSNN(SIZES)
            taken[name] = wall_clock(lambda: train(trained[name]))[0] / steps
            return taken[name]

        def loop(model: Any) -> None:
            optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
            shuffled = batches(x, targets, batch_size)
            for shuffled.epoch in range(epochs):
                for batch in shuffled:
                    loss = torch.nn.functional.cross_entropy(model(batch.x), batch.labels)
                    optimiser.zero_grad()
                    loss.backward()
                    optimiser.step()

        def weights(name: str) -> Callable[[Any], Any]:
            return lambda kept: [p.detach().numpy() for p in trained[name].parameters()]

        def check(outputs: dict[str, Any]) -> str:
            pairs = zip(outputs["bare loop"], outputs["fit"], strict=True)
            assert all(np.array_equal(a, b) for a, b in pairs), "the weights differ"
            return "the same weights to the bit"

        def fit_all(model: Any) -> None:
            fit(model, x, labels, **options)

        return Contest(
            {
                "bare loop": Figure(lambda: timed("loop", loop), weights("loop")),
                "fit": Figure(lambda: timed("fit", fit_all), weights("fit")),
                "fit's own": Figure(lambda: taken["fit"] - taken["loop"]),
                "one millisecond": Figure(lambda: 1.0),
            },
            check,
        )

    ours = ("bare loop", "fit", "fit's own")

    return Case(
        "training-engine",
        "784-200-10, 3 epochs of 250 steps of batch 8: `fit` (Lightning), its start included, "
        "next to a bare loop over the same batches, ms a step",
        (*ours, "one millisecond"),
        setup,
        (Bar("fit's own", "one millisecond", 1.0),),
        ours,
        rounds=7,
        unit="ms a step",
    )


CASES = (epoch(), training_engine())
