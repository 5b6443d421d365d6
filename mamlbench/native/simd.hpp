// Vectors of the machine that this is compiled on, and the tiles of a product that its registers hold.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
constexpr int VECTOR_BYTES = 64, TILE_ROWS = 12;  // 32 registers: 24 of sums
#elif defined(__AVX2__)
constexpr int VECTOR_BYTES = 32, TILE_ROWS = 6;  // 16 registers: 12 of sums
#else
constexpr int VECTOR_BYTES = 16, TILE_ROWS = 6;
#endif

template <class Real>
struct VectorOf {
    typedef Real type __attribute__((vector_size(VECTOR_BYTES)));
};
template <class Real>
using Vector = typename VectorOf<Real>::type;

template <class Real>
constexpr int LANES = VECTOR_BYTES / sizeof(Real);

template <class Real>
constexpr int TILE_COLUMNS = 2 * LANES<Real>;

// A vector, or any other Values, at an address that need not be aligned.
template <class Values, class Real>
inline Values load(const Real *from) {
    Values values;
    std::memcpy(&values, from, sizeof values);
    return values;
}

template <class Values, class Real>
inline void store(Real *to, const Values &values) {
    std::memcpy(to, &values, sizeof values);
}

// Calls work.template operator()<Values>(c) for c from 0 to count, with vectors as long as there are enough values and
// with single ones after that.
template <class Real, class Work>
inline void over(int64_t count, const Work &work) {
    int64_t c = 0;
    for (; c + LANES<Real> <= count; c += LANES<Real>) work.template operator()<Vector<Real>>(c);
    for (; c < count; ++c) work.template operator()<Real>(c);
}

// Calls work.template operator()<M>() with M = rows, which is from 1 to TILE_ROWS: a loop over M rows that the
// compiler unrolls keeps its sums in registers.
template <int M = TILE_ROWS, class Work>
inline void with_rows(int rows, const Work &work) {
    if constexpr (M > 1) {
        if (rows < M) return with_rows<M - 1>(rows, work);
    }
    work.template operator()<M>();
}
