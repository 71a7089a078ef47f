// Arrays of Python in and out of the core's own types.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>
#include <vector>

#include "classifier.hpp"
#include "detector.hpp"
#include "image.hpp"
#include "model.hpp"
#include "plugin_model.hpp"

namespace zpipe {

namespace py = pybind11;

using BoxArray = py::array_t<float, py::array::c_style | py::array::forcecast>;
using ConfidenceArray = py::array_t<float, py::array::c_style | py::array::forcecast>;
using LabelArray = py::array_t<int32_t, py::array::c_style | py::array::forcecast>;

// A uint8 array (height, width, 3) of any strides, not copied. Throws for anything else.
Image as_image(const py::array& array);

// (n, 4): x, y, w, h. Throws for other shapes and for numbers that are not finite.
std::vector<Box> as_boxes(const BoxArray& array);

// boxes (n, 4), confidences (n,), label_ids (n,).
py::tuple as_arrays(const std::vector<Detection>& found);

// label_ids (n, k), confidences (n, k) and None, or for values and embeddings two of width 0 and values (n, m).
py::tuple as_arrays(const ClassRows& rows, size_t count);

// A str, whatever the bytes: names in damaged files need not be UTF-8.
py::str as_text(const std::string& text);

// The values of a plugin's options: bool, int, float or str, by name.
std::vector<PluginValue> as_values(const py::dict& dict);

// A dict for `zpipe check`.
py::dict as_dict(const ModelInfo& info, const Description& details);

} // namespace zpipe
