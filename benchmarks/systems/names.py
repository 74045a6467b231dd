"""Names of contestants and tasks, as the rows have them. Nothing heavy is imported here."""

from __future__ import annotations

# one layer
STANDARD = "standard SNN"  #: speed-ups are relative to it
PUBLISHED = "FastSNN as published"
FFT, BLOCK, EVENT = "dense, fft", "dense, block", "event"
LAYER_CONTESTANTS = (STANDARD, PUBLISHED, FFT, BLOCK, EVENT)
LAYER_OURS = (FFT, BLOCK, EVENT)
NOT_STANDARD = (PUBLISHED, FFT, BLOCK, EVENT)

# the systems that people use
ANCHOR = "ours, event"
SPARSE = "ours, dense on spikes"
LOOP = "lean torch loop"
TASKS = {
    "layer forward": "layer, forward",
    "layer both": "layer, forward + backward",
    "infer 1": "network, inference, batch 1",
    "infer 128": "network, inference, batch 128",
    "train 128": "network, training step, batch 128",
}
PEER_PHASES = {"time": "ms", "peak memory": "MB"}

# one sample at a time
ENGINES = ("event", "dense")
START_PHASES = ("import", "prepare", "first call")

# training runs
BATCH = 128  #: samples in the training step that is timed
MODELS = ("fast", "standard")
TRAINED = {"accuracy": "%", "spikes": "per sample"}
TRAINING_PHASES = {**TRAINED, "step": "ms"}
