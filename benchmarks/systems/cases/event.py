"""Cases of the event engine: layers against bare products, and how its cost scales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import fastsnn_np as fs
from fastsnn_np import agreement, reference
from fastsnn_np.encoding import random_spike_trains

from ...harness.contest import Bar, Call, Contest
from ..internals import event_layers
from .case import Case


def layer_against_products(
    rate: float, neurons: int, steps: int, bars: tuple[float, float]
) -> Case:
    """One layer from events against the dense products that any other way contains."""

    def setup(names: Sequence[str]) -> Contest:
        events = event_layers()
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
            return events.layer(rows, weights, threshold=1.0)

        def both(keep_current: bool = False) -> Any:
            return events.layer_backward(
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

        def nothing(kept: Any) -> None:
            """Bare products are not compared: they compute less."""

        def check(outputs: dict[str, Any]) -> str:
            judge = reference.layer(
                x[:8].astype(np.float64),
                weight.astype(np.float64),
                beta=beta,
                input_scale="unit",
                return_potential=True,
            )
            times = outputs["events forward"][:8]
            same = agreement.spike_times(times, judge.potential, dtype=np.float32)
            assert same.different == 0, same
            di = both(keep_current=True).current  # (batch, steps, neurons)
            dense = sum(x[b] @ di[b] for b in range(128))
            ours = outputs["events both"]
            assert np.abs(ours - dense).max() <= 1e-4 * np.abs(dense).max()
            density = 100 * rows.indices.size / x.size
            return f"spikes {same}; weight gradient to 1e-4; density {density:.1f} %"

        return Contest(
            {
                "product": Call(lambda: weight @ x, nothing),
                "events forward": Call(forward, lambda kept: kept.times),
                "two products": Call(products, nothing),
                "events both": Call(both, lambda kept: kept.weight),
            },
            check,
        )

    return Case(
        f"layer-{rate:g}hz-{neurons}x{steps}",
        f"N_in = 1000, n = {neurons}, T = {steps}, batch 128, mean rate {rate:g} Hz: the event "
        "engine's layer against NumPy's matrix products alone (forward: one; both: two)",
        ("product", "events forward", "two products", "events both"),
        setup,
        (Bar("events forward", "product", bars[0]), Bar("events both", "two products", bars[1])),
        ("events forward", "events both"),
        rounds=7,
    )


def scaling() -> Case:
    """Doubling the events, the steps, the neurons or the batch."""

    def setup(names: Sequence[str]) -> Contest:
        def run(batch: int = 64, neurons: int = 200, steps: int = 256, rate: float = 20) -> Call:
            trains = random_spike_trains(batch, 500, steps, rate=(rate, rate), seed=0)
            events = fs.Events.from_dense(trains)
            network = fs.Network.random([500, neurons, 10], seed=0)
            prepared = fs.prepare(network, return_state=True)  # to the end, whatever fires
            return Call(lambda: prepared(events).logits)

        # the rate is halved with twice the steps: as many events, twice the steps
        changed: dict[str, dict[str, Any]] = {
            "base": {},
            "2 x events": {"rate": 40},
            "2 x steps": {"steps": 512, "rate": 10},
            "2 x neurons": {"neurons": 400},
            "2 x batch": {"batch": 128},
        }
        calls = {name: run(**changed[name]) for name in names}

        def check(outputs: dict[str, Any]) -> str:
            assert all(np.isfinite(logits).all() for logits in outputs.values())
            return "different work by intention; all finite"

        return Contest(calls, check)

    doubled = tuple(f"2 x {what}" for what in ("events", "steps", "neurons", "batch"))
    return Case(
        "scaling",
        "500-200-10 from events, T = 256, batch 64, 20 Hz, forward: doubling one thing at a time",
        ("base", *doubled),
        setup,
        tuple(Bar(name, "base", 1 / 2.1) for name in doubled),
        ("base", *doubled),
    )


def silence() -> Case:
    """A long silence after the input, against the same input spread over all steps."""

    def setup(names: Sequence[str]) -> Contest:
        rng = np.random.default_rng(0)
        count, steps = 20_000, 20_000

        def run(last: int) -> Call:
            events = fs.Events.from_arrays(
                rng.integers(0, last, count),
                rng.integers(0, 500, count),
                n_neurons=500,
                n_steps=steps,
            )
            network = fs.Network.random([500, 200, 10], seed=0)
            prepared = fs.prepare(network, return_state=True)
            return Call(lambda: prepared(events).logits)

        calls = {"spread evenly": run(steps), "then silence": run(100)}

        def check(outputs: dict[str, Any]) -> str:
            assert all(np.isfinite(logits).all() for logits in outputs.values())
            return "different work by intention; all finite"

        return Contest(calls, check)

    names = ("spread evenly", "then silence")
    bar = Bar("then silence", "spread evenly", 1 / 1.2)
    about = "500-200-10, T = 20,000, 20,000 events: all in the first 100 steps, or spread evenly"
    return Case("silence", about, names, setup, (bar,), names)


CASES = (
    layer_against_products(100, 200, 128, (2.0, 1.5)),
    layer_against_products(10, 200, 128, (12.0, 8.0)),
    layer_against_products(100, 1000, 256, (2.0, 1.5)),
    layer_against_products(10, 1000, 256, (12.0, 8.0)),
    scaling(),
    silence(),
)
