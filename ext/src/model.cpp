#include "model.hpp"

#include <numeric>

namespace zpipe {

std::string shape_text(const Shape& shape) {
    std::string text;
    for (const int64_t n : shape) {
        text += (text.empty() ? "" : ", ") + (n < 0 ? std::string("?") : std::to_string(n));
    }
    return "(" + text + ")";
}

std::string ports_text(const std::vector<Port>& ports) {
    std::string text = ports.empty() ? "  (none)\n" : "";
    for (const Port& port : ports) {
        text += "  " + (port.name.empty() ? std::string("(unnamed)") : port.name) + " " + shape_text(port.shape) + " " +
                port.type + "\n";
    }
    return text;
}

size_t Tensor::elements() const {
    return std::accumulate(shape.begin(), shape.end(), size_t{1},
                           [](size_t product, int64_t n) { return product * static_cast<size_t>(n); });
}

} // namespace zpipe
