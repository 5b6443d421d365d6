// The adjoint with respect to kernels: sums of images times maps.
#pragma once

#include <iterator>
#include <numeric>

#include "sources.hpp"

// Pixels that are summed for one tile before the next tile: the values that they read stay in the L1 cache.
constexpr int64_t SPAN = 256;

// Adds to sums [M, stride], or sets them if `fresh`: the sum over pixels of M values times a tile of columns. `row`
// gives the addresses of a pixel's values; its columns lie `columns_step` after the previous pixel's.
template <int M, class Real, class Row>
inline void outer_products(int64_t pixels, const Row &row, const Real *columns, int64_t columns_step, Real *sums,
                           int64_t stride, bool fresh) {
    constexpr int L = LANES<Real>;
    Vector<Real> left[M] = {}, right[M] = {};
    if (!fresh)
        for (int m = 0; m < M; ++m)
            left[m] = load<Vector<Real>>(sums + m * stride), right[m] = load<Vector<Real>>(sums + m * stride + L);
    for (int64_t k = 0; k < pixels; ++k, columns += columns_step) {
        Vector<Real> b_left = load<Vector<Real>>(columns), b_right = load<Vector<Real>>(columns + L);
#pragma GCC unroll 12
        for (int m = 0; m < M; ++m) left[m] += b_left * *row(k, m), right[m] += b_right * *row(k, m);
    }
    for (int m = 0; m < M; ++m) store(sums + m * stride, left[m]), store(sums + m * stride + L, right[m]);
}

// Rows of values in the order in which tiles read them, [tiles, SPAN, TILE_ROWS]. Values beyond a row's end are unused.
template <class Real>
class RowTiles {
public:
    const int64_t values, count;

    explicit RowTiles(int64_t values)
        : values(values), count(parts(values, TILE_ROWS)), tiles(count * SPAN * TILE_ROWS) {}

    void put(int64_t row, const Real *from) {
        Real *to = &tiles[row * TILE_ROWS];
        int64_t first = 0;
        for (; first + TILE_ROWS <= values; first += TILE_ROWS, to += SPAN * TILE_ROWS)
            std::memcpy(to, from + first, TILE_ROWS * sizeof(Real));
        std::copy_n(from + first, values - first, to);
    }
    const Real *of(int64_t tile) const { return &tiles[tile * SPAN * TILE_ROWS]; }
    int64_t size(int64_t tile) const { return std::min<int64_t>(TILE_ROWS, values - tile * TILE_ROWS); }

private:
    std::vector<Real> tiles;
};

// Adds to kernel values [rows, a tile's columns], rows `stride` apart, or sets them if `fresh`: the sum over pixels of
// rows times the first `valid` columns.
template <class Real>
void outer_tiles(int64_t pixels, const RowTiles<Real> &rows, const Real *columns, int64_t valid, Real *kernel,
                 int64_t stride, bool fresh) {
    constexpr int N = TILE_COLUMNS<Real>;
    for (int64_t row = 0; row < rows.count; ++row) {
        Real *to = kernel + row * TILE_ROWS * stride;
        with_rows(rows.size(row), [&]<int M>() {
            const Real *tile = rows.of(row);
            auto at = [=](int64_t k, int m) { return tile + k * TILE_ROWS + m; };
            if (valid == N) return outer_products<M>(pixels, at, columns, N, to, stride, fresh);
            Real sums[M * N] = {};
            if (!fresh)
                for (int m = 0; m < M; ++m) std::copy_n(to + m * stride, valid, sums + m * N);
            outer_products<M>(pixels, at, columns, N, sums, N, fresh);
            for (int m = 0; m < M; ++m) std::copy_n(sums + m * N, valid, to + m * stride);
        });
    }
}

// Sums of the maps of one task, added up in parts.
template <class Real>
class MapSums {
public:
    explicit MapSums(int64_t outputs) : totals(outputs) {}

    void add(const Real *maps, int64_t pixels, int64_t step) {
        over<Real>(totals.size(), [&]<class V>(int64_t output) {
            V sums[4] = {};  // four, so that no addition waits for the previous one
            const Real *from = maps + output;
            int64_t k = 0;
            for (; k + 4 <= pixels; k += 4)
                for (int part = 0; part < 4; ++part) sums[part] += load<V>(from + (k + part) * step);
            for (; k < pixels; ++k) sums[0] += load<V>(from + k * step);
            Real values[sizeof(V) / sizeof(Real)];
            ::store(values, (sums[0] + sums[1]) + (sums[2] + sums[3]));
            for (size_t value = 0; value < std::size(values); ++value) totals[output + value] += values[value];
        });
    }
    void store(Real *to) const { std::copy(totals.begin(), totals.end(), to); }

private:
    std::vector<double> totals;
};

// For images with many channels: channels are a tile's columns, maps its rows. A tile's columns are copied to one place
// just before their use.
template <class Real>
void correlate_pixels(const Real *x, const Real *y, Real *weight, Real *bias, int64_t tasks, int64_t images,
                      int64_t channels, int64_t outputs, const Grid &grid, int threads) {
    constexpr int N = TILE_COLUMNS<Real>;
    const int64_t places = grid.places(), pixels = grid.patches(), all = images * pixels, stride = places * channels;
    const int64_t tiles = parts(channels, N) * places;
    // if threads outnumber the tasks left, several share a task: each takes some of its tiles of channels
    const int64_t shares = std::min<int64_t>(tiles, threads / std::gcd<int64_t>(tasks, threads));
    const std::vector<int32_t> from = of_maps(grid, channels).from;
    const std::vector<Real> zeros(channels);
#pragma omp parallel num_threads(threads)
    {
        std::vector<Real> columns(SPAN * N);
        RowTiles<Real> rows(outputs);
#pragma omp for collapse(2) schedule(dynamic)
        for (int64_t task = 0; task < tasks; ++task)
            for (int64_t share = 0; share < shares; ++share) {
                MapSums<Real> sums(outputs);
                for (int64_t begin = 0; begin < std::max<int64_t>(all, 1); begin += SPAN) {
                    const int64_t count = std::min(all - begin, SPAN);
                    const Real *maps = y + (task * all + begin) * outputs;
                    for (int64_t k = 0; k < count; ++k) rows.put(k, maps + k * outputs);
                    if (share == 0) sums.add(maps, count, outputs);
                    for (int64_t tile = tiles * share / shares; tile < tiles * (share + 1) / shares; ++tile) {
                        const int64_t place = tile % places, first = tile / places * N;
                        const int64_t valid = std::min<int64_t>(N, channels - first);
                        int64_t image = task * images + begin / pixels, pixel = begin % pixels;
                        for (int64_t k = 0, end = 0; k < count; pixel = 0, ++image) {
                            const Real *source = x + image * grid.pixels() * channels;
                            const int32_t *at = &from[pixel * places + place];
                            for (end = std::min(count, k + pixels - pixel); k < end; ++k, at += places) {
                                const Real *own = values(*at, source, zeros.data()) + first;
                                if (valid == N)
                                    std::memcpy(&columns[k * N], own, N * sizeof(Real));
                                else
                                    std::copy_n(own, valid, &columns[k * N]);
                            }
                        }
                        outer_tiles(count, rows, columns.data(), valid,
                                    weight + task * outputs * stride + place * channels + first, stride, begin == 0);
                    }
                }
                if (share == 0) sums.store(bias + task * outputs);
            }
    }
}

// For images that are read by patches: a patch's values, read in place, are a tile's rows, maps its columns.
template <class Real>
void correlate_patches(const Images<Real> &x, const Real *y, Real *weight, Real *bias, int64_t tasks, int64_t images,
                       int64_t channels, int64_t outputs, int threads) {
    constexpr int N = TILE_COLUMNS<Real>;
    const Grid &grid = x.grid;
    const int64_t pixels = grid.patches(), all = images * pixels, patch = grid.places() * channels;
    const int64_t tiles = parts(outputs, N);
    const std::vector<int32_t> from = of_maps(grid, channels).from;
#pragma omp parallel num_threads(threads)
    {
        std::vector<const Real *> patches(SPAN);
        std::vector<Real> kernel(patch * N), copies(outputs % N ? SPAN * N : 0);
#pragma omp for collapse(2) schedule(dynamic)
        for (int64_t task = 0; task < tasks; ++task)
            for (int64_t tile = 0; tile < tiles; ++tile) {
                const int64_t valid = std::min<int64_t>(N, outputs - tile * N);
                MapSums<Real> sums(valid);
                for (int64_t begin = 0; begin < std::max<int64_t>(all, 1); begin += SPAN) {
                    const int64_t count = std::min(all - begin, SPAN);
                    int64_t image = task * images + begin / pixels, pixel = begin % pixels;
                    for (int64_t k = 0; k < count; ++k) {
                        patches[k] = x.values + image * grid.pixels() * channels + from[pixel];
                        if (++pixel == pixels) pixel = 0, ++image;
                    }
                    const Real *maps = y + (task * all + begin) * outputs + tile * N, *columns = maps;
                    sums.add(maps, count, outputs);
                    if (valid < N) {
                        for (int64_t k = 0; k < count; ++k) std::copy_n(maps + k * outputs, valid, &copies[k * N]);
                        columns = copies.data();
                    }
                    for (int64_t value = 0; value < patch; value += TILE_ROWS)
                        with_rows(std::min<int64_t>(TILE_ROWS, patch - value), [&]<int M>() {
                            const Real *const *from = patches.data();
                            int64_t offset[M];
                            std::copy_n(&x.offsets[value], M, offset);
                            auto at = [&](int64_t k, int m) { return from[k] + offset[m]; };
                            outer_products<M>(count, at, columns, valid < N ? N : outputs, &kernel[value * N], N,
                                              begin == 0);
                        });
                }
                turn(kernel.data(), patch, valid, N, weight + (task * outputs + tile * N) * patch, patch);
                sums.store(bias + task * outputs + tile * N);
            }
    }
}
