"""``python -m benchmarks.systems.first_call SEED BACKEND``: what a fresh process waits for.

`fastsnn_np` must not be imported before the clock starts, so that it is not imported above.
"""

from __future__ import annotations

import json
import sys
import time


def main(seed: int, backend: str) -> None:
    """Print ms of import, preparation and first call, and the predicted class, as JSON."""
    start = time.perf_counter()
    import fastsnn_np  # noqa: F401

    imported = time.perf_counter()
    from .single import calls, class_of, network_and_image

    network, image = network_and_image(seed)
    before = time.perf_counter()
    call = calls(network, image, backend)["raw image"]
    ready = time.perf_counter()
    prediction = call()
    end = time.perf_counter()
    found = {
        "import": 1e3 * (imported - start),
        "prepare": 1e3 * (ready - before),
        "first call": 1e3 * (end - ready),
        "class": class_of(prediction),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
