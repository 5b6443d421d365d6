// Batch normalisation of many batches, optionally followed by a ReLU and 2x2 max-pooling, and its derivatives.
//
// A batch is M images [H, W, C], or without max-pooling one image of R rows, [R, 1, C]. Its outputs are y = scale (x -
// mean) + bias with scale = weight / sigma; then, with `relu`, max(y, 0); then, with `pool`, the largest of each 2x2
// window. Of the activations only x is kept: which values the ReLU and the maximum pass is recomputed from x. Sums are
// taken over strips of rows, within a strip in Real and over strips in double, in an order that does not depend on the
// number of threads.
#include <algorithm>
#include <cmath>
#include <vector>

#include "simd.hpp"

namespace {

constexpr int64_t STRIP = 256;         // rows of channels, which stay in the L2 cache
constexpr int64_t CACHED = 1'000'000;  // values of batches that are processed together

struct Shape {
    int64_t batches, images, height, width, channels;
    int64_t relu, pool, keep_odd;  // keep_odd: an odd last row or column has its own windows, otherwise none

    int64_t side() const { return pool ? 2 : 1; }
    int64_t lines() const { return (height + side() - 1) / side(); }
    int64_t columns() const { return (width + side() - 1) / side(); }
    int64_t out_lines() const { return pool && !keep_odd ? height / 2 : lines(); }
    int64_t out_columns() const { return pool && !keep_odd ? width / 2 : columns(); }
    int64_t rows() const { return images * height * width; }
    int64_t out_rows() const { return images * out_lines() * out_columns(); }
    // How many lines of windows, over all images of a batch, make a strip, and how many strips a batch has.
    int64_t strip() const { return std::max<int64_t>(1, STRIP / (side() * width)); }
    int64_t strips() const { return std::max<int64_t>(1, (images * lines() + strip() - 1) / strip()); }
};

// Indices of a window's pixels among a batch's values, and of its output among the rows of outputs, or -1.
struct Window {
    int64_t first;
    const int64_t *steps;
    int64_t channels, out;

    int64_t pixel(int k) const { return first + steps[k] * channels; }
};

// Calls work.template operator()<K>(row, step, out) for each window of a strip: its K pixels are the rows `row +
// step[k]` of the batch, and its output is row `out`, or -1 if it has none.
template <class Work>
inline void windows(const Shape &shape, int64_t strip, const Work &work) {
    const int64_t last = std::min(shape.images * shape.lines(), (strip + 1) * shape.strip());
    for (int64_t line = strip * shape.strip(); line < last; ++line) {
        const int64_t no_step[1] = {0};
        if (!shape.pool) {
            work.template operator()<1>(line, no_step, line);
            continue;
        }
        const int64_t image = line / shape.lines(), i = line % shape.lines();
        const int64_t row = (image * shape.height + 2 * i) * shape.width;
        const int64_t out = (image * shape.out_lines() + i) * shape.out_columns();
        const bool below = 2 * i + 1 < shape.height;
        for (int64_t j = 0; j < shape.columns(); ++j) {
            const bool beside = 2 * j + 1 < shape.width;
            const int64_t first = row + 2 * j;
            const int64_t to = i < shape.out_lines() && j < shape.out_columns() ? out + j : -1;
            const int64_t step[4] = {0, beside ? 1 : shape.width, shape.width, shape.width + 1};
            if (below && beside)
                work.template operator()<4>(first, step, to);
            else if (below || beside)
                work.template operator()<2>(first, step, to);
            else
                work.template operator()<1>(first, step, to);
        }
    }
}

// The largest output of a window in one channel: its value, its pixel (the first of equal ones; -1 if a ReLU lets
// nothing pass, at zero and below), and that pixel minus the mean. Values are vectors or numbers.
template <class Values>
struct Largest {
    Values value, which, centred;
};

template <class Real, int K, bool RELU, class Values>
inline Largest<Values> largest(const Values (&centred)[K], Values scale, Values bias) {
    const Values zero = {};
    Values value = centred[0] * scale + bias, which = zero, of = centred[0];
    for (int k = 1; k < K; ++k) {
        const Values other = centred[k] * scale + bias;
        const auto less = other <= value;
        value = less ? value : other, which = less ? which : zero + Real(k), of = less ? of : centred[k];
    }
    if (RELU) {
        const auto none = value <= zero;
        which = none ? zero - Real(1) : which, value = none ? zero : value;
    }
    return {value, which, of};
}

template <class Values, class Real>
inline void add(Real *to, const Values &values) {
    store(to, load<Values>(to) + values);
}

template <class Real>
inline void add_to(double *totals, const std::vector<Real> &sums) {
    for (size_t c = 0; c < sums.size(); ++c) totals[c] += sums[c];
}

// Calls work(batch, strip) for all strips of all batches, on several threads.
template <class Work>
void over_strips(const Shape &shape, int threads, const Work &work) {
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
    for (int64_t batch = 0; batch < shape.batches; ++batch)
        for (int64_t strip = 0; strip < shape.strips(); ++strip) work(batch, strip);
}

// Sums of `count` quantities over each batch and channel, [batches, count, channels], from the sums over its strips.
struct Sums {
    int64_t count, channels, strips;
    std::vector<double> of_strips;

    Sums(const Shape &shape, int64_t count)
        : count(count),
          channels(shape.channels),
          strips(shape.strips()),
          of_strips(shape.batches * strips * count * channels) {}

    double *strip(int64_t batch, int64_t strip) { return &of_strips[(batch * strips + strip) * count * channels]; }

    // The totals of a batch, [count, channels], times a factor; they overwrite the first strip's sums.
    const double *batch(int64_t batch, double factor) {
        double *totals = strip(batch, 0);
        for (int64_t other = 1; other < strips; ++other) {
            const double *more = strip(batch, other);
            for (int64_t c = 0; c < count * channels; ++c) totals[c] += more[c];
        }
        for (int64_t c = 0; c < count * channels; ++c) totals[c] *= factor;
        return totals;
    }
};

// Batches x with their statistics and parameters, and a walk over the normalised windows.
template <bool RELU, class Real>
class Normalised {
public:
    const Shape &shape;
    const int64_t C;
    std::vector<Real> scale;  // weight / sigma, [batches, channels]

    Normalised(const Shape &shape, const Real *x, const Real *weight, const Real *bias, int64_t step, const Real *mean,
               const Real *inverse)
        : shape(shape),
          C(shape.channels),
          scale(inverse, inverse + shape.batches * C),
          x(x),
          bias(bias),
          mean(mean),
          step(step),
          zeros(C) {
        if (!weight) return;
        for (int64_t batch = 0; batch < shape.batches; ++batch)
            for (int64_t c = 0; c < C; ++c) scale[batch * C + c] *= weight[batch * step + c];
    }

    // Calls work.template operator()<K, V>(window, c, centred, top) for each window of a strip and the channels from c
    // on that fit V: `centred` are the window's K pixels minus the mean, `top` is the largest output.
    template <class Work>
    void walk(int64_t batch, int64_t strip, const Work &work) const {
        const Real *own_bias = bias ? bias + batch * step : zeros.data();
        const Real *m = mean + batch * C, *s = &scale[batch * C], *rows = x + batch * shape.rows() * C;
        windows(shape, strip, [&]<int K>(int64_t row, const int64_t *steps, int64_t out) {
            const Window window{row * C, steps, C, out};
            over<Real>(C, [&]<class V>(int64_t c) {
                V centred[K];
                for (int k = 0; k < K; ++k) centred[k] = load<V>(rows + window.pixel(k) + c) - load<V>(m + c);
                const auto top = largest<Real, K, RELU>(centred, load<V>(s + c), load<V>(own_bias + c));
                work.template operator()<K, V>(window, c, centred, top);
            });
        });
    }

private:
    const Real *x, *bias, *mean;
    int64_t step;
    std::vector<Real> zeros;
};

// Mean and 1 / sigma of each batch, combined from each strip's mean and squared deviations as in Chan, Golub and
// LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances" (1979).
template <class Real>
void statistics(const Shape &shape, const Real *x, double eps, Real *mean, Real *inverse, int threads) {
    const int64_t C = shape.channels, line = shape.side() * shape.width;
    Sums sums(shape, 2);
    auto range = [&](int64_t strip) {
        // lines of windows follow one another; an odd last line of an image is shorter
        auto first = [&](int64_t at) {
            return at / shape.lines() * shape.height * shape.width + at % shape.lines() * line;
        };
        const int64_t end = std::min(shape.images * shape.lines(), (strip + 1) * shape.strip());
        return std::pair(first(strip * shape.strip()), first(end));
    };
    over_strips(shape, threads, [&](int64_t batch, int64_t strip) {
        const auto [begin, end] = range(strip);
        const Real *rows = x + batch * shape.rows() * C;
        std::vector<Real> sum(C), squares(C);
        for (int64_t row = begin; row < end; ++row)
            for (int64_t c = 0; c < C; ++c) sum[c] += rows[row * C + c];
        for (int64_t c = 0; c < C; ++c) sum[c] /= Real(std::max<int64_t>(1, end - begin));
        for (int64_t row = begin; row < end; ++row)
            for (int64_t c = 0; c < C; ++c) {
                const Real centred = rows[row * C + c] - sum[c];
                squares[c] += centred * centred;
            }
        double *to = sums.strip(batch, strip);
        for (int64_t c = 0; c < C; ++c) to[c] = sum[c], to[C + c] = squares[c];
    });
    for (int64_t batch = 0; batch < shape.batches; ++batch)
        for (int64_t c = 0; c < C; ++c) {
            double count = 0, m = 0, squares = 0;
            for (int64_t strip = 0; strip < shape.strips(); ++strip) {
                const auto [begin, end] = range(strip);
                const double more = end - begin, apart = sums.strip(batch, strip)[c] - m;
                if (more == 0) continue;
                m += apart * more / (count + more);
                squares += sums.strip(batch, strip)[C + c] + apart * apart * count * more / (count + more);
                count += more;
            }
            mean[batch * C + c] = Real(m);
            inverse[batch * C + c] = Real(1 / std::sqrt(squares / shape.rows() + eps));
        }
}

template <bool RELU, class Real>
void forward(const Shape &shape, const Real *x, const Real *weight, const Real *bias, int64_t step, double eps, Real *y,
             Real *mean, Real *inverse, int threads) {
    statistics(shape, x, eps, mean, inverse, threads);
    const Normalised<RELU, Real> batches(shape, x, weight, bias, step, mean, inverse);
    const int64_t C = batches.C;
    over_strips(shape, threads, [&](int64_t batch, int64_t strip) {
        Real *to = y + batch * shape.out_rows() * C;
        batches.walk(batch, strip,
                     [&]<int K, class V>(const Window &window, int64_t c, const V(&)[K], const auto &top) {
                         if (window.out >= 0) store(to + window.out * C + c, top.value);
                     });
    });
}

// Gradients of x, and of weight and bias, [batches, channels], given the outputs' gradient g.
template <bool RELU, class Real>
void backward(const Shape &shape, const Real *g, const Real *x, const Real *weight, const Real *bias, int64_t step,
              const Real *mean, const Real *inverse, Real *of_x, Real *of_weight, Real *of_bias, int threads) {
    const Normalised<RELU, Real> batches(shape, x, weight, bias, step, mean, inverse);
    const int64_t C = batches.C, out_rows = shape.out_rows();
    const std::vector<Real> &scale = batches.scale, zeros(C);
    Sums sums(shape, 2);
    over_strips(shape, threads, [&](int64_t batch, int64_t strip) {
        const Real *gradients = g + batch * out_rows * C;
        std::vector<Real> sum_g(C), sum_gx(C);
        batches.walk(batch, strip,
                     [&]<int K, class V>(const Window &window, int64_t c, const V(&)[K], const auto &top) {
                         if (window.out < 0) return;
                         const V zero = {}, passed = top.which < zero ? zero : load<V>(gradients + window.out * C + c);
                         add(&sum_g[c], passed), add(&sum_gx[c], passed * top.centred);
                     });
        double *to = sums.strip(batch, strip);
        add_to(to, sum_g), add_to(to + C, sum_gx);
    });
    std::vector<Real> offset(shape.batches * C), slope(shape.batches * C);
    for (int64_t batch = 0; batch < shape.batches; ++batch) {
        const double *means = sums.batch(batch, 1.0 / shape.rows());
        for (int64_t c = 0, at = batch * C; c < C; ++c, ++at) {
            const double mean_g = means[c], mean_gn = means[C + c] * inverse[at];
            of_weight[at] = Real(shape.rows() * mean_gn), of_bias[at] = Real(shape.rows() * mean_g);
            offset[at] = Real(-scale[at] * mean_g), slope[at] = Real(-scale[at] * mean_gn * inverse[at]);
        }
    }
    over_strips(shape, threads, [&](int64_t batch, int64_t strip) {
        const Real *s = &scale[batch * C], *o = &offset[batch * C], *l = &slope[batch * C];
        const Real *gradients = g + batch * out_rows * C;
        Real *to = of_x + batch * shape.rows() * C;
        batches.walk(batch, strip,
                     [&]<int K, class V>(const Window &window, int64_t c, const V(&centred)[K], const auto &top) {
                         const Real *gradient = window.out < 0 ? zeros.data() : gradients + window.out * C;
                         const V zero = {};
                         for (int k = 0; k < K; ++k) {
                             const V passed = top.which == zero + Real(k) ? load<V>(gradient + c) : zero;
                             store(to + window.pixel(k) + c,
                                   load<V>(s + c) * passed + load<V>(o + c) + load<V>(l + c) * centred[k]);
                         }
                     });
    });
}

// Gradients of g, x and weight, given the gradients v, v_weight and v_bias of the gradients of x, weight and bias.
template <bool RELU, class Real>
void second(const Shape &shape, const Real *g, const Real *x, const Real *weight, const Real *bias, int64_t step,
            const Real *mean, const Real *inverse, const Real *v, const Real *v_weight, const Real *v_bias, Real *of_g,
            Real *of_x, Real *of_weight, int threads) {
    const Normalised<RELU, Real> batches(shape, x, weight, bias, step, mean, inverse);
    const int64_t C = batches.C, out_rows = shape.out_rows();
    const std::vector<Real> &scale = batches.scale, zeros(C);
    Sums sums(shape, 5);
    over_strips(shape, threads, [&](int64_t batch, int64_t strip) {
        const Real *gradients = g + batch * out_rows * C, *others = v + batch * shape.rows() * C;
        std::vector<Real> sum_g(C), sum_gx(C), sum_v(C), sum_vx(C), sum_vg(C);
        batches.walk(batch, strip,
                     [&]<int K, class V>(const Window &window, int64_t c, const V(&centred)[K], const auto &top) {
                         const Real *gradient = window.out < 0 ? zeros.data() : gradients + window.out * C;
                         const V zero = {}, passed = top.which < zero ? zero : load<V>(gradient + c);
                         V all_v = zero, all_vx = zero, at_top = zero;
                         for (int k = 0; k < K; ++k) {
                             const V of_v = load<V>(others + window.pixel(k) + c);
                             all_v += of_v, all_vx += of_v * centred[k];
                             at_top = top.which == zero + Real(k) ? of_v : at_top;
                         }
                         add(&sum_g[c], passed), add(&sum_gx[c], passed * top.centred), add(&sum_v[c], all_v);
                         add(&sum_vx[c], all_vx), add(&sum_vg[c], at_top * passed);
                     });
        double *to = sums.strip(batch, strip);
        add_to(to, sum_g), add_to(to + C, sum_gx), add_to(to + 2 * C, sum_v), add_to(to + 3 * C, sum_vx);
        add_to(to + 4 * C, sum_vg);
    });
    // gradient of g: scale v + g_1 + g_x centred; of x: x_v v + x_g g + x_1 + x_x centred
    enum { G_1, G_X, X_V, X_G, X_1, X_X, FACTORS };
    std::vector<Real> factors(shape.batches * FACTORS * C);
    for (int64_t batch = 0; batch < shape.batches; ++batch) {
        const double *means = sums.batch(batch, 1.0 / shape.rows());
        Real *factor = &factors[batch * FACTORS * C];
        for (int64_t c = 0, at = batch * C; c < C; ++c, ++at) {
            const double n = inverse[at], w = scale[at], mean_g = means[c], mean_gn = means[C + c] * n;
            const double mean_v = means[2 * C + c], mean_vn = means[3 * C + c] * n;
            const double q = means[4 * C + c] - mean_v * mean_g - mean_vn * mean_gn;
            const double of_v = -w * mean_gn, by_g = v_weight[at] - w * mean_vn;
            const double of_n = -of_v * mean_vn - by_g * mean_gn - w * q;
            factor[G_1 * C + c] = Real(v_bias[at] - w * mean_v), factor[G_X * C + c] = Real(by_g * n);
            factor[X_V * C + c] = Real(of_v * n), factor[X_G * C + c] = Real(by_g * n);
            factor[X_1 * C + c] = Real(-(of_v * mean_v + by_g * mean_g) * n);
            factor[X_X * C + c] = Real(of_n * n * n), of_weight[at] = Real(shape.rows() * n * q);
        }
    }
    over_strips(shape, threads, [&](int64_t batch, int64_t strip) {
        const Real *s = &scale[batch * C], *f = &factors[batch * FACTORS * C];
        const Real *gradients = g + batch * out_rows * C, *others = v + batch * shape.rows() * C;
        Real *to_g = of_g + batch * out_rows * C, *to_x = of_x + batch * shape.rows() * C;
        batches.walk(batch, strip,
                     [&]<int K, class V>(const Window &window, int64_t c, const V(&centred)[K], const auto &top) {
                         const Real *gradient = window.out < 0 ? zeros.data() : gradients + window.out * C;
                         auto factor = [&](int64_t which) { return load<V>(f + which * C + c); };
                         const V zero = {};
                         V of_passed = zero;
                         for (int k = 0; k < K; ++k) {
                             const auto passes = top.which == zero + Real(k);
                             const V passed = passes ? load<V>(gradient + c) : zero;
                             const V of_v = load<V>(others + window.pixel(k) + c);
                             const V here = load<V>(s + c) * of_v + factor(G_1) + factor(G_X) * centred[k];
                             of_passed = passes ? here : of_passed;
                             store(to_x + window.pixel(k) + c,
                                   factor(X_V) * of_v + factor(X_G) * passed + factor(X_1) + factor(X_X) * centred[k]);
                         }
                         if (window.out >= 0) store(to_g + window.out * C + c, of_passed);
                     });
    });
}

// Calls work(part, first) for parts of the batches, from `first` on: CACHED values, or one batch per thread if that is
// more, so that values which one pass reads are still in the cache for the next.
template <class Work>
void over_parts(const Shape &shape, int threads, const Work &work) {
    const int64_t values = std::max<int64_t>(1, shape.rows() * shape.channels);
    const int64_t size = std::max<int64_t>(threads, CACHED / values);
    for (int64_t first = 0; first < shape.batches; first += size) {
        Shape part = shape;
        part.batches = std::min(size, shape.batches - first);
        work(part, first);
    }
}

// The values of the batches from `first` on, `size` per batch; null if `values` is null.
template <class Real>
Real *from(int64_t first, int64_t size, Real *values) {
    return values ? values + first * size : nullptr;
}

}  // namespace

#define BY_RELU(FUNCTION, ...) (part.relu ? FUNCTION<true>(part, __VA_ARGS__) : FUNCTION<false>(part, __VA_ARGS__))

#define EXPORT(NAME, REAL)                                                                                             \
    EXPORTED void batch_norm_##NAME(const REAL *x, const REAL *weight, const REAL *bias, REAL *y, REAL *mean,          \
                                    REAL *inverse, int64_t step, double eps, const Shape *shape, int threads) {        \
        const int64_t in = shape->rows() * shape->channels, out = shape->out_rows() * shape->channels;                 \
        over_parts(*shape, threads, [&](const Shape &part, int64_t b) {                                                \
            const int64_t c = shape->channels;                                                                         \
            BY_RELU(forward, from(b, in, x), from(b, step, weight), from(b, step, bias), step, eps, from(b, out, y),   \
                    from(b, c, mean), from(b, c, inverse), threads);                                                   \
        });                                                                                                            \
    }                                                                                                                  \
    EXPORTED void batch_norm_backward_##NAME(const REAL *g, const REAL *x, const REAL *weight, const REAL *bias,       \
                                             const REAL *mean, const REAL *inverse, REAL *of_x, REAL *of_weight,       \
                                             REAL *of_bias, int64_t step, const Shape *shape, int threads) {           \
        const int64_t in = shape->rows() * shape->channels, out = shape->out_rows() * shape->channels;                 \
        over_parts(*shape, threads, [&](const Shape &part, int64_t b) {                                                \
            const int64_t c = shape->channels;                                                                         \
            BY_RELU(backward, from(b, out, g), from(b, in, x), from(b, step, weight), from(b, step, bias), step,       \
                    from(b, c, mean), from(b, c, inverse), from(b, in, of_x), from(b, c, of_weight),                   \
                    from(b, c, of_bias), threads);                                                                     \
        });                                                                                                            \
    }                                                                                                                  \
    EXPORTED void batch_norm_second_##NAME(const REAL *g, const REAL *x, const REAL *weight, const REAL *bias,         \
                                           const REAL *mean, const REAL *inverse, const REAL *v, const REAL *v_weight, \
                                           const REAL *v_bias, REAL *of_g, REAL *of_x, REAL *of_weight, int64_t step,  \
                                           const Shape *shape, int threads) {                                          \
        const int64_t in = shape->rows() * shape->channels, out = shape->out_rows() * shape->channels;                 \
        over_parts(*shape, threads, [&](const Shape &part, int64_t b) {                                                \
            const int64_t c = shape->channels;                                                                         \
            BY_RELU(second, from(b, out, g), from(b, in, x), from(b, step, weight), from(b, step, bias), step,         \
                    from(b, c, mean), from(b, c, inverse), from(b, in, v), from(b, c, v_weight), from(b, c, v_bias),   \
                    from(b, out, of_g), from(b, in, of_x), from(b, c, of_weight), threads);                            \
        });                                                                                                            \
    }

EXPORT(float, float)
EXPORT(double, double)
