"""The main job on data that the package ships: train, save, run everywhere, compare, draw."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from . import agreement, backends, plot, reference
from ._engine import EngineName
from ._forward import Result, forward
from ._namespace import to_numpy
from ._storage import replacing
from .datasets import FASHION_MNIST_CLASSES, fashion_mnist_sample
from .encoding import latency
from .network import Network
from .spikes import SpikeTimes

SIZES = (784, 200, 10)
_REPEATS = 3
_ASKED: tuple[EngineName, ...] = ("auto", "dense")


def demo(out: Path, *, epochs: int = 20, seed: int = 0) -> None:
    """Train 784-200-10 on 2,000 real images and show what it does; files go to the folder `out`."""
    train_x, train_y = fashion_mnist_sample("train")
    test_x, test_y = fashion_mnist_sample("test")
    train_x, test_x = latency(train_x), latency(test_x)
    out.mkdir(parents=True, exist_ok=True)

    print(f"Training {'-'.join(map(str, SIZES))} on {len(train_x)} images of Fashion-MNIST,")
    print(f"first-spike coded in {train_x.n_steps} steps of 1 ms, for {epochs} epochs:")
    network, history = _train(train_x, train_y, test_x, test_y, epochs, seed)
    path = out / "network.safetensors"
    network.save(path)

    print(f"\nforward(x, {str(path)!r}, backend=...) on {len(test_x)} test images:")
    _print_table(path, test_x, test_y)

    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        print(f"\nWrote {path}; no figures ({error}): pip install 'fastsnn-np[plot]'")
        return
    right = np.flatnonzero(forward(test_x, path).prediction == test_y)
    shown = int(right[0]) if len(right) else 0
    curve = [{**record, "validation_accuracy": record["test_accuracy"]} for record in history]
    figures = {
        "activity.png": plot.activity(
            test_x[shown : shown + 1],
            network,
            int(test_y[shown]),
            classes=FASHION_MNIST_CLASSES,
        ),
        "training.png": plot.training_curve(curve, "test"),
    }
    for name, figure in figures.items():
        with replacing(out / name) as temporary:
            figure.savefig(temporary, dpi=150, format="png")
    print(f"\nWrote {', '.join(str(out / name) for name in ('network.safetensors', *figures))}")


def _train(
    train_x: SpikeTimes, train_y: Any, test_x: SpikeTimes, test_y: Any, epochs: int, seed: int
) -> tuple[Network, list[dict[str, float]]]:
    import torch

    from .torch import FastSNN, fit

    torch.manual_seed(seed)
    model = FastSNN(SIZES)
    history = fit(
        model,
        train_x,
        train_y,
        epochs=epochs,
        validation=(test_x, test_y),
        evaluated_on="test",
        seed=seed,
        progress=True,
    )
    return model.to_network(), history


def _print_table(path: Path, x: SpikeTimes, labels: Any) -> None:
    row = "  {:<8} {:<20} {:<12} {:>8} {:>13} {:>28} {:>9}"
    names = ("backend", "device", "engine", "accuracy", "spikes/image", "same as the reference")
    print(row.format(*names, "time"))
    network = Network.load(path)
    layer = network.layers[0]
    judge = reference.layer(
        x.to_dense(np.float64),
        layer.weight.astype(np.float64),
        layer.bias,
        beta=layer.beta,
        input_scale=layer.input_scale,
        return_potential=True,
    )
    failed = []
    for name in backends.CAPABILITIES:
        status = backends.status(name)
        if status.error is not None:
            print(f"  {name:<8} not usable: {status.error}")
            continue
        for device in status.devices:
            choice = device.split()[0]
            seen = set()
            for asked in _ASKED:
                result, seconds = _timed(x, path, name, choice, asked)
                if result.engine in seen:
                    continue
                seen.add(result.engine)
                times = to_numpy(result.spike_times[0])
                same = agreement.spike_times(times, judge.potential, dtype=network.dtype)
                accuracy = (to_numpy(result.prediction) == labels).mean()
                spikes = to_numpy(result.spike_counts[0]).mean()
                print(
                    row.format(
                        name,
                        device,
                        result.engine,
                        f"{accuracy:.1%}",
                        f"{spikes:.1f}",
                        str(same),
                        f"{1e3 * seconds:.0f} ms",
                    )
                )
                if not same.ok:
                    failed.append(f"{name} on {device}, {result.engine}")
    print("  Each hidden neuron fires at most once; an image is 784 pixels, the layer 200 neurons.")
    print("  Left out: neurons so close to the threshold that rounding decides.")
    if failed:
        raise RuntimeError(f"these disagree with the reference: {', '.join(failed)}")


def _timed(
    x: SpikeTimes, path: Path, backend: str, device: str, engine: EngineName
) -> tuple[Result, float]:
    """The result and the median time of a whole call, from NumPy spike times to predictions."""
    seconds = []
    for _ in range(1 + _REPEATS):  # the first warms up
        start = time.perf_counter()
        result = forward(x, path, backend=backend, device=device, engine=engine)
        to_numpy(result.prediction)  # waits for a GPU
        seconds.append(time.perf_counter() - start)
    return result, statistics.median(seconds[1:])
