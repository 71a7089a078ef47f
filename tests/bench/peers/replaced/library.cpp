// The replaced design's library: one detect and one classify thread, joined by mutex-guarded queues that are polled
// with usleep. The caller hands over a pointer to pixels and frees them when the result has come.
//
// Written anew after its description, with its flaws in how threads meet, but with inference, letterbox and boxes as
// sound as elsewhere: it is the architecture that is compared.

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <openvino/openvino.hpp>

namespace {

constexpr int kSide = 416, kCrop = 224, kPollUs = 2000;

struct Object {
    float x, y, w, h, confidence;
    int label;
    float class_id = -1, class_confidence = 0;
};

struct Frame {
    int number;
    const uint8_t* pixels;
    int width, height;
    std::vector<Object> objects;
};

struct Queue {
    std::mutex mutex;
    std::deque<Frame> frames;
    void push(Frame frame) {
        std::lock_guard<std::mutex> lock(mutex);
        frames.push_back(std::move(frame));
    }
    bool pop(Frame& frame) {
        std::lock_guard<std::mutex> lock(mutex);
        if (frames.empty())
            return false;
        frame = std::move(frames.front());
        frames.pop_front();
        return true;
    }
};

Queue to_detect, to_classify, results;
std::atomic<bool> stopping{false};
std::thread detect_thread, classify_thread;
ov::InferRequest detector, classifier;
float min_confidence, max_iou, mean[3];

struct Tap {
    int first, second, weight_first, weight_second;
};

// Where output i of a resized side lies in the source, as OpenCV's INTER_LINEAR has it: half-pixel centres, weights of
// 1/2048. At its ends a row counts twice, a column once.
std::vector<Tap> taps(int from, int to, bool columns) {
    std::vector<Tap> found(to);
    const double ratio = 1.0 / (double(to) / from);
    for (int i = 0; i < to; ++i) {
        const float at = float((i + 0.5) * ratio - 0.5);
        int first = int(std::floor(at));
        float part = at - first;
        if (columns && (first < 0 || first >= from - 1)) {
            first = std::clamp(first, 0, from - 1);
            part = 0;
        }
        found[i] = {std::clamp(first, 0, from - 1), std::clamp(first + 1, 0, from - 1),
                    int(std::lrint((1 - part) * 2048)), int(std::lrint(part * 2048))};
    }
    return found;
}

// A region of BGR pixels into planes, to the bit as OpenCV resizes it: or the answers would differ.
void resize(const uint8_t* from, int stride, int w, int h, float* to, int ow, int oh, int row, size_t plane,
            const float* less) {
    const std::vector<Tap> columns = taps(w, ow, true), rows = taps(h, oh, false);
    for (int y = 0; y < oh; ++y) {
        const Tap& v = rows[y];
        const uint8_t* upper = from + size_t(v.first) * stride;
        const uint8_t* lower = from + size_t(v.second) * stride;
        for (int x = 0; x < ow; ++x) {
            const Tap& u = columns[x];
            for (int c = 0; c < 3; ++c) {
                const int a =
                    (upper[3 * u.first + c] * u.weight_first + upper[3 * u.second + c] * u.weight_second) >> 4;
                const int b =
                    (lower[3 * u.first + c] * u.weight_first + lower[3 * u.second + c] * u.weight_second) >> 4;
                const int level = (((a * v.weight_first) >> 16) + ((b * v.weight_second) >> 16) + 2) >> 2;
                to[c * plane + size_t(y) * row + x] = float(level) - less[c];
            }
        }
    }
}

float overlap(const Object& a, const Object& b) {
    float w = std::min(a.x + a.w, b.x + b.w) - std::max(a.x, b.x);
    float h = std::min(a.y + a.h, b.y + b.h) - std::max(a.y, b.y);
    float both = std::max(w, 0.0f) * std::max(h, 0.0f);
    return both / (a.w * a.h + b.w * b.h - both);
}

void detect(Frame& frame) {
    static const float nothing[3] = {0, 0, 0};
    const float scale = std::min(float(kSide) / frame.width, float(kSide) / frame.height);
    const int w = std::lround(frame.width * scale), h = std::lround(frame.height * scale);
    float* input = detector.get_input_tensor().data<float>();
    std::fill(input, input + 3 * kSide * kSide, 114.0f);
    resize(frame.pixels, 3 * frame.width, frame.width, frame.height, input, w, h, kSide, kSide * kSide, nothing);
    detector.infer();
    const float* row = detector.get_output_tensor().data<float>();
    std::vector<Object> found;
    for (int stride : {8, 16, 32}) {
        const int n = kSide / stride;
        for (int cell = 0; cell < n * n; ++cell, row += 85) {
            if (row[4] < min_confidence)
                continue;
            const int label = std::max_element(row + 5, row + 85) - (row + 5);
            const float confidence = row[4] * row[5 + label];
            if (confidence < min_confidence)
                continue;
            const float bw = std::exp(row[2]) * stride, bh = std::exp(row[3]) * stride;
            const float x = (row[0] + cell % n) * stride - bw / 2, y = (row[1] + cell / n) * stride - bh / 2;
            found.push_back({x, y, bw, bh, confidence, label});
        }
    }
    std::stable_sort(found.begin(), found.end(),
                     [](const Object& a, const Object& b) { return a.confidence > b.confidence; });
    for (const Object& each : found) {
        if (std::any_of(frame.objects.begin(), frame.objects.end(),
                        [&](const Object& kept) { return kept.label == each.label && overlap(kept, each) > max_iou; }))
            continue;
        frame.objects.push_back(each);
    }
    for (Object& each : frame.objects) {
        const float left = std::clamp(each.x / scale, 0.0f, float(frame.width));
        const float top = std::clamp(each.y / scale, 0.0f, float(frame.height));
        const float right = std::clamp((each.x + each.w) / scale, 0.0f, float(frame.width));
        const float bottom = std::clamp((each.y + each.h) / scale, 0.0f, float(frame.height));
        each.x = left, each.y = top, each.w = right - left, each.h = bottom - top;
    }
}

void classify(Frame& frame) {
    const size_t count = frame.objects.size(), plane = kCrop * kCrop;
    if (!count)
        return;
    ov::Tensor input(ov::element::f32, {count, 3, kCrop, kCrop});
    for (size_t i = 0; i < count; ++i) {
        const Object& each = frame.objects[i];
        const int left = std::min(int(each.x + 0.5f), frame.width - 1),
                  top = std::min(int(each.y + 0.5f), frame.height - 1);
        const int w = std::max(int(each.x + each.w + 0.5f) - left, 1),
                  h = std::max(int(each.y + each.h + 0.5f) - top, 1);
        resize(frame.pixels + 3 * (size_t(top) * frame.width + left), 3 * frame.width, w, h,
               input.data<float>() + i * 3 * plane, kCrop, kCrop, kCrop, plane, mean);
    }
    classifier.set_input_tensor(input);
    classifier.infer();
    const float* row = classifier.get_output_tensor().data<float>();
    for (Object& each : frame.objects) {
        const float* best = std::max_element(row, row + 1000);
        each.class_id = best - row, each.class_confidence = *best;
        row += 1000;
    }
}

void run(Queue& from, Queue& to, void (*work)(Frame&)) {
    Frame frame;
    while (!stopping) {
        if (!from.pop(frame)) {
            usleep(kPollUs);
            continue;
        }
        work(frame);
        to.push(std::move(frame));
    }
}

} // namespace

extern "C" {

void start(const char* detect_model, const char* classify_model, const char* precision, float confidence, float iou,
           const float* means) {
    static ov::Core core;
    ov::AnyMap properties{{"ENABLE_CPU_PINNING", false}, {"PERFORMANCE_HINT", "LATENCY"}};
    if (std::strcmp(precision, "auto") != 0)
        properties["INFERENCE_PRECISION_HINT"] = precision;
    detector = core.compile_model(detect_model, "CPU", properties).create_infer_request();
    classifier = core.compile_model(classify_model, "CPU", properties).create_infer_request();
    min_confidence = confidence, max_iou = iou;
    std::copy(means, means + 3, mean);
    detect_thread = std::thread([] { run(to_detect, to_classify, detect); });
    classify_thread = std::thread([] { run(to_classify, results, classify); });
}

void put(int number, const uint8_t* pixels, int width, int height) {
    to_detect.push({number, pixels, width, height, {}});
}

// Objects of the next finished frame, eight floats each, into `rows`; their number, or -1 if none is finished.
int get(int* number, float* rows, int room) {
    Frame frame;
    if (!results.pop(frame))
        return -1;
    *number = frame.number;
    const int count = std::min<int>(room, frame.objects.size());
    for (int i = 0; i < count; ++i) {
        const Object& o = frame.objects[i];
        const float row[8] = {o.x, o.y, o.w, o.h, o.confidence, float(o.label), o.class_id, o.class_confidence};
        std::copy(row, row + 8, rows + 8 * i);
    }
    return count;
}

void stop() {
    stopping = true;
    detect_thread.join();
    classify_thread.join();
}
}
