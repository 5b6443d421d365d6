// Outputs as sums of values at known places, times kernels.
#pragma once

#include "sources.hpp"

// Output pixels that one thread takes at a time: the values that they read stay in the L2 cache.
constexpr int64_t BLOCK = 16 * TILE_ROWS;

// The tasks' kernels in the order in which a tile reads them, [T, panels, places, inputs, TILE_COLUMNS], and biases;
// both are zero beyond the last output.
template <class Real>
struct Panels {
    static constexpr int N = TILE_COLUMNS<Real>;
    int64_t places, inputs, outputs, count = parts(outputs, N), size = places * inputs * N;
    std::unique_ptr<Real[]> values{};
    std::vector<Real> biases{};  // [T, panels, TILE_COLUMNS]

    // From weights with the strides `output_step`, `place_step` and `input_step`; either `output_step` or `input_step`
    // is 1.
    void fill(const Real *weight, const Real *bias, int64_t tasks, int64_t output_step, int64_t place_step,
              int64_t input_step, int threads) {
        biases.resize(tasks * count * N);
        for (int64_t task = 0; bias && task < tasks; ++task)
            std::copy_n(bias + task * outputs, outputs, &biases[task * count * N]);
        values.reset(new Real[tasks * count * size]);
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
        for (int64_t task = 0; task < tasks; ++task)
            for (int64_t panel = 0; panel < count; ++panel) {
                const int64_t valid = std::min<int64_t>(N, outputs - panel * N);
                Real *to = values.get() + (task * count + panel) * size;
                if (valid < N) std::fill_n(to, size, Real(0));
                for (int64_t place = 0; place < places; ++place, to += inputs * N) {
                    const Real *from =
                        weight + task * places * inputs * outputs + panel * N * output_step + place * place_step;
                    if (output_step == 1)
                        for (int64_t input = 0; input < inputs; ++input)
                            std::copy_n(from + input * input_step, valid, to + input * N);
                    else
                        turn(from, valid, inputs, output_step, to, N);
                }
            }
    }
    const Real *of(int64_t task, int64_t panel) const { return values.get() + (task * count + panel) * size; }
    const Real *bias_of(int64_t task, int64_t panel) const { return &biases[(task * count + panel) * N]; }
};

// For each of M rows: `initial` plus the sum, over `count` addresses, of the values there times their place of a panel.
// The values lie at the offsets from the address that `offset` gives.
template <int M, class Real, class Offset>
inline void products(int64_t count, const Real *const *rows, const int64_t *places, int64_t inputs,
                     const Offset &offset, const Real *panel, const Real *initial, Real *const *targets, int64_t column,
                     int64_t valid) {
    constexpr int L = LANES<Real>, N = 2 * L;
    Vector<Real> left[M], right[M];
    for (int m = 0; m < M; ++m) left[m] = load<Vector<Real>>(initial), right[m] = load<Vector<Real>>(initial + L);
    for (int64_t k = 0; k < count; ++k) {
        const Real *b = panel + places[k] * inputs * N;
        const Real *a[M];
        for (int m = 0; m < M; ++m) a[m] = rows[m * count + k];
        for (int64_t input = 0; input < inputs; ++input, b += N) {
            Vector<Real> b_left = load<Vector<Real>>(b), b_right = load<Vector<Real>>(b + L);
            const int64_t at = offset(input);
#pragma GCC unroll 12
            for (int m = 0; m < M; ++m) left[m] += b_left * a[m][at], right[m] += b_right * a[m][at];
        }
    }
    for (int m = 0; m < M; ++m) {
        if (valid == N) {
            store(targets[m] + column, left[m]), store(targets[m] + column + L, right[m]);
        } else {
            Real sums[N];
            store(sums, left[m]), store(sums + L, right[m]);
            std::copy_n(sums, valid, targets[m] + column);
        }
    }
}

// Outputs [T, M, to pixels, O] from sources [T, M, from pixels, channels]. An output is the bias plus the sum, over the
// places of its kernel, of the source's values times the kernel's. The values lie at `offsets` from their source, or
// side by side if `offsets` is null. A thread computes the same part of the same images for all `kinds` of outputs,
// because these read the same pixels.
template <class Real>
void gather(const std::vector<Sources> &kinds, const Real *from, int64_t from_pixels, int64_t channels,
            const int64_t *offsets, const Panels<Real> &panels, bool one_kernel, Real *to, int64_t to_pixels,
            int64_t tasks, int64_t images, int threads) {
    constexpr int N = TILE_COLUMNS<Real>;
    int64_t most = 1;  // outputs of a kind in an image
    for (const Sources &kind : kinds) most = std::max<int64_t>(most, kind.to.size());
    // smaller than BLOCK if threads would have nothing to do otherwise
    const int64_t block = std::clamp<int64_t>(tasks * images * most / (2 * threads), TILE_ROWS, BLOCK);
    const int64_t group = std::max<int64_t>(1, block / most), groups = parts(images, group);
    const int64_t cuts = parts(most, block), inputs = panels.inputs, outputs = panels.outputs;
    const std::vector<Real> zeros(inputs);
#pragma omp parallel num_threads(threads)
    {
        std::vector<const Real *> rows(TILE_ROWS * std::max<int64_t>(panels.places, 1));
        Real *targets[TILE_ROWS];
#pragma omp for collapse(3) schedule(dynamic)
        for (int64_t task = 0; task < tasks; ++task)
            for (int64_t part = 0; part < groups; ++part)
                for (int64_t cut = 0; cut < cuts; ++cut)
                    for (const Sources &kind : kinds) {
                        const int64_t kernel = one_kernel ? 0 : task, count = kind.places.size();
                        const int64_t pixels = kind.to.size(), size = parts(pixels, cuts);
                        const int64_t first = std::min(pixels, cut * size), last = std::min(pixels, first + size);
                        const int64_t all = std::min(group, images - part * group) * (last - first);
                        int64_t image = task * images + part * group, pixel = first;
                        for (int64_t at = 0; at < all; at += TILE_ROWS) {
                            const int tile = std::min<int64_t>(TILE_ROWS, all - at);
                            for (int64_t m = 0, row = 0; m < tile; ++m) {
                                const Real *source = from + image * from_pixels * channels;
                                for (int64_t k = 0; k < count; ++k, ++row)
                                    rows[row] = values(kind.from[pixel * count + k], source, zeros.data());
                                targets[m] = to + (image * to_pixels + kind.to[pixel]) * outputs;
                                if (++pixel == last) pixel = first, ++image;
                            }
                            for (int64_t panel = 0; panel < panels.count; ++panel) {
                                const int64_t column = panel * N, valid = std::min<int64_t>(N, outputs - column);
                                with_rows(tile, [&]<int M>() {
                                    auto sum = [&](auto offset) {
                                        products<M>(count, rows.data(), kind.places.data(), inputs, offset,
                                                    panels.of(kernel, panel), panels.bias_of(kernel, panel), targets,
                                                    column, valid);
                                    };
                                    if (offsets)
                                        sum([=](int64_t input) { return offsets[input]; });
                                    else
                                        sum([](int64_t input) { return input; });
                                });
                            }
                        }
                    }
    }
}
