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

template <class Real>
void adam(int64_t count, const int64_t *sizes, const Lists<Real> &of, Real rate, Real decay, Real epsilon,
          int threads) {
    struct Part {
        int64_t tensor, first, last;
    };
    std::vector<Part> parts;
    for (int64_t tensor = 0; tensor < count; ++tensor)
        for (int64_t first = 0; first < sizes[tensor]; first += PART)
            parts.push_back({tensor, first, std::min(sizes[tensor], first + PART)});
#pragma omp parallel for num_threads(threads) schedule(static)
    for (const Part &part : parts) {
        const Real *p = of.params[part.tensor], *g = of.gradients[part.tensor], *v = of.second[part.tensor];
        Real *moved = of.moved[part.tensor], *after = of.after[part.tensor];
#pragma omp simd
        for (int64_t i = part.first; i < part.last; ++i) {
            const Real second = decay * v[i] + (1 - decay) * (g[i] * g[i]);
            after[i] = second;
            moved[i] = p[i] - rate * g[i] / (std::sqrt(second) + epsilon);
        }
    }
}

}  // namespace

#define EXPORT(NAME, REAL)                                                                                \
    EXPORTED void adam_##NAME(int64_t count, const int64_t *sizes, const Lists<REAL> *lists, double rate, \
                              double decay, double epsilon, int threads) {                                \
        adam<REAL>(count, sizes, *lists, REAL(rate), REAL(decay), REAL(epsilon), threads);                \
    }

EXPORT(float, float)
EXPORT(double, double)
