// How far tasks went from where all began, in the mean, on a list of tensors.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "simd.hpp"

namespace {

constexpr int64_t PART = 1 << 12;  // values that one thread takes at a time

// Sizes are those of one task.
template <class Real>
void change(int64_t count, int64_t tasks, const int64_t *sizes, const Real *const *begin, const Real *const *end,
            Real *const *sums, Real factor, int threads) {
    struct Part {
        int64_t tensor, first, last;
    };
    std::vector<Part> parts;
    for (int64_t tensor = 0; tensor < count; ++tensor)
        for (int64_t first = 0; first < sizes[tensor]; first += PART)
            parts.push_back({tensor, first, std::min(sizes[tensor], first + PART)});
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (const Part &part : parts) {
        const Real *from = begin[part.tensor];
        Real *sum = sums[part.tensor];
        std::fill(sum + part.first, sum + part.last, Real(0));
        for (int64_t task = 0; task < tasks; ++task) {
            const Real *to = end[part.tensor] + task * sizes[part.tensor];
#pragma omp simd
            for (int64_t i = part.first; i < part.last; ++i) sum[i] += from[i] - to[i];
        }
#pragma omp simd
        for (int64_t i = part.first; i < part.last; ++i) sum[i] *= factor;
    }
}

}  // namespace

#define EXPORT(NAME, REAL)                                                                                    \
    EXPORTED void change_##NAME(int64_t count, int64_t tasks, const int64_t *sizes, const REAL *const *begin, \
                                const REAL *const *end, REAL *const *sums, double factor, int threads) {      \
        change<REAL>(count, tasks, sizes, begin, end, sums, REAL(factor), threads);                           \
    }

EXPORT(float, float)
EXPORT(double, double)
