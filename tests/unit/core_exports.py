"""Small ONNX files made by the tests, whose outputs are known numbers."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Outputs = dict[str, np.ndarray]


def export(
    path: Path,
    outputs: Outputs,
    *,
    shape: tuple[int, ...] = (1, 3, 64, 64),
    ops: dict[str, list[str]] | None = None,
    metadata: dict[str, str] | None = None,
    side_inputs: dict[str, list[int]] | None = None,
    element: int = TensorProto.FLOAT,
) -> str:
    """A model that looks at its picture (times zero) and gives `outputs`, through the named operations."""
    nodes, constants = [], [numpy_helper.from_array(np.zeros((4, shape[1], 1, 1), np.float32), "kernel")]
    nodes.append(helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT))
    if len(shape) == 3:
        constants[0] = numpy_helper.from_array(np.zeros((4, shape[0], 1, 1), np.float32), "kernel")
        constants.append(numpy_helper.from_array(np.array([0], np.int64), "axis"))
        nodes.append(helper.make_node("Unsqueeze", ["pixels", "axis"], ["batch"]))
    elif shape[3] == 3:
        constants[0] = numpy_helper.from_array(np.zeros((4, 3, 1, 1), np.float32), "kernel")
        nodes.append(helper.make_node("Transpose", ["pixels"], ["batch"], perm=[0, 3, 1, 2]))
    else:
        nodes.append(helper.make_node("Identity", ["pixels"], ["batch"]))
    nodes.append(helper.make_node("Conv", ["batch", "kernel"], ["features"]))
    nodes.append(helper.make_node("ReduceMax", ["features"], ["nothing"], keepdims=0))
    for name in side_inputs or {}:
        nodes.append(helper.make_node("Cast", [name], [f"{name}_float"], to=TensorProto.FLOAT))
        constants.append(numpy_helper.from_array(np.array(0, np.float32), f"{name}_zero"))
        nodes.append(helper.make_node("Mul", [f"{name}_float", f"{name}_zero"], [f"{name}_nothing"]))
        nodes.append(helper.make_node("ReduceMax", [f"{name}_nothing"], [f"{name}_sum"], keepdims=0))
        nodes.append(helper.make_node("Add", ["nothing", f"{name}_sum"], [f"nothing_{name}"]))
    zero = f"nothing_{list(side_inputs)[-1]}" if side_inputs else "nothing"
    results = []
    for name, values in outputs.items():
        kind = TensorProto.INT64 if values.dtype == np.int64 else TensorProto.FLOAT
        constants.append(numpy_helper.from_array(values.astype(np.float32), f"{name}_values"))
        nodes.append(helper.make_node("Add", [f"{name}_values", zero], [f"{name}_0"]))
        last = f"{name}_0"
        for i, op in enumerate((ops or {}).get(name, [])):
            more = []
            if op in ("QuantizeLinear", "DequantizeLinear"):  # levels of 1/4
                more = [f"{name}_{i}_scale", f"{name}_{i}_zero"]
                constants.append(numpy_helper.from_array(np.array(0.25, np.float32), more[0]))
                constants.append(numpy_helper.from_array(np.array(-8, np.int8), more[1]))
            nodes.append(helper.make_node(op, [last, *more], [f"{name}_{i + 1}"]))
            last = f"{name}_{i + 1}"
        nodes.append(helper.make_node("Cast", [last], [name], to=kind))
        results.append(helper.make_tensor_value_info(name, kind, values.shape))
    inputs = [helper.make_tensor_value_info("images", element, shape)]
    inputs += [helper.make_tensor_value_info(n, TensorProto.INT64, s) for n, s in (side_inputs or {}).items()]
    graph = helper.make_graph(nodes, "known", inputs, results, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    for key, value in (metadata or {}).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.checker.check_model(model)
    onnx.save(model, str(path / "known.onnx"))
    return str(path / "known.onnx")
