// The event engine on a GPU: one thread a neuron of a sample, its potential in a register.
//
// No thread waits for another: no shared memory, no atomics, no synchronisation inside a block. What
// a thread writes depends on its arguments alone and every sum has one order, so that results are
// deterministic, and the same source compiled as C++ gives the same bits (tests/cuda_emulator.h).
//
// The working precision REAL is float or double. Compile with --fmad=false: what is fused says fma.
// Sums over time that a result hands on (logits, bias, beta) are double in either precision.
//
// Events of sample b at step t are ptr[b, t] : ptr[b, t + 1] of `indices`, and of `values` where
// that is not null; rows of two samples need not touch. Weights lie (inputs, neurons), so that the
// threads of a warp read an event's row side by side. The grid is (samples or inputs, tiles of
// neurons): only its first axis counts beyond 65,535. Null means 0 for `initial`, and otherwise that
// an output is not wanted. Everything else has been checked by the caller.

typedef long long wide;
#define AHEAD 8  // weight rows in flight: loads that do not wait for each other

struct Neuron {
    REAL bias, beta, scale, tiny;

    // V[t] = beta V[t-1] + scale I[t] (eq. 5); what decays below normal numbers is 0, a NaN stays.
    __device__ REAL next(REAL v, REAL current) const {
        v = fma(beta, v, scale * current);
        return fabs(v) < tiny ? REAL(0) : v;
    }
};

// The potential of neuron i step by step; see(t, v) returns false to stop there.
template <typename See>
__device__ REAL run_events(const wide* ptr, const int* indices, const REAL* values,
                           const REAL* weight, Neuron own, REAL v, int steps, int neurons, int i,
                           See see) {
    wide first = ptr[0], last = ptr[steps], end = ptr[1];
    REAL current = own.bias;
    int t = 0;
    for (wide e = first; e < last; e += AHEAD) {
        REAL row[AHEAD];
#pragma unroll
        for (int k = 0; k < AHEAD; ++k) {
            row[k] = 0;
            if (e + k < last) {
                row[k] = weight[(wide)indices[e + k] * neurons + i];
                if (values) row[k] *= values[e + k];
            }
        }
#pragma unroll
        for (int k = 0; k < AHEAD; ++k) {
            if (e + k >= last) break;
            while (e + k >= end) {  // the event belongs to a later step: so for the whole block
                v = own.next(v, current);
                if (!see(t, v)) return v;
                current = own.bias;
                end = ptr[++t + 1];
            }
            current += row[k];  // eq. 4
        }
    }
    for (; t < steps; ++t) {
        v = own.next(v, current);
        if (!see(t, v)) return v;
        current = own.bias;
    }
    return v;
}

// The same from a current (without the bias), which lies along time.
template <typename See>
__device__ REAL run_current(const REAL* current, Neuron own, REAL v, int steps, See see) {
#pragma unroll 4
    for (int t = 0; t < steps; ++t) {
        v = own.next(v, current[t] + own.bias);
        see(t, v);
    }
    return v;
}

// Spike times (batch, neurons) as events; a thread is a sample and a step.
extern "C" __global__ void sort_times(const int* times, int neurons, int steps, wide* ptr,
                                      int* indices) {
    int t = blockIdx.y * blockDim.x + threadIdx.x, b = blockIdx.x;
    if (t > steps) return;
    const int* own = times + (wide)b * neurons;
    wide place = (wide)b * neurons;
    for (int j = 0; j < neurons; ++j) place += own[j] < t;
    ptr[(wide)b * (steps + 1) + t] = place;
    if (t == steps) return;
    for (int j = 0; j < neurons; ++j)
        if (own[j] == t) indices[place++] = j;
}

// First spikes from events. Without `to_the_end` a neuron stops at its spike.
extern "C" __global__ void layer_events(const wide* ptr, const int* indices, const REAL* values,
                                        const REAL* weight, const REAL* bias, const REAL* beta,
                                        const REAL* scale, const REAL* initial, REAL threshold,
                                        REAL tiny, int steps, int neurons, int to_the_end,
                                        int* times, REAL* final, REAL* potential) {
    int i = blockIdx.y * blockDim.x + threadIdx.x, b = blockIdx.x;
    if (i >= neurons) return;
    wide at = (wide)b * neurons + i;
    REAL* kept = potential ? potential + (wide)b * steps * neurons + i : nullptr;
    Neuron own = {bias[i], beta[i], scale[i], tiny};
    int fired = steps;
    final[at] = run_events(ptr + (wide)b * (steps + 1), indices, values, weight, own,
                           initial ? initial[at] : REAL(0), steps, neurons, i,
                           [&](int t, REAL v) {
                               if (kept) kept[(wide)t * neurons] = v;
                               if (v > threshold && fired == steps) fired = t;  // eq. 3 and 6
                               return to_the_end || fired == steps;
                           });
    times[at] = fired;
}

// The readout's sum or maximum of V over time, and the first step of the maximum.
struct Pool {
    int summed;
    double sum = 0;
    REAL largest = 0;
    int where = 0;

    __device__ void take(int t, REAL v) {
        sum += v;
        if (t == 0 || !(v <= largest)) {  // so that a NaN stays, and is found
            largest = v;
            where = t;
        }
    }
    __device__ REAL logit() const { return summed ? REAL(sum) : largest; }
};

extern "C" __global__ void readout_events(const wide* ptr, const int* indices, const REAL* values,
                                          const REAL* weight, const REAL* bias, const REAL* beta,
                                          const REAL* scale, const REAL* initial, REAL tiny,
                                          int steps, int neurons, int summed, REAL* logits,
                                          int* where, REAL* final, REAL* potential) {
    int i = blockIdx.y * blockDim.x + threadIdx.x, b = blockIdx.x;
    if (i >= neurons) return;
    wide at = (wide)b * neurons + i;
    REAL* kept = potential ? potential + (wide)b * steps * neurons + i : nullptr;
    Neuron own = {bias[i], beta[i], scale[i], tiny};
    Pool pool = {summed};
    final[at] = run_events(ptr + (wide)b * (steps + 1), indices, values, weight, own,
                           initial ? initial[at] : REAL(0), steps, neurons, i,
                           [&](int t, REAL v) {
                               if (kept) kept[(wide)t * neurons] = v;
                               pool.take(t, v);
                               return true;
                           });
    logits[at] = pool.logit();
    where[at] = pool.where;
}

// Steps 2 to 4 of a dense current (batch, neurons, steps) in one pass; potentials lie as it does.
extern "C" __global__ void layer_dense(const REAL* current, const REAL* bias, const REAL* beta,
                                       const REAL* scale, const REAL* initial, REAL threshold,
                                       REAL tiny, int steps, int neurons, int* times, REAL* final,
                                       REAL* potential) {
    int i = blockIdx.y * blockDim.x + threadIdx.x, b = blockIdx.x;
    if (i >= neurons) return;
    wide at = (wide)b * neurons + i;
    REAL* kept = potential ? potential + at * steps : nullptr;
    Neuron own = {bias[i], beta[i], scale[i], tiny};
    int fired = steps;
    final[at] = run_current(current + at * steps, own, initial ? initial[at] : REAL(0), steps,
                            [&](int t, REAL v) {
                                if (kept) kept[t] = v;
                                if (v > threshold && fired == steps) fired = t;
                            });
    times[at] = fired;
}

extern "C" __global__ void readout_dense(const REAL* current, const REAL* bias, const REAL* beta,
                                         const REAL* scale, const REAL* initial, REAL tiny,
                                         int steps, int neurons, int summed, REAL* logits,
                                         REAL* final, REAL* potential) {
    int i = blockIdx.y * blockDim.x + threadIdx.x, b = blockIdx.x;
    if (i >= neurons) return;
    wide at = (wide)b * neurons + i;
    REAL* kept = potential ? potential + at * steps : nullptr;
    Neuron own = {bias[i], beta[i], scale[i], tiny};
    Pool pool = {summed};
    final[at] = run_current(current + at * steps, own, initial ? initial[at] : REAL(0), steps,
                            [&](int t, REAL v) {
                                if (kept) kept[t] = v;
                                pool.take(t, v);
                            });
    logits[at] = pool.logit();
}

// The reverse sweep that both backward kernels share: q[t] = dL/dV[t] + beta q[t+1].
struct Sweep {
    REAL beta, scale;
    int unit;  // whether scale is 1, and not 1 - beta
    REAL q = 0;
    double dbias = 0, dbeta = 0;

    // dL/dI[t]; dbeta still lacks its factor 1 / scale where that is 1 - beta
    __device__ REAL step(REAL dv, REAL before, REAL now) {
        q = fma(beta, q, dv);
        dbias += scale * q;
        dbeta += q * (unit ? before : before - now);
        return scale * q;
    }
};

// From dL/dlogits to dL/dI (batch, steps, neurons), and each sample's part of dbias and dbeta.
extern "C" __global__ void readout_backward(const REAL* beta, const REAL* scale,
                                            const REAL* initial, const REAL* potential,
                                            const REAL* dlogits, const int* where, int steps,
                                            int neurons, int summed, int unit, REAL* dcurrent,
                                            double* dbias, double* dbeta) {
    int i = blockIdx.y * blockDim.x + threadIdx.x, b = blockIdx.x;
    if (i >= neurons) return;
    wide at = (wide)b * neurons + i, start = (wide)b * steps * neurons + i;
    Sweep sweep = {beta[i], scale[i], unit};
    REAL d = dlogits[at], now = potential[start + (wide)(steps - 1) * neurons];
    int largest = where[at];
    for (int t = steps - 1; t >= 0; --t) {
        wide here = start + (wide)t * neurons;
        REAL before = t ? potential[here - neurons] : initial ? initial[at] : REAL(0);
        dcurrent[here] = sweep.step(summed || t == largest ? d : REAL(0), before, now);
        now = before;
    }
    dbias[at] = sweep.dbias;
    dbeta[at] = sweep.dbeta;
}

// The same for a hidden layer, whose dL/dS[t] is
//   dabove[b, t] . above_weight[:, i], where dropout lets the neuron's spikes pass; or dabove itself,
//   (batch, steps, neurons), where `above` is 0;  plus
//   dcount[b] + (t - steps) dlatency[b], from a penalty on the sample's spikes and their times.
// r[m] = sum over t >= m of (t-m+1) M[t] dL/dS[t],  dL/dV[m] = r[m] / (slope |V[m]-theta| + 1)^2.
extern "C" __global__ void layer_backward(
    const REAL* beta, const REAL* scale, const REAL* initial, const REAL* potential,
    const int* times, const REAL* dabove, const REAL* above_weight, int above,
    const unsigned char* passes, const REAL* dcount, const REAL* dlatency, REAL threshold,
    REAL slope, int paper, int steps, int neurons, int unit, REAL* dcurrent, double* dbias,
    double* dbeta) {
    int i = blockIdx.y * blockDim.x + threadIdx.x, b = blockIdx.x;
    if (i >= neurons) return;
    wide at = (wide)b * neurons + i, start = (wide)b * steps * neurons + i;
    Sweep sweep = {beta[i], scale[i], unit};
    bool through = !passes || passes[at];
    int fired = times[at];
    REAL now = potential[start + (wide)(steps - 1) * neurons], once = 0, r = 0;
    for (int t = steps - 1; t >= 0; --t) {
        wide here = start + (wide)t * neurons;
        REAL d = 0;
        if (through && above) {
            const REAL* from = dabove + ((wide)b * steps + t) * above;
            for (int m = 0; m < above; ++m) d = fma(from[m], above_weight[(wide)m * neurons + i], d);
        } else if (through) {
            d = dabove[here];
        }
        if (dcount) d += fma(REAL(t - steps), dlatency[b], dcount[b]);
        if (paper && t >= fired) d = 0;  // M[t]
        once += d;
        r += once;
        REAL soft = fma(slope, fabs(now - threshold), REAL(1));  // eq. 20
        REAL before = t ? potential[here - neurons] : initial ? initial[at] : REAL(0);
        dcurrent[here] = sweep.step(r / (soft * soft), before, now);
        now = before;
    }
    dbias[at] = sweep.dbias;
    dbeta[at] = sweep.dbeta;
}

// dW[j, i] = sum over b of dL/dI[b, time of j in b, i]: spikes that come once need no sorting.
extern "C" __global__ void gather_times(const int* times, const REAL* dcurrent, int batch,
                                        int inputs, int neurons, int steps, REAL* dweight) {
    int i = blockIdx.y * blockDim.x + threadIdx.x, j = blockIdx.x;
    if (i >= neurons) return;
    REAL sum = 0;
#pragma unroll 8
    for (int b = 0; b < batch; ++b) {
        int t = times[(wide)b * inputs + j];
        if (t < steps) sum += dcurrent[((wide)b * steps + t) * neurons + i];
    }
    dweight[(wide)j * neurons + i] = sum;
}

// The same from events in the order of their inputs: those of j are by_input[j] : by_input[j + 1]
// of `row`, which holds b steps + t, and of `values`.
extern "C" __global__ void gather_events(const wide* by_input, const int* row, const REAL* values,
                                         const REAL* dcurrent, int neurons, REAL* dweight) {
    int i = blockIdx.y * blockDim.x + threadIdx.x, j = blockIdx.x;
    if (i >= neurons) return;
    REAL sum = 0;
    wide end = by_input[j + 1];
#pragma unroll 8
    for (wide e = by_input[j]; e < end; ++e) {
        REAL d = dcurrent[(wide)row[e] * neurons + i];
        sum += values ? values[e] * d : d;
    }
    dweight[(wide)j * neurons + i] = sum;
}
