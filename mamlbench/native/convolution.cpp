// The three bilinear maps of a convolution with one kernel a task, without patches in memory.
//
// Channels are last: images [T, M, H, W, C], maps [T, M, h, w, O], kernels [T, O, k, k, C]. Each output is a sum over
// rows of channels that lie at known places, so a tile of outputs needs the addresses of those rows and no copy of
// them; places outside of an image read a row of zeros. Every output is summed in an order that depends neither on the
// other tasks and images nor on the number of threads.
//
// The tiles follow Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (TOMS 2008); the
// addresses follow Dukhan, "The Indirect Convolution Algorithm" (arXiv 1907.02129).
#include <algorithm>
#include <memory>
#include <vector>

#include "simd.hpp"

namespace {

// Images of fewer channels are read by lines of a kernel, whose pixels lie side by side: a pixel alone is too short.
constexpr int64_t SHORT_ROW = 8;
// Output pixels that one thread takes at a time, and pixels that a kernel's tile sums before it makes way for the next:
// what they read stays in the first and second cache.
constexpr int64_t BLOCK = 16 * TILE_ROWS, SPAN = 256;

int64_t parts(int64_t total, int64_t size) { return (total + size - 1) / size; }

// Of the images, their maps and the patches between; as in convolution.py's Grid.
struct Grid {
    int64_t height, width, down, across, kernel, stride, top, left;

    int64_t places() const { return kernel * kernel; }
    int64_t pixels() const { return height * width; }
    int64_t patches() const { return down * across; }
    // How many places of a kernel are read at a time.
    int64_t together(int64_t channels) const { return channels < SHORT_ROW ? kernel : 1; }
};

// Pixels side by side in an image, from `pixel` on, of which those from `begin` to `end` are inside of it.
struct Run {
    int64_t pixel;
    int32_t begin, end;
};

// Outputs that take the same places of the kernel, and the pixels that each place multiplies.
struct Sources {
    int64_t together;             // pixels of a run
    std::vector<int64_t> places;  // of the kernel, in runs
    std::vector<Run> from;        // [outputs, places], in the image of sources
    std::vector<int64_t> to;      // [outputs]: pixel of the image of outputs
};

Sources of_maps(const Grid &grid, int64_t together) {
    Sources sources{together, {}, {}, {}};
    for (int64_t place = 0; place < grid.places() / together; ++place) sources.places.push_back(place);
    for (int64_t i = 0; i < grid.down; ++i)
        for (int64_t j = 0; j < grid.across; ++j) {
            sources.to.push_back(i * grid.across + j);
            for (int64_t place : sources.places) {
                int64_t row = i * grid.stride + place * together / grid.kernel - grid.top;
                int64_t column = j * grid.stride + place * together % grid.kernel - grid.left;
                int64_t begin = std::clamp<int64_t>(-column, 0, together);
                int64_t end = std::clamp<int64_t>(grid.width - column, begin, together);
                if (row < 0 || row >= grid.height) begin = end = 0;
                sources.from.push_back({row * grid.width + column, int32_t(begin), int32_t(end)});
            }
        }
    return sources;
}

// Pixels of the image whose row and column leave the remainders `row` and `column` when divided by the stride are under
// the same places of the kernel.
Sources of_images(const Grid &grid, int64_t row, int64_t column) {
    Sources sources{1, {}, {}, {}};
    for (int64_t u = row; u < grid.kernel; u += grid.stride)
        for (int64_t v = column; v < grid.kernel; v += grid.stride) sources.places.push_back(u * grid.kernel + v);
    for (int64_t r = 0; r < grid.height; ++r)
        for (int64_t c = 0; c < grid.width; ++c) {
            if ((r + grid.top) % grid.stride != row || (c + grid.left) % grid.stride != column) continue;
            sources.to.push_back(r * grid.width + c);
            for (int64_t place : sources.places) {
                int64_t i = r + grid.top - place / grid.kernel, j = c + grid.left - place % grid.kernel;
                bool inside = i >= 0 && j >= 0 && i / grid.stride < grid.down && j / grid.stride < grid.across;
                sources.from.push_back({i / grid.stride * grid.across + j / grid.stride, 0, inside});
            }
        }
    return sources;
}

// The values of a run, `together` pixels of `channels`, zero outside of the image; where some of them are, in `copy`.
template <class Real>
inline const Real *values(const Run &run, const Real *image, int64_t together, int64_t channels, const Real *nothing,
                          Real *copy) {
    if (run.begin == run.end) return nothing;
    const Real *at = image + run.pixel * channels;
    if (run.end - run.begin == together) return at;
    for (int64_t k = 0; k < together * channels; ++k)
        copy[k] = run.begin * channels <= k && k < run.end * channels ? at[k] : Real(0);
    return copy;
}

// The same as std::copy_n, faster for the lines of a 3x3 kernel over one or three channels.
template <class Real>
inline void copy_line(const Real *from, int64_t count, Real *to) {
    if (count == 3)
        std::copy_n(from, 3, to);
    else if (count == 9)
        std::copy_n(from, 9, to);
    else
        std::copy_n(from, count, to);
}

// Kernels of tasks as a tile reads them, [T, panels, places, inputs, TILE_COLUMNS], zero beyond the last output.
template <class Real>
struct Panels {
    static constexpr int N = TILE_COLUMNS<Real>;
    int64_t places, inputs, outputs, count = parts(outputs, N), size = places * inputs * N;
    std::unique_ptr<Real[]> values{};

    // From weights `output_step` apart from one output to the next, `place_step` and `input_step` likewise.
    void fill(const Real *weight, int64_t tasks, int64_t output_step, int64_t place_step, int64_t input_step,
              int threads) {
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
                        for (int64_t n = 0; n < valid; ++n)
                            for (int64_t input = 0; input < inputs; ++input)
                                to[input * N + n] = from[n * output_step + input * input_step];
                }
            }
    }
    const Real *of(int64_t task, int64_t panel) const { return values.get() + (task * count + panel) * size; }
};

// For M rows: `initial` plus the values at `count` addresses each, times the places of a panel that they go with.
template <int M, class Real>
inline void products(int64_t count, const Real *const *rows, const int64_t *places, int64_t inputs, const Real *panel,
                     const Real *initial, Real *const *targets, int64_t column, int64_t valid) {
    constexpr int L = LANES<Real>, N = 2 * L;
    Vector<Real> left[M], right[M];
    for (int m = 0; m < M; ++m) left[m] = load<Vector<Real>>(initial), right[m] = load<Vector<Real>>(initial + L);
    for (int64_t k = 0; k < count; ++k) {
        const Real *b = panel + places[k] * inputs * N;
        const Real *a[M];
        for (int m = 0; m < M; ++m) a[m] = rows[m * count + k];
        for (int64_t input = 0; input < inputs; ++input, b += N) {
            Vector<Real> b_left = load<Vector<Real>>(b), b_right = load<Vector<Real>>(b + L);
#pragma GCC unroll 12
            for (int m = 0; m < M; ++m) left[m] += b_left * a[m][input], right[m] += b_right * a[m][input];
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

// Outputs [T, M, to pixels, O] from sources [T, M, from pixels, channels]: each the sum, over the places of its kernel,
// of the values there times the place's, and of `bias` [T, O] if there is one. The outputs are those of all `kinds`, of
// which a thread takes the same part of the same images, for they read the same pixels.
template <class Real>
void gather(const std::vector<Sources> &kinds, const Real *from, int64_t from_pixels, int64_t channels,
            const Panels<Real> &panels, bool one_kernel, const Real *bias, Real *to, int64_t to_pixels, int64_t tasks,
            int64_t images, int threads) {
    constexpr int N = TILE_COLUMNS<Real>;
    int64_t most = 1;  // outputs of a kind in an image
    for (const Sources &kind : kinds) most = std::max<int64_t>(most, kind.to.size());
    const int64_t group = std::max<int64_t>(1, BLOCK / most), groups = parts(images, group);
    const int64_t cuts = parts(most, BLOCK), inputs = panels.inputs, outputs = panels.outputs;
    const std::vector<Real> nothing(inputs);
#pragma omp parallel num_threads(threads)
    {
        std::vector<const Real *> rows(TILE_ROWS * std::max<int64_t>(panels.places, 1));
        std::vector<Real> copies(rows.size() * inputs);
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
                                    rows[row] = values(kind.from[pixel * count + k], source, kind.together, channels,
                                                       nothing.data(), &copies[row * inputs]);
                                targets[m] = to + (image * to_pixels + kind.to[pixel]) * outputs;
                                if (++pixel == last) pixel = first, ++image;
                            }
                            for (int64_t panel = 0; panel < panels.count; ++panel) {
                                const int64_t column = panel * N, valid = std::min<int64_t>(N, outputs - column);
                                Real initial[N] = {};
                                if (bias) std::copy_n(bias + kernel * outputs + column, valid, initial);
                                with_rows(tile, [&]<int M>() {
                                    products<M>(count, rows.data(), kind.places.data(), inputs,
                                                panels.of(kernel, panel), initial, targets, column, valid);
                                });
                            }
                        }
                    }
    }
}

// sums [M, stride]: what they are, or zero if they are `fresh`, plus the sum over pixels of rows [pixels, TILE_ROWS],
// M of each, times others [pixels, TILE_COLUMNS].
template <int M, class Real>
inline void outer_products(int64_t pixels, const Real *rows, const Real *others, Real *sums, int64_t stride,
                           bool fresh) {
    constexpr int L = LANES<Real>, N = 2 * L;
    Vector<Real> left[M] = {}, right[M] = {};
    if (!fresh)
        for (int m = 0; m < M; ++m)
            left[m] = load<Vector<Real>>(sums + m * stride), right[m] = load<Vector<Real>>(sums + m * stride + L);
    for (int64_t k = 0; k < pixels; ++k, rows += TILE_ROWS, others += N) {
        Vector<Real> b_left = load<Vector<Real>>(others), b_right = load<Vector<Real>>(others + L);
#pragma GCC unroll 12
        for (int m = 0; m < M; ++m) left[m] += b_left * rows[m], right[m] += b_right * rows[m];
    }
    for (int m = 0; m < M; ++m) store(sums + m * stride, left[m]), store(sums + m * stride + L, right[m]);
}

// Rows of values as tiles read them, [tiles, SPAN, SIZE]. Tiles begin `step` apart, or less at the end of a row; what
// they hold beyond that is not used.
template <class Real, int SIZE>
class Tiles {
public:
    const int64_t values, count, step;

    Tiles(int64_t values, bool even)
        : values(values),
          count(parts(values, SIZE)),
          step(even ? parts(values, count) : SIZE),
          tiles(count * SPAN * SIZE) {}

    // A row, of which `readable` values can be read.
    void put(int64_t row, const Real *from, int64_t readable) {
        Real *to = &tiles[row * SIZE];
        for (int64_t first = 0; first < values; first += step, to += SPAN * SIZE)
            if (first + SIZE <= readable)
                std::memcpy(to, from + first, SIZE * sizeof(Real));
            else
                std::copy_n(from + first, values - first, to);
    }
    const Real *of(int64_t tile) const { return &tiles[tile * SPAN * SIZE]; }
    int64_t size(int64_t tile) const { return std::min(step, values - tile * step); }

private:
    std::vector<Real> tiles;
};
template <class Real>
using RowTiles = Tiles<Real, TILE_ROWS>;
template <class Real>
using ColumnTiles = Tiles<Real, TILE_COLUMNS<Real>>;

// Kernel values [rows, others], rows `stride` apart: what they are, or zero if they are `fresh`, plus the sum over
// pixels of rows times others.
template <class Real>
void outer_tiles(int64_t pixels, const RowTiles<Real> &rows, const ColumnTiles<Real> &others, Real *kernel,
                 int64_t stride, bool fresh) {
    constexpr int N = TILE_COLUMNS<Real>;
    for (int64_t column = 0; column < others.count; ++column)
        for (int64_t row = 0; row < rows.count; ++row) {
            const int64_t valid = others.size(column);
            Real *to = kernel + row * rows.step * stride + column * N;
            with_rows(rows.size(row), [&]<int M>() {
                if (valid == N) return outer_products<M>(pixels, rows.of(row), others.of(column), to, stride, fresh);
                Real sums[M * N] = {};
                if (!fresh)
                    for (int m = 0; m < M; ++m) std::copy_n(to + m * stride, valid, sums + m * N);
                outer_products<M>(pixels, rows.of(row), others.of(column), sums, N, fresh);
                for (int m = 0; m < M; ++m) std::copy_n(sums + m * N, valid, to + m * stride);
            });
        }
}

template <class Real>
void convolve(const Real *x, const Real *weight, const Real *bias, Real *y, int64_t tasks, int64_t images,
              int64_t channels, int64_t outputs, bool one_kernel, const Grid &grid, int threads) {
    const int64_t together = grid.together(channels), inputs = together * channels;
    Panels<Real> panels{grid.places() / together, inputs, outputs};
    panels.fill(weight, one_kernel ? 1 : tasks, grid.places() * channels, inputs, 1, threads);
    gather({of_maps(grid, together)}, x, grid.pixels(), channels, panels, one_kernel, bias, y, grid.patches(), tasks,
           images, threads);
}

template <class Real>
void spread(const Real *y, const Real *weight, Real *x, int64_t tasks, int64_t images, int64_t channels,
            int64_t outputs, bool one_kernel, const Grid &grid, int threads) {
    Panels<Real> panels{grid.places(), outputs, channels};
    panels.fill(weight, one_kernel ? 1 : tasks, 1, channels, grid.places() * channels, threads);
    std::vector<Sources> kinds;
    for (int64_t row = 0; row < grid.stride; ++row)
        for (int64_t column = 0; column < grid.stride; ++column) kinds.push_back(of_images(grid, row, column));
    gather<Real>(kinds, y, grid.patches(), outputs, panels, one_kernel, nullptr, x, grid.pixels(), tasks, images,
                 threads);
}

template <class Real>
void correlate(const Real *x, const Real *y, Real *weight, Real *bias, int64_t tasks, int64_t images, int64_t channels,
               int64_t outputs, const Grid &grid, int threads) {
    const int64_t together = grid.together(channels), places = grid.places() / together, inputs = together * channels;
    const int64_t pixels = grid.patches(), all = images * pixels, stride = places * inputs;
    // lines are put side by side, to fill a tile's columns
    const int64_t joined = together > 1 ? places : 1, columns = joined * inputs;
    // a thread takes some of the places of a task, one after the other for the same pixels
    const int64_t shares = tasks % threads == 0 ? 1 : std::min(places / joined, grid.kernel);
    const int64_t share = parts(places, shares);
    const Sources sources = of_maps(grid, together);
    const std::vector<Real> nothing(inputs);
#pragma omp parallel num_threads(threads)
    {
        RowTiles<Real> rows(outputs, true);
        ColumnTiles<Real> others(columns, false);
        std::vector<Real> patch(columns + TILE_COLUMNS<Real>), sums(outputs);
        std::vector<double> totals(outputs);
#pragma omp for collapse(2) schedule(dynamic)
        for (int64_t task = 0; task < tasks; ++task)
            for (int64_t first = 0; first < places; first += share) {
                Real *kernel = weight + task * outputs * stride;
                std::fill(totals.begin(), totals.end(), 0.0);
                for (int64_t begin = 0; begin < std::max<int64_t>(all, 1); begin += SPAN) {
                    const int64_t count = std::min(all - begin, SPAN);
                    std::fill(sums.begin(), sums.end(), Real(0));
                    for (int64_t k = 0; k < count; ++k) {
                        const Real *row = y + (task * all + begin + k) * outputs;
                        rows.put(k, row, outputs);
                        if (first == 0)
                            for (int64_t output = 0; output < outputs; ++output) sums[output] += row[output];
                    }
                    for (int64_t output = 0; output < outputs; ++output) totals[output] += sums[output];
                    for (int64_t place = first; place < first + share; place += joined) {
                        int64_t image = task * images + begin / pixels, pixel = begin % pixels;
                        for (int64_t k = 0; k < count; ++k) {
                            const Real *source = x + image * grid.pixels() * channels, *other = nullptr;
                            for (int64_t run = 0; run < joined; ++run) {
                                Real *line = &patch[run * inputs];
                                other = values(sources.from[pixel * places + place + run], source, together, channels,
                                               nothing.data(), line);
                                if (joined > 1 && other != line) copy_line(other, inputs, line);
                            }
                            others.put(k, joined > 1 ? patch.data() : other, joined > 1 ? patch.size() : columns);
                            if (++pixel == pixels) pixel = 0, ++image;
                        }
                        outer_tiles(count, rows, others, kernel + place * inputs, stride, begin == 0);
                    }
                }
                if (first == 0) std::copy(totals.begin(), totals.end(), bias + task * outputs);
            }
    }
}

}  // namespace

#define EXPORT(NAME, REAL)                                                                                       \
    extern "C" void convolve_##NAME(const REAL *x, const REAL *weight, const REAL *bias, REAL *y, int64_t tasks, \
                                    int64_t images, int64_t channels, int64_t outputs, int64_t one_kernel,       \
                                    const Grid *grid, int threads) {                                             \
        convolve(x, weight, bias, y, tasks, images, channels, outputs, one_kernel, *grid, threads);              \
    }                                                                                                            \
    extern "C" void spread_##NAME(const REAL *y, const REAL *weight, REAL *x, int64_t tasks, int64_t images,     \
                                  int64_t channels, int64_t outputs, int64_t one_kernel, const Grid *grid,       \
                                  int threads) {                                                                 \
        spread(y, weight, x, tasks, images, channels, outputs, one_kernel, *grid, threads);                      \
    }                                                                                                            \
    extern "C" void correlate_##NAME(const REAL *x, const REAL *y, REAL *weight, REAL *bias, int64_t tasks,      \
                                     int64_t images, int64_t channels, int64_t outputs, const Grid *grid,        \
                                     int threads) {                                                              \
        correlate(x, y, weight, bias, tasks, images, channels, outputs, *grid, threads);                         \
    }

EXPORT(float, float)
EXPORT(double, double)
