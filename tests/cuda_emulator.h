// CUDA C++ as C++: enough to run kernels without shared memory, atomics or block synchronisation.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <random>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __restrict__
using std::fabs;
using std::fma;

struct Index {
    unsigned x, y, z;
};
static thread_local Index threadIdx, blockIdx, blockDim, gridDim;

// A parameter's type as the compiler reads it: "f" for float, "f*" for a pointer to it.
template <typename T>
std::string code() {
    if constexpr (std::is_pointer_v<T>) return code<std::remove_cv_t<std::remove_pointer_t<T>>>() + "*";
    else if constexpr (std::is_same_v<T, float>) return "f";
    else if constexpr (std::is_same_v<T, double>) return "d";
    else if constexpr (std::is_same_v<T, int>) return "i";
    else if constexpr (std::is_same_v<T, long long>) return "q";
    else if constexpr (std::is_same_v<T, unsigned char>) return "B";
    else return "?";
}

template <typename... A>
const char* signature(void (*)(A...)) {
    static const std::string text = ((code<A>() + " ") + ...);
    return text.c_str();
}

template <typename... A, std::size_t... I>
void call(void (*kernel)(A...), void** args, std::index_sequence<I...>) {
    kernel(*static_cast<std::remove_reference_t<A>*>(args[I])...);
}

// As cuLaunchKernel; with a seed, the threads of the whole grid run in a random order.
template <typename... A>
void launch(void (*kernel)(A...), const unsigned* grid, const unsigned* block, void** args,
            unsigned seed) {
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    std::size_t threads = std::size_t(block[0]) * block[1] * block[2];
    std::vector<std::size_t> order(threads * grid[0] * grid[1] * grid[2]);
    std::iota(order.begin(), order.end(), std::size_t(0));
    if (seed) std::shuffle(order.begin(), order.end(), std::mt19937(seed));
    for (std::size_t n : order) {
        std::size_t t = n % threads, b = n / threads;
        threadIdx = {unsigned(t % block[0]), unsigned(t / block[0] % block[1]),
                     unsigned(t / block[0] / block[1])};
        blockIdx = {unsigned(b % grid[0]), unsigned(b / grid[0] % grid[1]),
                    unsigned(b / grid[0] / grid[1])};
        call(kernel, args, std::index_sequence_for<A...>{});
    }
}

#define EMULATED(name)                                                                             \
    extern "C" void run_##name(const unsigned* g, const unsigned* b, void** a, unsigned seed) {    \
        launch(name, g, b, a, seed);                                                               \
    }                                                                                              \
    extern "C" const char* signature_##name() { return signature(name); }
