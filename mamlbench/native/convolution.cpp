// The three bilinear maps of a convolution with one kernel per task, without patches in memory.
//
// Channels are last: images [T, M, H, W, C], maps [T, M, h, w, O], kernels [T, O, k, k, C]. Each output is a sum over
// rows of channels at known places, so a tile of outputs needs only the addresses of those rows and no copies; places
// outside an image read a row of zeros. The order of an output's sum depends neither on the other tasks and images nor
// on the number of threads.
//
// The tiles follow Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (TOMS 2008); the
// addresses follow Dukhan, "The Indirect Convolution Algorithm" (arXiv 1907.02129).
#include "correlate.hpp"
#include "gather.hpp"

namespace {

template <class Real>
void convolve(const Real *x, const Real *weight, const Real *bias, Real *y, int64_t tasks, int64_t images,
              int64_t channels, int64_t outputs, bool one_kernel, const Grid &grid, int threads) {
    const int64_t together = grid.together(channels), inputs = together * channels;
    Panels<Real> panels{grid.places() / together, inputs, outputs};
    panels.fill(weight, bias, one_kernel ? 1 : tasks, grid.places() * channels, inputs, 1, threads);
    const Images<Real> from(x, tasks * images, channels, grid, threads);
    gather({of_maps(from.grid, channels)}, from.values, from.grid.pixels(), channels,
           together > 1 ? from.offsets.data() : nullptr, panels, one_kernel, y, grid.patches(), tasks, images, threads);
}

template <class Real>
void spread(const Real *y, const Real *weight, Real *x, int64_t tasks, int64_t images, int64_t channels,
            int64_t outputs, bool one_kernel, const Grid &grid, int threads) {
    Panels<Real> panels{grid.places(), outputs, channels};
    panels.fill(weight, nullptr, one_kernel ? 1 : tasks, 1, channels, grid.places() * channels, threads);
    std::vector<Sources> kinds;
    for (int64_t row = 0; row < grid.stride; ++row)
        for (int64_t column = 0; column < grid.stride; ++column) kinds.push_back(of_images(grid, outputs, row, column));
    gather<Real>(kinds, y, grid.patches(), outputs, nullptr, panels, one_kernel, x, grid.pixels(), tasks, images,
                 threads);
}

template <class Real>
void correlate(const Real *x, const Real *y, Real *weight, Real *bias, int64_t tasks, int64_t images, int64_t channels,
               int64_t outputs, const Grid &grid, int threads) {
    const Images<Real> sources(x, tasks * images, channels, grid, threads);
    if (grid.together(channels) > 1)
        correlate_patches(sources, y, weight, bias, tasks, images, channels, outputs, threads);
    else
        correlate_pixels(x, y, weight, bias, tasks, images, channels, outputs, grid, threads);
}

}  // namespace

#define EXPORT(NAME, REAL)                                                                                             \
    EXPORTED void convolve_##NAME(const REAL *x, const REAL *weight, const REAL *bias, REAL *y, int64_t tasks,         \
                                  int64_t images, int64_t channels, int64_t outputs, int64_t one_kernel,               \
                                  const Grid *grid, int threads) {                                                     \
        convolve(x, weight, bias, y, tasks, images, channels, outputs, one_kernel, *grid, threads);                    \
    }                                                                                                                  \
    EXPORTED void spread_##NAME(const REAL *y, const REAL *weight, REAL *x, int64_t tasks, int64_t images,             \
                                int64_t channels, int64_t outputs, int64_t one_kernel, const Grid *grid,               \
                                int threads) {                                                                         \
        spread(y, weight, x, tasks, images, channels, outputs, one_kernel, *grid, threads);                            \
    }                                                                                                                  \
    EXPORTED void correlate_##NAME(const REAL *x, const REAL *y, REAL *weight, REAL *bias, int64_t tasks,              \
                                   int64_t images, int64_t channels, int64_t outputs, const Grid *grid, int threads) { \
        correlate(x, y, weight, bias, tasks, images, channels, outputs, *grid, threads);                               \
    }

EXPORT(float, float)
EXPORT(double, double)
