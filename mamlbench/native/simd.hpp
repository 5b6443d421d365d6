// Vectors of the machine that this is compiled on, and the size of a product's tile that fits its registers.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

// Values of two vectors at the given places; the second vector's places follow the first's.
#if defined(__clang__)
#define SHUFFLED(A, B, ...) __builtin_shufflevector(A, B, __VA_ARGS__)
#else
#define SHUFFLED(A, B, ...) __builtin_shuffle(A, B, Order{__VA_ARGS__})
#endif

#define EXPORTED extern "C" __attribute__((visibility("default")))

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

// Transposes `from` [rows, columns] to `to` [columns, rows]; their lines are `from_step` and `to_step` apart.
template <class Real>
void turn(const Real *from, int64_t rows, int64_t columns, int64_t from_step, Real *to, int64_t to_step) {
    typedef Real Four __attribute__((vector_size(4 * sizeof(Real))));
    typedef std::conditional_t<sizeof(Real) == 4, int32_t, int64_t> Index;
    typedef Index Order __attribute__((vector_size(4 * sizeof(Real))));
    const int64_t whole_rows = rows / 4 * 4, whole = columns / 4 * 4;
    for (int64_t row = 0; row < whole_rows; row += 4)
        for (int64_t column = 0; column < whole; column += 4) {
            const Real *at = from + row * from_step + column;
            Four a = load<Four>(at), b = load<Four>(at + from_step);
            Four c = load<Four>(at + 2 * from_step), d = load<Four>(at + 3 * from_step);
            Four ab = SHUFFLED(a, b, 0, 4, 1, 5), cd = SHUFFLED(c, d, 0, 4, 1, 5);
            Real *out = to + column * to_step + row;
            store(out, SHUFFLED(ab, cd, 0, 1, 4, 5));
            store(out + to_step, SHUFFLED(ab, cd, 2, 3, 6, 7));
            ab = SHUFFLED(a, b, 2, 6, 3, 7), cd = SHUFFLED(c, d, 2, 6, 3, 7);
            store(out + 2 * to_step, SHUFFLED(ab, cd, 0, 1, 4, 5));
            store(out + 3 * to_step, SHUFFLED(ab, cd, 2, 3, 6, 7));
        }
    for (int64_t row = 0; row < rows; ++row)
        for (int64_t column = row < whole_rows ? whole : 0; column < columns; ++column)
            to[column * to_step + row] = from[row * from_step + column];
}

// Calls work.template operator()<Values>(c) for c from 0 to count: with vectors while enough values are left, then with
// single values.
template <class Real, class Work>
inline void over(int64_t count, const Work &work) {
    int64_t c = 0;
    for (; c + LANES<Real> <= count; c += LANES<Real>) work.template operator()<Vector<Real>>(c);
    for (; c < count; ++c) work.template operator()<Real>(c);
}

// Calls work.template operator()<M>() with M = rows, from 1 to TILE_ROWS: with a constant M, the compiler can unroll a
// loop over rows and keep its sums in registers.
template <int M = TILE_ROWS, class Work>
inline void with_rows(int rows, const Work &work) {
    if constexpr (M > 1) {
        if (rows < M) return with_rows<M - 1>(rows, work);
    }
    work.template operator()<M>();
}
