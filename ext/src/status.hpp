// What can go wrong in the core, as one enum, and the exception that carries it.
//
// The core never prints, aborts or exits: whatever fails is thrown as an Error and becomes a Python exception in
// module.cpp.
#pragma once

#include <stdexcept>
#include <string>

namespace zpipe {

enum class Status {
    bad_argument,      // the caller's fault: wrong array, wrong option
    unreadable_model,  // the file is missing, damaged or not a model
    unsupported_model, // a valid model whose inputs or outputs do not fit
    unknown_format,    // no detector format, or more than one, fits the outputs
    missing_device,    // the device or runtime is not there
    failed_inference,  // the model was loaded but a run failed
    bad_plugin,        // a shared library that is no (usable) plugin
    count_,
};

// A short name, used as `CoreError.status` in Python.
const char* status_name(Status status) noexcept;

class Error : public std::runtime_error {
  public:
    Error(Status status, const std::string& message) : std::runtime_error(message), status_(status) {}
    Status status() const noexcept { return status_; }

  private:
    Status status_;
};

} // namespace zpipe
