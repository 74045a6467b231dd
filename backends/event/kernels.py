"""The event engine's kernels: forward and backward, work in proportion to the events.

One item of work is a tile of neurons and one sample, or a share of the samples: the tile's weights
stay in cache while the events stream by. Weights lie transposed, (inputs, neurons), so that an
event adds one contiguous row. Events are rows of `indptr` into `indices`, see `fastsnn_np.Events`;
the row pointers of one sample need not touch those of the next.

Kernels and their helpers share a file because Numba's cache does not see a change in another one.
"""

from __future__ import annotations

import numba
import numpy as np

from fastsnn_np._jit import Kernel, helper

# One flat scratch array holds all vectors of a tile, WIDEST apart. Distances that are constants let
# LLVM prove the vectors disjoint and vectorise loops over many of them at once.
WIDEST = 512  # neurons per tile, at most
ACC, V, BIAS, BETA, SCALE = 0, WIDEST, 2 * WIDEST, 3 * WIDEST, 4 * WIDEST
ONCE, R, Q, DBIAS, DBETA = 5 * WIDEST, 6 * WIDEST, 7 * WIDEST, 8 * WIDEST, 9 * WIDEST
SCRATCH = 10 * WIDEST
GROUP = 4  # samples whose dL/dI is held, so that each row of dW is fetched once for all of them


@helper
def own_part(s, first, n, bias, beta, scale):
    """The tile's own bias, beta and scale, and zero sums, in its scratch array."""
    for i in range(n):
        s[BIAS + i] = bias[first + i]
        s[BETA + i] = beta[first + i]
        s[SCALE + i] = scale[first + i]
        s[DBIAS + i] = 0
        s[DBETA + i] = 0


@helper
def drive(b, t, rows, weight, first, n, s):
    """acc = bias + the weight rows of the events of a step, eight to a pass over acc (eq. 4)."""
    indptr, indices, values = rows
    e, end = indptr[b, t], indptr[b, t + 1]
    if e == end:
        return  # `leak` takes the bias then
    last = first + n
    for i in range(n):
        s[ACC + i] = s[BIAS + i]
    if values.shape[0]:
        while e < end:
            row, size = weight[indices[e], first:last], values[e]
            for i in range(n):
                s[ACC + i] += size * row[i]
            e += 1
    while e + 8 <= end:
        r0, r1 = weight[indices[e], first:last], weight[indices[e + 1], first:last]
        r2, r3 = weight[indices[e + 2], first:last], weight[indices[e + 3], first:last]
        r4, r5 = weight[indices[e + 4], first:last], weight[indices[e + 5], first:last]
        r6, r7 = weight[indices[e + 6], first:last], weight[indices[e + 7], first:last]
        for i in range(n):
            near = (r0[i] + r1[i]) + (r2[i] + r3[i])
            s[ACC + i] += near + ((r4[i] + r5[i]) + (r6[i] + r7[i]))
        e += 8
    while e + 2 <= end:
        r0, r1 = weight[indices[e], first:last], weight[indices[e + 1], first:last]
        for i in range(n):
            s[ACC + i] += r0[i] + r1[i]
        e += 2
    if e < end:
        r0 = weight[indices[e], first:last]
        for i in range(n):
            s[ACC + i] += r0[i]


@helper
def leak(n, s, tiny, from_bias):
    """V = beta V + scale I (eq. 5); what decays into denormal numbers, which are slow, is 0."""
    if from_bias:  # a step without events
        for i in range(n):
            x = s[BETA + i] * s[V + i] + s[SCALE + i] * s[BIAS + i]
            s[V + i] = x if abs(x) >= tiny else x - x
    else:
        for i in range(n):
            x = s[BETA + i] * s[V + i] + s[SCALE + i] * s[ACC + i]
            s[V + i] = x if abs(x) >= tiny else x - x


@helper
def replay(b, rows, weight, initial, tiny, first, n, s, v):
    """The potential of one tile of one sample: v[t + 1] at step t, v[0] before the first."""
    indptr = rows[0]
    for i in range(n):
        s[V + i] = v[0, i] = initial[b, first + i]
    for t in range(v.shape[0] - 1):
        drive(b, t, rows, weight, first, n, s)
        leak(n, s, tiny, indptr[b, t] == indptr[b, t + 1])
        for i in range(n):
            v[t + 1, i] = s[V + i]


@helper
def collect(steps, rows, first, n, s):
    """acc = sum over m of steps[m] * rows[m], five to a pass over acc: dL/dS, from above."""
    last, size = first + n, steps.shape[0]
    for i in range(n):
        s[ACC + i] = 0
    m = 0
    while m + 5 <= size:
        d0, d1, d2, d3, d4 = steps[m], steps[m + 1], steps[m + 2], steps[m + 3], steps[m + 4]
        r0, r1 = rows[m, first:last], rows[m + 1, first:last]
        r2, r3, r4 = rows[m + 2, first:last], rows[m + 3, first:last], rows[m + 4, first:last]
        for i in range(n):
            s[ACC + i] += (d0 * r0[i] + d1 * r1[i]) + (d2 * r2[i] + d3 * r3[i]) + d4 * r4[i]
        m += 5
    while m < size:
        d0, r0 = steps[m], rows[m, first:last]
        for i in range(n):
            s[ACC + i] += d0 * r0[i]
        m += 1


@helper
def accumulate(start, stop, order, di, gradient, first, n):
    """dW[input, tile] += the sum of dL/dI over the input's events in samples start ... stop - 1.

    A row of dW, which is far away, is fetched once for all these samples.
    """
    by_input, steps, sizes = order
    for j in range(by_input.shape[1] - 1):
        row = gradient[j, first : first + n]
        for b in range(start, stop):
            e, end = by_input[b, j], by_input[b, j + 1]
            if e == end:
                continue
            d = di[b - start]
            if sizes.shape[0]:
                while e < end:
                    d0, size = d[steps[e]], sizes[e]
                    for i in range(n):
                        row[i] += size * d0[i]
                    e += 1
            while e + 8 <= end:
                d0, d1, d2, d3 = d[steps[e]], d[steps[e + 1]], d[steps[e + 2]], d[steps[e + 3]]
                d4, d5, d6, d7 = d[steps[e + 4]], d[steps[e + 5]], d[steps[e + 6]], d[steps[e + 7]]
                for i in range(n):
                    near = (d0[i] + d1[i]) + (d2[i] + d3[i])
                    row[i] += near + ((d4[i] + d5[i]) + (d6[i] + d7[i]))
                e += 8
            while e + 2 <= end:
                d0, d1 = d[steps[e]], d[steps[e + 1]]
                for i in range(n):
                    row[i] += d0[i] + d1[i]
                e += 2
            if e < end:
                d0 = d[steps[e]]
                for i in range(n):
                    row[i] += d0[i]


@Kernel
def layer(rows, weights, initial, tiny, width, threshold, to_the_end, times, final, potential):
    """First spike times; a sample whose neurons have all fired stops, unless `to_the_end`."""
    indptr = rows[0]
    weight, bias, beta, scale = weights
    batch, steps = indptr.shape[0], indptr.shape[1] - 1
    neurons = weight.shape[1]
    tiles = (neurons + width - 1) // width
    for item in numba.prange(tiles * batch):
        b, first = item % batch, item // batch * width
        n = min(width, neurons - first)
        s = np.empty(SCRATCH, weight.dtype)
        own_part(s, first, n, bias, beta, scale)
        never = np.int32(steps)
        fired = np.full(n, never)
        for i in range(n):
            s[V + i] = initial[b, first + i]
        for t in range(steps):
            drive(b, t, rows, weight, first, n, s)
            leak(n, s, tiny, indptr[b, t] == indptr[b, t + 1])
            for i in range(n):
                crossing = np.int32(t) if s[V + i] > threshold else never  # eq. 3
                fired[i] = min(fired[i], crossing)  # eq. 6
            if potential.shape[0]:
                potential[b, t, first : first + n] = s[V : V + n]
            if not to_the_end and t % 8 == 7 and fired.max() < steps:
                break
        times[b, first : first + n] = fired
        final[b, first : first + n] = s[V : V + n]


@Kernel
def readout(rows, weights, initial, tiny, width, summed, logits, where, final, potential):
    """Sum or maximum of V over time, and the first step of the maximum."""
    indptr = rows[0]
    weight, bias, beta, scale = weights
    batch, steps = indptr.shape[0], indptr.shape[1] - 1
    classes = weight.shape[1]
    tiles = (classes + width - 1) // width
    for item in numba.prange(tiles * batch):
        b, first = item % batch, item // batch * width
        n = min(width, classes - first)
        s = np.empty(SCRATCH, weight.dtype)
        own_part(s, first, n, bias, beta, scale)
        for i in range(n):
            s[V + i] = initial[b, first + i]
            logits[b, first + i] = 0
        for t in range(steps):
            drive(b, t, rows, weight, first, n, s)
            leak(n, s, tiny, indptr[b, t] == indptr[b, t + 1])
            for i in range(n):
                c = first + i
                if summed:
                    logits[b, c] += s[V + i]
                elif t == 0 or not s[V + i] <= logits[b, c]:  # so that a NaN stays, and is found
                    logits[b, c] = s[V + i]
                    where[b, c] = t
            if potential.shape[0]:
                potential[b, t, first : first + n] = s[V : V + n]
        final[b, first : first + n] = s[V : V + n]


@Kernel
def readout_backward(rows, order, weights, initial, tiny, width, unit, logits, gradients):
    """From dL/dlogits to dL/dI at every step and the readout's own gradients."""
    indptr = rows[0]
    weight, bias, beta, scale = weights
    summed, where, dlogits = logits
    dweight, dbias, dbeta, dcurrent = gradients
    batch, steps = indptr.shape[0], indptr.shape[1] - 1
    classes, shares = weight.shape[1], dweight.shape[0]
    tiles = (classes + width - 1) // width
    now_counts = weight.dtype.type(0 if unit else 1)
    for item in numba.prange(tiles * shares):
        share, first = item % shares, item // shares * width
        n = min(width, classes - first)
        s = np.empty(SCRATCH, weight.dtype)
        own_part(s, first, n, bias, beta, scale)
        v = np.empty((steps + 1, n), weight.dtype)
        group = np.empty((GROUP, steps, n), weight.dtype)
        start, stop = share * batch // shares, (share + 1) * batch // shares
        for b in range(start, stop):
            di = group[b - start]
            replay(b, rows, weight, initial, tiny, first, n, s, v)
            s[Q : Q + n] = 0
            for t in range(steps - 1, -1, -1):
                for i in range(n):
                    q = s[BETA + i] * s[Q + i]
                    if summed or where[b, first + i] == t:
                        q += dlogits[b, first + i]
                    s[Q + i] = q
                    di[t, i] = s[SCALE + i] * q
                    s[DBIAS + i] += di[t, i]
                    s[DBETA + i] += q * (v[t, i] - now_counts * v[t + 1, i])
            dcurrent[b, :, first : first + n] = di
            if b + 1 == stop or b + 1 - start == GROUP:
                accumulate(start, b + 1, order, group, dweight[share], first, n)
                start = b + 1
        dbias[share, first : first + n] = s[DBIAS : DBIAS + n]
        dbeta[share, first : first + n] = s[DBETA : DBETA + n]


@Kernel
def layer_backward(
    rows, order, weights, initial, tiny, width, unit, spike, kept, above, activity, gradients
):
    """From dL/dI of the layer above to this layer's gradients, in one reverse sweep.

    r[m] = sum_{t>=m} (t-m+1) M[t] G[t], dL/dV[m] = r[m] / (slope |V[m] - theta| + 1)^2 (eq. 20),
    q[t] = dL/dV[t] + beta q[t+1], dL/dI = scale q. G comes from above, where dropout let it
    through, and from what the loss asks of the sample's spike count and summed spike times, where
    silence counts as T. Nothing is written but the gradients; V is kept in `potential`, or replayed
    tile by tile.
    """
    indptr = rows[0]
    weight, bias, beta, scale = weights
    threshold, slope, paper = spike
    times, potential = kept
    dabove, above_weight, dropout = above
    dcount, dlatency = activity
    dweight, dbias, dbeta, dcurrent = gradients
    batch, steps = indptr.shape[0], indptr.shape[1] - 1
    neurons, shares = weight.shape[1], dweight.shape[0]
    tiles = (neurons + width - 1) // width
    zero, one = weight.dtype.type(0), weight.dtype.type(1)
    now_counts = zero if unit else one
    for item in numba.prange(tiles * shares):
        share, first = item % shares, item // shares * width
        n = min(width, neurons - first)
        s = np.empty(SCRATCH, weight.dtype)
        own_part(s, first, n, bias, beta, scale)
        v = np.empty((steps + 1, n), weight.dtype)
        group = np.empty((GROUP, steps, n), weight.dtype)
        start, stop = share * batch // shares, (share + 1) * batch // shares
        for b in range(start, stop):
            di = group[b - start]
            if potential.shape[0]:
                v[0] = initial[b, first : first + n]
                v[1:] = potential[b, :, first : first + n]
            else:
                replay(b, rows, weight, initial, tiny, first, n, s, v)
            own_times = times[b, first : first + n]
            for i in range(n):
                s[ONCE + i] = s[R + i] = s[Q + i] = 0
            for t in range(steps - 1, -1, -1):
                collect(dabove[b, t], above_weight, first, n, s)
                if dropout.shape[0]:
                    passes = dropout[b, first : first + n]
                    for i in range(n):
                        s[ACC + i] = s[ACC + i] if passes[i] else zero
                if dcount.shape[0]:
                    here = dcount[b] + (t - steps) * dlatency[b]
                    for i in range(n):
                        s[ACC + i] += here
                if paper:
                    for i in range(n):
                        s[ACC + i] = s[ACC + i] if t < own_times[i] else zero
                before, now, to = v[t], v[t + 1], di[t]
                for i in range(n):
                    s[ONCE + i] += s[ACC + i]
                    s[R + i] += s[ONCE + i]
                    soft = slope * abs(now[i] - threshold) + one
                    q = s[R + i] / (soft * soft) + s[BETA + i] * s[Q + i]
                    s[Q + i] = q
                    current = s[SCALE + i] * q
                    s[DBIAS + i] += current
                    s[DBETA + i] += q * (before[i] - now_counts * now[i])
                    to[i] = current
            if dcurrent.shape[0]:
                dcurrent[b, :, first : first + n] = di
            if b + 1 == stop or b + 1 - start == GROUP:
                accumulate(start, b + 1, order, group, dweight[share], first, n)
                start = b + 1
        dbias[share, first : first + n] = s[DBIAS : DBIAS + n]
        dbeta[share, first : first + n] = s[DBETA : DBETA + n]
