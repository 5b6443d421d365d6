// Locations of the values that a convolution and its adjoints multiply.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "simd.hpp"

// Images with fewer channels are read by patches, whose values lie in a few lines, because single pixels are too short.
constexpr int64_t SHORT_ROW = 8;

inline int64_t parts(int64_t total, int64_t size) { return (total + size - 1) / size; }

// Sizes of the images, their maps and the patches in between; the fields are `Grid.numbers` of networks/grid.py.
struct Grid {
    int64_t height, width, down, across, kernel, stride, top, left;

    int64_t places() const { return kernel * kernel; }
    int64_t pixels() const { return height * width; }
    int64_t patches() const { return down * across; }
    // How many places of a kernel are read together.
    int64_t together(int64_t channels) const { return channels < SHORT_ROW ? places() : 1; }
};

constexpr int32_t OUTSIDE = -1;

// Outputs that use the same places of the kernel, and the locations of the values that each place multiplies.
struct Sources {
    std::vector<int64_t> places;  // of the kernel; only 0 if images are read by patches
    std::vector<int32_t> from;    // [outputs, places]: index of the first value in the source image, or OUTSIDE
    std::vector<int64_t> to;      // [outputs]: pixel of the output image
};

inline Sources of_maps(const Grid &grid, int64_t channels) {
    Sources sources;
    const int64_t together = grid.together(channels);
    for (int64_t place = 0; place < grid.places() / together; ++place) sources.places.push_back(place);
    for (int64_t i = 0; i < grid.down; ++i)
        for (int64_t j = 0; j < grid.across; ++j) {
            sources.to.push_back(i * grid.across + j);
            for (int64_t place : sources.places) {
                int64_t row = i * grid.stride + place / grid.kernel - grid.top;
                int64_t column = j * grid.stride + place % grid.kernel - grid.left;
                bool inside = row >= 0 && row < grid.height && column >= 0 && column < grid.width;
                sources.from.push_back(inside ? (row * grid.width + column) * channels : OUTSIDE);
            }
        }
    return sources;
}

// Pixels of the image whose padded row and column leave the remainders `row` and `column` when divided by the stride
// lie under the same places of the kernel.
inline Sources of_images(const Grid &grid, int64_t outputs, int64_t row, int64_t column) {
    Sources sources;
    for (int64_t u = row; u < grid.kernel; u += grid.stride)
        for (int64_t v = column; v < grid.kernel; v += grid.stride) sources.places.push_back(u * grid.kernel + v);
    for (int64_t r = 0; r < grid.height; ++r)
        for (int64_t c = 0; c < grid.width; ++c) {
            if ((r + grid.top) % grid.stride != row || (c + grid.left) % grid.stride != column) continue;
            sources.to.push_back(r * grid.width + c);
            for (int64_t place : sources.places) {
                int64_t i = r + grid.top - place / grid.kernel, j = c + grid.left - place % grid.kernel;
                bool inside = i >= 0 && j >= 0 && i / grid.stride < grid.down && j / grid.stride < grid.across;
                int64_t pixel = i / grid.stride * grid.across + j / grid.stride;
                sources.from.push_back(inside ? pixel * outputs : OUTSIDE);
            }
        }
    return sources;
}

// The values at `from` in an image, or zeros. Without a branch, which would be mispredicted at the borders of small
// images.
template <class Real>
inline const Real *values(int32_t from, const Real *image, const Real *zeros) {
    const intptr_t inside = ~(intptr_t(from) >> 63), apart = intptr_t(image + from) - intptr_t(zeros);
    return reinterpret_cast<const Real *>(intptr_t(zeros) + (apart & inside));
}

// Images that are read by patches get their padding, so that each patch is complete; other images are not copied.
template <class Real>
class Images {
public:
    Grid grid;
    const Real *values;
    std::vector<int64_t> offsets;  // of values that are read together, relative to the first

    Images(const Real *x, int64_t images, int64_t channels, const Grid &grid, int threads) : grid(grid), values(x) {
        const int64_t together = grid.together(channels);
        for (int64_t value = 0; value < together * channels; ++value) offsets.push_back(value);
        if (together == 1) return;
        Grid &own = this->grid;
        own.height = std::max(grid.height + grid.top, (grid.down - 1) * grid.stride + grid.kernel);
        own.width = std::max(grid.width + grid.left, (grid.across - 1) * grid.stride + grid.kernel);
        own.top = own.left = 0;
        const int64_t line = grid.width * channels, own_line = own.width * channels;
        padded.reset(new Real[images * own.pixels() * channels]());
#pragma omp parallel for num_threads(threads) schedule(static)
        for (int64_t image = 0; image < images; ++image) {
            Real *to = &padded[image * own.pixels() * channels + grid.top * own_line + grid.left * channels];
            for (int64_t row = 0; row < grid.height; ++row)
                std::copy_n(x + (image * grid.height + row) * line, line, to + row * own_line);
        }
        values = padded.get();
        const int64_t in_line = grid.kernel * channels;
        for (int64_t &offset : offsets) offset = offset / in_line * own_line + offset % in_line;
    }

private:
    std::unique_ptr<Real[]> padded;
};
