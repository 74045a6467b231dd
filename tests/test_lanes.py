"""`Lanes`: every operation against what it means in NumPy, on machines of several kinds."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from fastsnn_np.backends.event import lanes

pytestmark = pytest.mark.backend("numba")
numba = pytest.importorskip("numba")
PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"
DTYPES = (np.float32, np.float64, np.int32)
ZEROS = dict(zip(lanes.WIDTHS, (lanes.zeros64, lanes.zeros32, lanes.zeros16), strict=True))


@numba.njit(error_model="numpy")
def arithmetic(x, y, like, out):
    """One row of `out` for each operation on lanes of any type."""
    a, b = lanes.get(lanes.span(x), 0, like), lanes.get(lanes.span(y), 0, like)
    width, rows = lanes.width_of(like), lanes.span(out)
    lanes.put(rows, 0, a + b)
    lanes.put(rows, width, a - b)
    lanes.put(rows, 2 * width, a * b)
    lanes.put(rows, 3 * width, lanes.where(a > b, a, b))
    lanes.put(rows, 4 * width, lanes.where(a >= b, a, b))
    lanes.put(rows, 5 * width, lanes.where(a < b, a, b))
    lanes.put(rows, 6 * width, lanes.where(a <= b, a, b))
    lanes.put(rows, 7 * width, lanes.where(a == b, a, like))
    lanes.put(rows, 8 * width, lanes.where((a > b) & (a > like), a, b))
    lanes.put(rows, 9 * width, lanes.where((a > b) | (a > like), a, b))
    lanes.put(rows, 10 * width, lanes.full_like(like, 3))
    return lanes.any_of(a > b), lanes.any_of(a == lanes.full_like(like, 77))


@numba.njit(error_model="numpy")
def on_floats(x, y, like, out, doubles):
    a, b = lanes.get(lanes.span(x), 0, like), lanes.get(lanes.span(y), 0, like)
    width, rows = lanes.width_of(like), lanes.span(out)
    lanes.put(rows, 0, a / b)
    lanes.put(rows, width, lanes.absolute(a))
    wide = lanes.as_type_of(a, lanes.zero_doubles(like))
    lanes.put(lanes.span(doubles), 0, wide * wide)
    lanes.put(rows, 2 * width, lanes.as_type_of(wide, like))


@numba.njit
def parts(x, n, like, out, steps):
    """A part of the lanes read and written, at places that are not aligned."""
    row = lanes.span(out)
    lanes.put_part(row, 3, n, lanes.get_part(lanes.span(x), 1, n, like))
    lanes.put(row, 3 + n, lanes.get_part(lanes.span(x), 1, n, like))
    lanes.put(lanes.span(steps), 0, lanes.ramp(like))
    return lanes.span(x)[2]


def expected_arithmetic(a, b):
    zero = np.zeros_like(a)
    return np.array(
        [
            a + b,
            a - b,
            a * b,
            np.where(a > b, a, b),
            np.where(a >= b, a, b),
            np.where(a < b, a, b),
            np.where(a <= b, a, b),
            np.where(a == b, a, zero),
            np.where((a > b) & (a > 0), a, b),
            np.where((a > b) | (a > 0), a, b),
            np.full_like(a, 3),
        ]
    )


def with_lanes(function, width):
    """`function(..., like, ...)` as one that takes a number in place of `like`."""
    zeros = ZEROS[width]

    if function is arithmetic:

        @numba.njit
        def run(x, y, number, out):
            return function(x, y, zeros(number), out)

    elif function is on_floats:

        @numba.njit
        def run(x, y, number, out, doubles):
            return function(x, y, zeros(number), out, doubles)

    else:

        @numba.njit
        def run(x, n, number, out, steps):
            return function(x, n, zeros(number), out, steps)

    return run


@pytest.mark.parametrize("width", lanes.WIDTHS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_operators(width, dtype, rng):
    x, y = (rng.integers(-4, 5, width).astype(dtype) for _ in range(2))
    if dtype is not np.int32:
        x[:3], y[5:7] = [np.nan, np.inf, -np.inf], np.nan
        x[8], y[8] = np.finfo(dtype).smallest_subnormal, 0  # is kept, not flushed
        x[9], y[9] = np.finfo(dtype).smallest_normal, np.finfo(dtype).smallest_normal * 0.75
    out = np.empty((11, width), dtype)
    with np.errstate(all="ignore"):
        some, none = with_lanes(arithmetic, width)(x, y, dtype(0), out)
        np.testing.assert_array_equal(out, expected_arithmetic(x, y))
    assert some and not none


@pytest.mark.parametrize("width", lanes.WIDTHS)
@pytest.mark.parametrize("dtype", DTYPES[:2])
def test_on_floats(width, dtype, rng):
    x, y = rng.standard_normal((2, width)).astype(dtype)
    x[0], x[1], y[1], x[2] = np.nan, -0.0, 0.0, -np.inf
    out, doubles = np.empty((3, width), dtype), np.empty(width)
    with np.errstate(all="ignore"):
        with_lanes(on_floats, width)(x, y, dtype(0), out, doubles)
        np.testing.assert_array_equal(out, [x / y, np.abs(x), x])
        np.testing.assert_array_equal(doubles, x.astype(np.float64) ** 2)


@pytest.mark.parametrize("width", lanes.WIDTHS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_parts(width, dtype):
    """Nothing is read or written outside the part, and what is not read is 0."""
    for n in (0, 1, width - 1, width):
        x = np.arange(1, width + 2).astype(dtype)
        out, steps = np.full(2 * width + 5, -7, dtype), np.empty(width, np.int32)
        third = with_lanes(parts, width)(x, n, dtype(0), out, steps)
        filled = np.concatenate([x[1 : n + 1], np.zeros(width - n, dtype)])
        np.testing.assert_array_equal(out[:3], -7)
        np.testing.assert_array_equal(out[3 : 3 + n], x[1 : n + 1])
        np.testing.assert_array_equal(out[3 + n : 3 + n + width], filled)
        np.testing.assert_array_equal(out[3 + n + width :], -7)
        np.testing.assert_array_equal(steps, np.arange(width))
        assert third == 3


CALLS = ("lanes.get(row, at, like)", "lanes.get_part(row, at, n, like)")


@pytest.mark.parametrize(
    ("call", "at", "n"), [*[(c, at, 16) for c in CALLS for at in (-1, 3)], (CALLS[1], 0, 17)]
)
def test_checked_addresses(call, at, n, tmp_path):
    """Compiled with NUMBA_BOUNDSCHECK=1, lanes that reach out of an array raise IndexError."""
    code = f"""
import numpy as np, numba
from fastsnn_np.backends.event import lanes

@numba.njit
def read(x, at, n, number):
    row, like = lanes.span(x), lanes.zeros16(number)
    lanes.put(lanes.span(np.zeros(16)), 0, {call})

x = np.zeros(18)
read(x, 1, 16, 0.0)
try:
    read(x, {at}, {n}, 0.0)
except IndexError as error:
    print(error)
"""
    out = run(code, NUMBA_BOUNDSCHECK="1", NUMBA_CACHE_DIR=str(tmp_path))
    assert out == "lanes reach out of their span"


MACHINES = {
    "AVX2 only": {
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+avx,+avx2,+fma,+f16c",
    },
    "no AVX": {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "+sse2"},
}


@pytest.mark.skipif(PLAIN, reason="nothing is compiled")
@pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.uname().machine != "x86_64", reason="not x86-64"
)
@pytest.mark.parametrize("machine", MACHINES)
def test_machines(machine):
    """Operators and a layer where vectors are shorter."""
    code = """
import numpy as np
import fastsnn_np as fs
from fastsnn_np import reference
from fastsnn_np.backends.event import layers

rng = np.random.default_rng(0)
x = rng.random((3, 20, 50)) < 0.1
weight = 2 * rng.standard_normal((70, 20))
bias, beta = 0.1 * rng.standard_normal(70), rng.uniform(0.5, 0.99, 70)
rows = layers.rows_of(fs.Events.from_dense(x), np.float64)
out = layers.layer(rows, layers.weights_of(weight, bias, beta, "unit"), threshold=1.0)
expected = reference.layer(x, weight, bias, beta=beta, input_scale="unit")
print((out.times == expected.times).all(), (out.times < 50).any())
"""
    assert run(code, FASTSNN_PARALLEL="0", **MACHINES[machine]) == "True True"


def run(code, **env):
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("zeros", [lanes.zeros64, lanes.zeros32, lanes.zeros16])
def test_the_sum_of_all_lanes(zeros, dtype):
    @numba.njit
    def total(x, zero):
        return lanes.total_of(lanes.get(lanes.span(x), 0, zeros(zero)))

    x = np.random.default_rng(0).normal(size=64).astype(dtype)
    width = {lanes.zeros64: 64, lanes.zeros32: 32, lanes.zeros16: 16}[zeros]
    expected = x[:width].astype(np.float64).sum()
    found = total(x, dtype(0))
    assert abs(found - expected) <= 64 * np.finfo(dtype).eps * np.abs(x).sum()
    x[3] = np.nan
    assert np.isnan(total(x, dtype(0)))


@pytest.mark.parametrize("zeros", [lanes.zeros64, lanes.zeros32, lanes.zeros16])
def test_masks_as_bits(zeros, rng):
    """Bits of a mask, the lowest one first, and the mask again."""

    @numba.njit
    def listed(x, words, places, again, counts, zero):
        like = zeros(zero)
        bits = lanes.bits_of(lanes.get(lanes.span(x), 0, like) > like)
        lanes.span(words)[0] = bits
        mask = lanes.mask_of(lanes.span(words)[0], like)
        lanes.put(lanes.span(again), 0, lanes.where(mask, lanes.full_like(like, 1), like))
        counts[0] = lanes.count_of(bits)
        found = 0
        while bits != 0:
            place = lanes.lowest(bits)
            lanes.span(places)[found] = place
            found += 1
            bits = bits ^ (np.int64(1) << place)
        return found

    width = {lanes.zeros64: 64, lanes.zeros32: 32, lanes.zeros16: 16}[zeros]
    for share in (0, 0.1, 1):
        x = np.where(rng.random(64) < share, 1.0, -1.0)
        words, places, again = np.empty(1, np.int64), np.empty(64, np.int32), np.empty(64)
        counts = np.empty(1, np.int64)
        found = listed(x, words, places, again, counts, 0.0)
        expected = np.flatnonzero(x[:width] > 0)
        np.testing.assert_array_equal(places[:found], expected)
        assert counts[0] == len(expected)
        np.testing.assert_array_equal(again[:width], x[:width] > 0)
        assert int(words[0]) % (1 << 64) == sum(1 << int(place) for place in expected)


def test_the_rest_of_a_span(rng):
    @numba.njit
    def third_of_the_rest(x, at):
        return lanes.rest(lanes.span(x), at)[2]

    x = rng.random(9)
    assert third_of_the_rest(x, 4) == x[6]
