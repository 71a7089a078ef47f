#include "resize.hpp"

#include <algorithm>
#include <cmath>

#include "cpu.hpp"

#ifdef ZPIPE_AVX2
#include <immintrin.h>
#endif

namespace zpipe {

namespace {

constexpr int one = 2048; // of the weights

int16_t to_weight(float weight) {
    return static_cast<int16_t>(std::lrint(weight * static_cast<float>(one)));
}

// Sampling with half-pixel centres: output i lies at (i + 0.5) * from / to - 0.5 of the source. At the ends cv2 takes
// the outermost column with full weight, but the outermost row twice with split weights; that shows in the last bit.
void fill_taps(std::vector<Tap>& taps, int from, int to, bool columns) {
    taps.resize(to);
    const double ratio = 1.0 / (static_cast<double>(to) / from);
    for (int i = 0; i < to; ++i) {
        const auto position = static_cast<float>((i + 0.5) * ratio - 0.5);
        int first = static_cast<int>(std::floor(position));
        float weight = position - static_cast<float>(first);
        if (columns && (first < 0 || first >= from - 1)) {
            first = std::clamp(first, 0, from - 1);
            weight = 0;
        }
        taps[i] = {std::clamp(first, 0, from - 1), std::clamp(first + 1, 0, from - 1), to_weight(1.0f - weight),
                   to_weight(weight)};
    }
}

// The two source rows and their weights.
struct RowTask {
    const uint8_t* upper;
    const uint8_t* lower;
    int upper_weight;
    int lower_weight;
};

void resize_row_plain(const RowTask& task, const std::vector<Tap>& columns, int from, const Affine& affine,
                      const std::array<float*, 3>& planes) {
    const auto blend = [](const uint8_t* row, const Tap& tap, int c) {
        return (row[3 * tap.first + c] * tap.first_weight + row[3 * tap.second + c] * tap.second_weight) >> 4;
    };
    for (int x = from; x < static_cast<int>(columns.size()); ++x) {
        for (int c = 0; c < 3; ++c) {
            const int upper = (blend(task.upper, columns[x], c) * task.upper_weight) >> 16;
            const int lower = (blend(task.lower, columns[x], c) * task.lower_weight) >> 16;
            const int level = std::clamp((upper + lower + 2) >> 2, 0, 255);
            planes[c][x] = static_cast<float>(level) * affine.factor[c] + affine.offset[c];
        }
    }
}

#ifdef ZPIPE_AVX2
// One output pixel of one source row as four words [B, G, R, 0]: the eight bytes at its offset hold both pixels that
// it is made of.
ZPIPE_AVX2 inline __m128i blend_avx2(const uint8_t* row, int offset, int weights) {
    const __m128i pairs = _mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1);
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(row + offset));
    return _mm_srai_epi32(_mm_madd_epi16(_mm_shuffle_epi8(bytes, pairs), _mm_set1_epi32(weights)), 4);
}

// Two output pixels as [B, G, R, 0, B, G, R, 0].
ZPIPE_AVX2 inline __m128i two_pixels_avx2(const RowTask& task, const int* offsets, const int* weights) {
    const __m128i upper =
        _mm_packs_epi32(blend_avx2(task.upper, offsets[0], weights[0]), blend_avx2(task.upper, offsets[1], weights[1]));
    const __m128i lower =
        _mm_packs_epi32(blend_avx2(task.lower, offsets[0], weights[0]), blend_avx2(task.lower, offsets[1], weights[1]));
    const __m128i sum = _mm_add_epi16(_mm_mulhi_epi16(upper, _mm_set1_epi16(static_cast<short>(task.upper_weight))),
                                      _mm_mulhi_epi16(lower, _mm_set1_epi16(static_cast<short>(task.lower_weight))));
    return _mm_srai_epi16(_mm_add_epi16(sum, _mm_set1_epi16(2)), 2);
}

// Four pixels at a time; returns how many columns were written.
ZPIPE_AVX2 int resize_row_avx2(const RowTask& task, const int* offsets, const int* weights, int count,
                               const Affine& affine, const std::array<float*, 3>& planes) {
    const __m128i by_channel = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    int x = 0;
    for (; x + 4 <= count; x += 4) {
        const __m128i pixels = _mm_packus_epi16(two_pixels_avx2(task, offsets + x, weights + x),
                                                two_pixels_avx2(task, offsets + x + 2, weights + x + 2));
        const __m128i channels = _mm_shuffle_epi8(pixels, by_channel);
        const __m128 levels[3] = {
            _mm_cvtepi32_ps(_mm_cvtepu8_epi32(channels)),
            _mm_cvtepi32_ps(_mm_cvtepu8_epi32(_mm_srli_si128(channels, 4))),
            _mm_cvtepi32_ps(_mm_cvtepu8_epi32(_mm_srli_si128(channels, 8))),
        };
        for (int c = 0; c < 3; ++c) {
            const __m128 value =
                _mm_add_ps(_mm_mul_ps(levels[c], _mm_set1_ps(affine.factor[c])), _mm_set1_ps(affine.offset[c]));
            _mm_storeu_ps(planes[c] + x, value);
        }
    }
    return x;
}
#endif

} // namespace

void Resizer::begin(const Image& image, const Region& region, int width, int height) {
    image_ = image;
    region_ = region;
    width_ = width;
    packed_ = image.column == 3 && image.channel == 1;
    fill_taps(columns_, region.width, width, true);
    fill_taps(rows_, region.height, height, false);
    // A packed row may be read to the end of the image, a copied one to the end of its padding.
    const int readable = packed_ ? 3 * (image.width - region.x) : 3 * region.width + 8;
    offsets_.resize(width);
    weights_.resize(width);
    fast_columns_ = 0;
    for (int x = 0; x < width; ++x) {
        const Tap& tap = columns_[x];
        offsets_[x] = 3 * tap.first;
        weights_[x] = tap.first_weight | static_cast<int>(static_cast<uint32_t>(tap.second_weight) << 16);
        fast_columns_ += offsets_[x] + 8 <= readable; // offsets rise, so these are the first ones
    }
    copied_rows_ = {-1, -1};
}

const uint8_t* Resizer::source_row(int y) {
    const uint8_t* first = image_.data + (region_.y + y) * image_.row + region_.x * image_.column;
    if (packed_) {
        return first;
    }
    for (int i = 0; i < 2; ++i) {
        if (copied_rows_[i] == y) {
            oldest_copy_ = 1 - i; // this one is in use: the next miss replaces the other
            return copies_[i].data();
        }
    }
    const int slot = oldest_copy_;
    oldest_copy_ = 1 - slot;
    copies_[slot].resize(3 * static_cast<size_t>(region_.width) + 8);
    uint8_t* to = copies_[slot].data();
    for (int x = 0; x < region_.width; ++x) {
        for (int c = 0; c < 3; ++c) {
            *to++ = first[x * image_.column + c * image_.channel];
        }
    }
    copied_rows_[slot] = y;
    return copies_[slot].data();
}

void Resizer::row(int y, const Affine& affine, const std::array<float*, 3>& planes) {
    const Tap& tap = rows_[y];
    const uint8_t* upper = source_row(tap.first);
    const uint8_t* lower = source_row(tap.second);
    const RowTask task{upper, lower, tap.first_weight, tap.second_weight};
    int done = 0;
#ifdef ZPIPE_AVX2
    if (has_avx2()) {
        done = resize_row_avx2(task, offsets_.data(), weights_.data(), fast_columns_, affine, planes);
    }
#endif
    resize_row_plain(task, columns_, done, affine, planes);
}

} // namespace zpipe
