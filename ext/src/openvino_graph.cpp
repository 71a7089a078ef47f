#include "openvino_graph.hpp"

#include <algorithm>
#include <deque>
#include <set>

namespace zpipe {

namespace {

Shape to_shape(const ov::PartialShape& partial) {
    Shape shape;
    if (partial.rank().is_dynamic()) {
        return shape;
    }
    for (const auto& dimension : partial) {
        shape.push_back(dimension.is_static() ? dimension.get_length() : -1);
    }
    return shape;
}

using Node = std::shared_ptr<ov::Node>;

bool is_kind(const Node& node, std::initializer_list<const char*> kinds) {
    const std::string kind = node->get_type_name();
    return std::any_of(kinds.begin(), kinds.end(), [&](const char* k) { return kind == k; });
}

bool ends_tail(const Node& node) {
    return is_kind(node,
                   {"Convolution", "GroupConvolution", "MatMul", "ConvolutionBackpropData", "Constant", "Parameter"});
}

// An addition of a constant to a convolution or product: its bias, not arithmetic of a decoder.
bool is_bias(const Node& node) {
    if (!is_kind(node, {"Add"})) {
        return false;
    }
    const auto a = node->get_input_node_shared_ptr(0);
    const auto b = node->get_input_node_shared_ptr(1);
    return (ends_tail(a) && is_kind(b, {"Constant", "Reshape", "Convert"})) ||
           (ends_tail(b) && is_kind(a, {"Constant", "Reshape", "Convert"}));
}

// The end of a pair of quantisation and its inverse (int8 models): arithmetic, but none of a decoder.
bool is_dequantization(const Node& node) {
    if (!is_kind(node, {"Multiply"})) {
        return false;
    }
    Node a = node->get_input_node_shared_ptr(0);
    if (is_kind(a, {"Subtract"})) {
        a = a->get_input_node_shared_ptr(0);
    }
    return is_kind(a, {"Convert"}) && a->get_input_element_type(0).is_integral_number();
}

// Kinds of operations from an output back to the last convolutions; a limit keeps strange graphs cheap.
std::vector<std::string> read_tail(const Node& from) {
    std::vector<std::string> kinds;
    std::deque<Node> open{from};
    std::set<const ov::Node*> seen;
    while (!open.empty() && kinds.size() < 200) {
        const Node node = open.front();
        open.pop_front();
        if (ends_tail(node) || is_bias(node) || !seen.insert(node.get()).second) {
            continue;
        }
        if (is_dequantization(node)) {
            Node a = node->get_input_node_shared_ptr(0);
            open.push_back(is_kind(a, {"Subtract"}) ? a->get_input_node_shared_ptr(0) : a);
            continue;
        }
        kinds.emplace_back(node->get_type_name());
        for (size_t i = 0; i < node->get_input_size(); ++i) {
            open.push_back(node->get_input_node_shared_ptr(i));
        }
    }
    return kinds;
}

// The last operation that changes values, before those that only move or quantise them.
std::string read_activation(Node node) {
    while ((is_kind(node, {"Reshape", "Squeeze", "Unsqueeze", "Transpose", "Convert", "FakeQuantize", "Identity",
                           "Result"}) ||
            is_dequantization(node)) &&
           node->get_input_size() > 0) {
        node = node->get_input_node_shared_ptr(0);
    }
    return node->get_type_name();
}

// Kinds of operations from an input on, as long as one follows the other, up to the first convolution.
std::vector<std::string> read_head(Node node) {
    std::vector<std::string> kinds;
    constexpr size_t longest = 30;
    while (kinds.size() < longest) {
        Node next;
        for (const auto& target : node->output(0).get_target_inputs()) {
            const Node user = target.get_node()->shared_from_this();
            if (is_kind(user, {"ShapeOf"})) {
                continue; // looks at the size only
            }
            if (next) {
                return kinds;
            }
            next = user;
        }
        if (!next || ends_tail(next) || is_kind(next, {"Result"})) {
            return kinds;
        }
        kinds.emplace_back(next->get_type_name());
        node = next;
    }
    return kinds;
}

// Flattens the metadata that ONNX files ("framework") and IR files ("model_info") carry.
void read_metadata(const ov::Model& model, std::map<std::string, std::string>& metadata) {
    for (const char* section : {"framework", "model_info"}) {
        const auto& info = model.get_rt_info();
        const auto found = info.find(section);
        if (found == info.end()) {
            continue;
        }
        try {
            const auto& map = model.get_rt_info<ov::AnyMap>(section);
            for (const auto& [key, value] : map) {
                metadata.emplace(key, value.as<std::string>());
            }
        } catch (const std::exception&) {
            // A section of another shape holds nothing that we know how to use.
        }
    }
}

template <typename Ports> std::vector<Port> read_ports(const Ports& ports) {
    std::vector<Port> result;
    for (const auto& port : ports) {
        const auto& names = port.get_names();
        // Names come as an unordered set: the smallest, so that messages do not change from run to run.
        const std::string name = names.empty() ? "" : *std::min_element(names.begin(), names.end());
        result.push_back(
            {name, port.get_element_type().get_type_name(), to_shape(port.get_partial_shape()), {}, {}, {}});
    }
    return result;
}

} // namespace

void describe_graph(const ov::Model& model, ModelInfo& info) {
    info.inputs = read_ports(model.inputs());
    info.outputs = read_ports(model.outputs());
    read_metadata(model, info.metadata);
    for (size_t i = 0; i < info.inputs.size(); ++i) {
        info.inputs[i].head = read_head(model.get_parameters()[i]);
    }
    for (size_t i = 0; i < info.outputs.size(); ++i) {
        const Node node = model.get_results()[i]->get_input_node_shared_ptr(0);
        info.outputs[i].tail = read_tail(node);
        info.outputs[i].activation = read_activation(node);
    }
}

void describe_output_shapes(const ov::Model& model, ModelInfo& info) {
    for (size_t i = 0; i < info.outputs.size(); ++i) {
        info.outputs[i].shape = to_shape(model.get_results()[i]->get_output_partial_shape(0));
    }
}

} // namespace zpipe
