#include "status.hpp"

#include <array>

namespace zpipe {

namespace {
// In the order of the enum.
constexpr std::array<const char*, static_cast<size_t>(Status::count_)> names = {
    "bad argument",   "unreadable model", "unsupported model", "unknown format",
    "missing device", "failed inference", "bad plugin",
};
static_assert(names.back() != nullptr, "each status has a name");
} // namespace

const char* status_name(Status status) noexcept {
    const auto index = static_cast<size_t>(status);
    return index < names.size() ? names[index] : "unknown status";
}

} // namespace zpipe
