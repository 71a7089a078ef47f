// A model that Python runs (another runtime), for the same detectors and classifiers.
#pragma once

#include <memory>

#include <pybind11/pybind11.h>

#include "model.hpp"

namespace zpipe {

// `runner` has `compile(shapes) -> shapes` (input shapes, -1 is open, to output shapes) and `run(arrays) -> arrays`
// (all float32). `info` is as in `as_info`.
std::unique_ptr<Model> make_callback_model(const pybind11::object& runner, const pybind11::dict& info);

// Everything that is known of a model, as a dict of plain values, and back.
pybind11::dict as_info(const ModelInfo& info);

} // namespace zpipe
