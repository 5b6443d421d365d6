// Adam without momentum on a list of tensors, in one pass over their values.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "simd.hpp"

namespace {

constexpr int64_t PART = 1 << 14;  // values that one thread takes at a time

template <class Real>
struct Lists {
    const Real *const *params, *const *gradients, *const *second;
    Real *const *moved, *const *after;
};

// Sizes are those of one task; where `shared_...` says so, all tasks share the values of one. `rest` is 1 - decay,
// rounded from double.
template <class Real>
void adam(int64_t count, int64_t tasks, const int64_t *sizes, const int64_t *shared_params,
          const int64_t *shared_second, const Lists<Real> &of, Real rate, Real decay, Real rest, Real epsilon,
          int threads) {
    struct Part {
        int64_t tensor, task, first, last;
    };
    std::vector<Part> parts;
    for (int64_t tensor = 0; tensor < count; ++tensor)
        for (int64_t task = 0; task < tasks; ++task)
            for (int64_t first = 0; first < sizes[tensor]; first += PART)
                parts.push_back({tensor, task, first, std::min(sizes[tensor], first + PART)});
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (const Part &part : parts) {
        const int64_t own = part.task * sizes[part.tensor];
        const Real *p = of.params[part.tensor] + (shared_params[part.tensor] ? 0 : own);
        const Real *v = of.second[part.tensor] + (shared_second[part.tensor] ? 0 : own);
        const Real *g = of.gradients[part.tensor] + own;
        Real *moved = of.moved[part.tensor] + own, *after = of.after[part.tensor] + own;
#pragma omp simd
        for (int64_t i = part.first; i < part.last; ++i) {
            const Real second = decay * v[i] + rest * (g[i] * g[i]);
            after[i] = second;
            moved[i] = p[i] - rate * g[i] / (std::sqrt(second) + epsilon);
        }
    }
}

}  // namespace

#define EXPORT(NAME, REAL)                                                                                \
    EXPORTED void adam_##NAME(int64_t count, int64_t tasks, const int64_t *sizes, const int64_t *params,  \
                              const int64_t *second, const Lists<REAL> *lists, double rate, double decay, \
                              double epsilon, int threads) {                                              \
        adam<REAL>(count, tasks, sizes, params, second, *lists, REAL(rate), REAL(decay), REAL(1 - decay), \
                   REAL(epsilon), threads);                                                               \
    }

EXPORT(float, float)
EXPORT(double, double)
