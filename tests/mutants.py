"""Planted faults of the algorithm's modules, each of which some test must find.

``nox -s mutants`` plants one after the other in a copy of the sources and runs the tests named with
it; arguments choose rows by a word of their file. A fault that no test finds is printed; the exit
status is 1 if fewer than 95 % are found.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
WANTED = 0.95

STEPS = "tests/test_steps.py tests/test_properties.py"
SPIKES = "tests/test_spikes.py tests/test_values.py tests/test_guests.py"
RUNS = "tests/test_engines.py tests/test_forward.py tests/test_chunks.py"
FILES = "tests/test_network.py tests/test_values.py tests/test_hostile_files.py"
DATA = "tests/test_recordings.py tests/test_clock.py tests/test_hostile_files.py"
TORCH = "tests/test_torch.py tests/test_torch_modules.py"
AGAIN = "tests/test_spiking_networks.py tests/test_spiking_states.py"

# (file, what stands there, what is planted, tests)
MUTANTS = [
    ("fastsnn_np/_currents.py", "current += bias[:, None]  # ", "current -= bias[:, None]  # ", STEPS),
    ("fastsnn_np/_currents.py", "current = xp.matmul(weight, x)", "current = xp.matmul(-weight, x)", STEPS),
    ("fastsnn_np/_decay.py", "scale = 1 - beta if", "scale = beta if", STEPS),
    ("fastsnn_np/_decay.py", "_blocks(xp, beta, count, stride * c, None)", "_blocks(xp, beta, count, stride * c + 1, None)", STEPS),
    ("fastsnn_np/_decay.py", "_powers(xp, beta, stride, c + 1)", "_powers(xp, beta, 1, c + 1)", STEPS),
    ("fastsnn_np/_decay.py", "c = -(-steps // count)", "c = steps // count", STEPS),
    ("fastsnn_np/_decay.py", "if count > 1 else None", "if count > 2 else None", STEPS),
    ("fastsnn_np/_decay.py", "ends[..., :-1]", "ends[..., 1:]", STEPS),
    ("fastsnn_np/_decay.py", "lag = step[None, :] - step[:, None]", "lag = step[:, None] - step[None, :]", STEPS),
    ("fastsnn_np/_decay.py", "lag >= 0", "lag > 0", STEPS),
    ("fastsnn_np/_decay.py", "Blocks(toeplitz, powers[..., 1:], count", "Blocks(toeplitz, powers[..., :-1], count", STEPS),
    ("fastsnn_np/_decay.py", "v = v + initial[..., None] * plan.onset", "v = v - initial[..., None] * plan.onset", STEPS),
    ("fastsnn_np/_decay.py", "powers < xp.finfo(beta.dtype).smallest_normal", "powers < xp.finfo(beta.dtype).eps", "tests/test_steps.py tests/test_properties.py tests/test_values.py"),
    ("fastsnn_np/_decay.py", "(2 * steps - 2)", "(steps - 1)", STEPS),
    ("fastsnn_np/_first_spike.py", "crossing = potential > finite(\"threshold\", threshold)\n    count", "crossing = potential >= finite(\"threshold\", threshold)\n    count", STEPS),
    ("fastsnn_np/_first_spike.py", "first_true(xp, potential > threshold)", "first_true(xp, potential >= threshold)", STEPS),
    ("fastsnn_np/_first_spike.py", "crossing & (count == 1)", "crossing & (count <= 2)", STEPS),
    ("fastsnn_np/_first_spike.py", "astype(count == 0", "astype(count <= 1", STEPS),
    ("fastsnn_np/_first_spike.py", "inner = z * (1 - z) + 1", "inner = z * (1 - z) + 2", STEPS),
    ("fastsnn_np/_first_spike.py", "z > 2", "z > 1", STEPS),
    ("fastsnn_np/_layer.py", "xp.max if kind == \"max\"", "xp.max if kind == \"sum\"", STEPS),
    ("fastsnn_np/reference.py", "threshold:  # eq. 3", "threshold - 1:  # eq. 3", "tests/test_reference.py tests/test_steps.py"),
    ("fastsnn_np/agreement.py", "margin <= _bound(potential, dtype, scale)", "margin < 0 * _bound(potential, dtype, scale)", "tests/test_properties.py tests/test_values.py"),
    ("fastsnn_np/agreement.py", "np.arange(steps) <= times", "np.arange(steps) < times", "tests/test_properties.py tests/test_values.py"),
    ("fastsnn_np/_forward/_results.py", "xp.where(before < 0, times", "xp.where(before <= 0, times", RUNS),
    ("fastsnn_np/_forward/_results.py", "wide + offset", "wide", RUNS),
    ("fastsnn_np/_forward/_results.py", "return before + (logits", "return 0 * before + (logits", RUNS),
    ("fastsnn_np/_forward/_results.py", "before >= logits, before, logits", "before >= logits, logits, before", RUNS),
    ("fastsnn_np/_forward/_results.py", "xp.where(wide >= 0, wide", "xp.where(wide > 0, wide", RUNS),
    ("fastsnn_np/_forward/_chain.py", "more[\"to_the_end\"] = self.tracks", "more[\"to_the_end\"] = False", RUNS),
    ("fastsnn_np/_first_spike.py", "astype(times < steps", "astype(times <= steps", RUNS),
    ("fastsnn_np/_forward/_chain.py", "self._state.potentials[i]", "self._state.potentials[0]", RUNS),
    ("fastsnn_np/_forward/_choice.py", "if sparse and obstacle is None:", "if obstacle is None:", RUNS),
    ("fastsnn_np/_forward/_choice.py", "density <= backend.densest_events", "density >= backend.densest_events", RUNS),
    ("fastsnn_np/_forward/_input.py", "samples_of(x, start, start + size)", "samples_of(x, start, start + size - 1)", RUNS),
    ("fastsnn_np/network.py", "bound = math.sqrt(1 / n_in)", "bound = math.sqrt(1 / n_out)", FILES),
    ("fastsnn_np/network.py", "return replace(self, layers", "return replace(self, dt=1.0, layers", FILES),
    ("fastsnn_np/_storage.py", "0o666 & ~umask", "0o600", FILES),
    ("fastsnn_np/_storage.py", "os.fsync(file.fileno())", "pass", FILES),
    ("fastsnn_np/_storage.py", "if version not in range(oldest", "if False and version not in range(oldest", FILES),
    ("fastsnn_np/spikes/_times.py", "self.times <= self.n_steps", "self.times < self.n_steps", SPIKES),
    ("fastsnn_np/spikes/_times.py", "(x != 0) & (x != 1)", "x < 0", SPIKES),
    ("fastsnn_np/spikes/_times.py", "> 1)):", "> 2)):", SPIKES),
    ("fastsnn_np/spikes/_events.py", "moved = np.cumsum(length) - length - starts", "moved = np.cumsum(length) - starts", SPIKES),
    ("fastsnn_np/spikes/_events.py", "rows - start, self.indices", "rows, self.indices", SPIKES),
    ("fastsnn_np/spikes/_numbered.py", "np.argsort(row, kind=\"stable\")", "np.argsort(row, kind=\"heapsort\")", SPIKES),
    ("fastsnn_np/spikes/_numbered.py", "array.max() < bound", "array.max() <= bound", SPIKES),
    ("fastsnn_np/spikes/_checked.py", "rows[1:, 0] != rows[:-1, -1]", "rows[1:, 0] < rows[:-1, -1]", SPIKES),
    ("fastsnn_np/spikes/_checked.py", "rows[:, 1:] < rows[:, :-1]", "rows[:, 1:] < rows[:, :-1] - 1", SPIKES),
    ("fastsnn_np/spikes/_scatter.py", "found == index.shape[0]", "found == index.shape[0] + 1", "tests/test_spikes.py"),
    ("fastsnn_np/datasets/_cache.py", "{status.st_mtime_ns}", "0", DATA),
    ("fastsnn_np/spikes/_clock.py", "(1 - 2**-50)", "(1 + 2**-20)", DATA),
    ("fastsnn_np/spikes/_clock.py", ", 9)  # 1.001 ms", ", 2)  # 1.001 ms", DATA),
    ("fastsnn_np/spikes/_clock.py", "side=\"right\"", "side=\"left\"", DATA),
    ("fastsnn_np/encoding.py", "fires & (step < n_steps)", "fires & (step <= n_steps)", "tests/test_encoding.py"),
    ("backends/event/fused.py", "v = b * v + s * current[row, t]  # eq. 5", "v = b * v + current[row, t]  # eq. 5", STEPS),
    ("fastsnn_np/torch/functional.py", "torch.isfinite(distance), derivative, 0", "distance == distance, derivative, 0", TORCH),
    ("fastsnn_np/torch/functional.py", "step < times[..., None]", "step <= times[..., None]", TORCH),
    ("fastsnn_np/torch/functional.py", ".flip(-1).cumsum(-1).cumsum(-1)", ".flip(-1).cumsum(-1)", TORCH),
    ("fastsnn_np/torch/modules.py", "1 - limits.eps / 2", "1.0", TORCH),
    ("fastsnn_np/_spiking.py", "w + layer.a * u", "w + layer.a * (u + 1)", AGAIN),
    ("fastsnn_np/_spiking.py", "xp.where(fired, layer.b, ", "xp.where(fired, -layer.b, ", AGAIN),
    ("fastsnn_np/_spiking.py", "current * (1 - self.beta)", "current * self.beta", AGAIN),
    ("fastsnn_np/_spiking.py", "permute_dims(layer.recurrent, (1, 0))", "permute_dims(layer.recurrent, (0, 1))", AGAIN),
    ("fastsnn_np/_spiking.py", "u = self.beta * u - r + current", "u = self.beta * (u - r) + current", AGAIN),
    ("fastsnn_np/_spiking.py", "fired & (closed == 0)", "fired & (closed <= 1)", AGAIN),
    ("fastsnn_np/_spiking.py", "potential if self.neuron.reset == \"zero\"", "potential if self.neuron.reset == \"subtract\"", AGAIN),
    ("fastsnn_np/_spiking.py", "level - w if", "level + w if", AGAIN),
    ("fastsnn_np/_spiking.py", "steps - 1) + 1", "steps - 1) + 2", AGAIN),
    ("fastsnn_np/_spiking.py", "(r if self._is_early else r / self.beta)", "r", AGAIN),
    ("fastsnn_np/_spiking.py", "offset >= now.closed", "offset > now.closed", AGAIN),
    ("fastsnn_np/_spiking.py", "(0 if self._is_early else 1)", "(1 if self._is_early else 0)", AGAIN),
    ("fastsnn_np/_spiking.py", "first + (1 - steps) +", "first + (0 - steps) +", AGAIN),
    ("fastsnn_np/_spiking.py", "ahead, now.closed - steps)", "ahead, now.closed - now.closed)", AGAIN),
    ("fastsnn_np/_spiking.py", "and not goes_on else", "else", AGAIN),
    ("fastsnn_np/_delays.py", "longest - delay)", "longest - delay + 1)", "tests/test_delays.py"),
    ("fastsnn_np/_delays.py", "held[..., steps:]", "held[..., : held.shape[-1] - steps]", "tests/test_delays.py"),
    ("fastsnn_np/_delays.py", "step < x.n_steps", "step <= x.n_steps - 2", "tests/test_delays.py"),
    ("fastsnn_np/_delays.py", "xp.where(times < steps", "xp.where(times < steps - 1", "tests/test_delays.py"),
    ("fastsnn_np/_forward/_results.py", "fired & (since == 0)", "fired & (since == 1)", AGAIN),
    ("fastsnn_np/_forward/_results.py", ".refractory) - since", ".refractory) - since - 1", AGAIN),
    ("fastsnn_np/_forward/_results.py", "* readout.gamma**state.step", "* readout.gamma", AGAIN),
    ("fastsnn_np/_forward/_chain.py", "self._steps - 1 - first_true", "self._steps - first_true", AGAIN),
    ("fastsnn_np/_forward/_choice.py", "again.states or again.potentials", "again.potentials", AGAIN),
    ("fastsnn_np/_layer.py", "gamma ** np.arange(potential.shape[-1])", "gamma ** np.arange(1, potential.shape[-1] + 1)", AGAIN),
    ("fastsnn_np/agreement.py", "np.logical_or.accumulate(some, axis=-1)", "some", "tests/test_spiking_kinds.py"),
    ("fastsnn_np/agreement.py", "near.any(axis=-2, keepdims=True) if", "near if", "tests/test_spiking_kinds.py"),
    ("fastsnn_np/reference.py", "closed[i] = refractory if", "closed[i] = refractory + 1 if", "tests/test_reference.py"),
    ("fastsnn_np/_file.py", "part.neuron == Neuron() and part.delay is None", "part.neuron == Neuron()", FILES),
    ("fastsnn_np/spikes/_events.py", "np.cumsum(length) - length - starts", "np.cumsum(length) - starts", SPIKES),
]  # fmt: skip


def main() -> int:
    words = sys.argv[1:]
    chosen = [m for m in MUTANTS if not words or any(word in m[0] for word in words)]
    survived = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        ignored = shutil.ignore_patterns(".git", ".nox", "__pycache__", "results")
        shutil.copytree(ROOT, copy, symlinks=True, ignore=ignored)
        for file, before, after, tests in chosen:
            if not found(copy, file, before, after, tests):
                survived.append(f"{file}: {before!r} -> {after!r}")
                print(f"survived: {survived[-1]}", flush=True)
    score = 1 - len(survived) / len(chosen)
    print(f"{len(chosen) - len(survived)} of {len(chosen)} planted faults found, {score:.1%}")
    return int(score < WANTED)


def found(copy: Path, file: str, before: str, after: str, tests: str) -> bool:
    """Whether a test goes red with the fault in place; the file is put back."""
    path = copy / file
    source = path.read_text()
    if source.count(before) != 1:
        raise SystemExit(f"{file} holds {before!r} {source.count(before)} times: update the list")
    path.write_text(source.replace(before, after))
    names = ("numpy", "numba", "torch")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"),
            *("-p", "no:randomly", *[f"--backend={name}" for name in names], *tests.split()),
        ],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        check=False,
    )
    path.write_text(source)
    if done.returncode not in (0, 1, 2):
        raise SystemExit(f"pytest ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.returncode != 0


if __name__ == "__main__":
    sys.exit(main())
