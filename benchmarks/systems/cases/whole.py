"""Cases of whole networks against other systems: training steps and inference."""

from __future__ import annotations

from collections.abc import Sequence

from ...harness.contest import Bar, Contest
from .. import catalogue
from ..names import ANCHOR, LOOP
from .case import Case


def against_peers(task: str, at_least: dict[str, float]) -> Case:
    """Training steps or inference of 784-200-10, T = 100, in several systems."""

    def setup(names: Sequence[str]) -> Contest:
        return catalogue.contest(names, task=task)

    kind, batch = task.split()
    what = "training step, Adam included" if kind == "train" else "inference"
    return Case(
        task.replace(" ", "-"),
        f"784-200-10, T = 100, batch {batch}, first-spike-coded Fashion-MNIST: {what}",
        (ANCHOR, *at_least),
        setup,
        tuple(Bar(ANCHOR, name, ratio) for name, ratio in at_least.items()),
        (ANCHOR,),
        rounds=15 if batch != "1" else 50,
    )


TRAIN = {"JAX lax.scan": 12.0, LOOP: 20.0, "snnTorch Leaky": 30.0}
INFER = dict.fromkeys(TRAIN, 15.0)

CASES = (
    against_peers("train 128", TRAIN),
    against_peers("infer 128", INFER),
    against_peers("infer 1", INFER),
)
