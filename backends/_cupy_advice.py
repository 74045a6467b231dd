"""What to do about CuPy's known failures, by what they say."""

from __future__ import annotations

import re

_EXTRA = (
    "pip install 'fastsnn-np[cupy]' (CUDA 12) or 'fastsnn-np[cupy13]' (CUDA 13), of torch's CUDA "
    "if that is installed"
)
#: (what the error says, what to do); the first that fits
KNOWN = (
    (r"No module named 'cupy|import of cupy halted", _EXTRA),
    (r"No module named 'cuda'", "pip install cuda-pathfinder, which CuPy needs"),
    (
        r"cudaErrorInsufficientDriver|driver version is insufficient",
        "install NVIDIA's driver, or a newer one: CUDA 12 needs 525 or newer, CUDA 13 needs 580; "
        "nvidia-smi shows yours",
    ),
    (
        r"cudaErrorNoDevice|no CUDA-capable device",
        "the driver sees no GPU: look at nvidia-smi and at CUDA_VISIBLE_DEVICES",
    ),
    (
        r"has loaded NVRTC|libcublas\.so\.1\d: cannot open",
        "CUDA libraries of two majors are mixed: uninstall one of cupy-cuda12x and cupy-cuda13x, "
        f"then {_EXTRA}",
    ),
    (
        r"nvrtc|cublas|cudart|libcu\w+\.so",
        f"a library of CUDA is missing, which cupy-cuda12x alone does not bring: {_EXTRA}",
    ),
    (
        r"Out of memory|cudaErrorMemoryAllocation",
        "other programs may hold the GPU's memory (nvidia-smi); or use a smaller batch_size",
    ),
)


def advice(error: BaseException) -> str | None:
    """What to do about an error of CuPy or CUDA, or None if it is not a known one."""
    said = f"{type(error).__name__}: {error}"
    found = (what for pattern, what in KNOWN if re.search(pattern, said, re.IGNORECASE))
    return next(found, None)
