"""Models in onnxruntime, `runtime: onnxruntime`: owns the session; everything around it is the core's.

An optional extra, for devices that OpenVINO does not have: `device: cuda`, `cuda:1`, `tensorrt`, or the name of any
execution provider of the installed onnxruntime.
"""

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zpipe import _core
from zpipe.errors import ModelError

if TYPE_CHECKING:
    from zpipe.config.keys import ModelConfig

TYPES: dict[str, tuple[str, type[np.generic]]] = {
    "tensor(float)": ("f32", np.float32),
    "tensor(float16)": ("f16", np.float16),
    "tensor(double)": ("f64", np.float64),
    "tensor(int64)": ("i64", np.int64),
    "tensor(int32)": ("i32", np.int32),
    "tensor(int16)": ("i16", np.int16),
    "tensor(int8)": ("i8", np.int8),
    "tensor(uint8)": ("u8", np.uint8),
    "tensor(bool)": ("boolean", np.bool_),
}
"""onnxruntime's names of element types: the core's name, numpy's type."""

ALIASES = {"gpu": "cuda", "trt": "tensorrt"}


class Session:
    """A session as the core's runner."""

    def __init__(self, file: str, session: Any) -> None:
        self._file = file
        self._session = session
        self._inputs = [(port.name, TYPES[port.type][1]) for port in session.get_inputs()]

    def compile(self, shapes: list[list[int]]) -> Sequence[Sequence[int]]:
        """The shapes of the outputs; onnxruntime itself only knows them after a run."""
        try:
            return _core.openvino_output_shapes(self._file, shapes)
        except _core.CoreError:
            return [shape_of(port) for port in self._session.get_outputs()]

    def run(self, arrays: list[NDArray[np.float32]]) -> Sequence[NDArray[np.float32]]:
        """The outputs, whatever their type, as float32."""
        inputs = {
            name: array.astype(kind, copy=False) for (name, kind), array in zip(self._inputs, arrays, strict=True)
        }
        return [np.asarray(output, np.float32) for output in self._session.run(None, inputs)]


def read_onnxruntime(config: "ModelConfig", threads: int) -> _core.Model:
    """The model in a session, for the core's detectors and classifiers; ModelError if that is not possible."""
    try:
        import onnxruntime
    except ImportError:
        raise ModelError(
            "runtime: onnxruntime is not installed; `pip install 'zpipe[onnxruntime]'`, or onnxruntime-gpu for CUDA"
        ) from None
    if config.precision not in ("auto", "f32"):
        raise ModelError(f"precision: onnxruntime computes in the model's own precision, not in {config.precision}")
    wanted = choose_providers(config.device, onnxruntime.get_available_providers())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what is wrong comes as an exception
    # Waiting threads sleep: with as many workers as cores, spinning would take the others' time.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(config.model, options, providers=wanted)
    except Exception as problem:  # onnxruntime's own exceptions have no common base
        text = " ".join(str(problem).split())
        raise ModelError(f"{config.model}: onnxruntime cannot load it: {text}") from problem
    first = wanted[0][0] if isinstance(wanted[0], tuple) else wanted[0]
    if first not in session.get_providers():
        raise ModelError(f"device: {config.device} cannot be used: onnxruntime could not start its {first}")
    return _core.python_model(Session(config.model, session), info_of(config, session))


def choose_providers(device: str, available: Sequence[str]) -> list[Any]:
    """The execution providers for a device, best first; ModelError if it is not there."""
    kind, _, number = device.lower().partition(":")
    kind = ALIASES.get(kind, kind)
    if number and not number.isdecimal():
        raise ModelError(f"device: expected a number behind the colon of {device!r}")
    name = next((p for p in available if p.lower() == f"{kind}executionprovider"), None)
    if name is None:
        known = ", ".join(p.removesuffix("ExecutionProvider").lower() for p in available)
        raise ModelError(f"device: the installed onnxruntime has no {device}; it has {known}")
    chosen: list[Any] = [(name, {"device_id": number}) if number else name]
    if kind == "tensorrt" and "CUDAExecutionProvider" in available:
        chosen.append("CUDAExecutionProvider")  # for what TensorRT does not know
    return chosen if kind == "cpu" else [*chosen, "CPUExecutionProvider"]


def shape_of(port: Any) -> list[int]:
    """A shape as the core writes it."""
    return [size if isinstance(size, int) and size >= 0 else -1 for size in port.shape]


def port_of(file: str, port: Any) -> "_core.Port":
    """An input or output as the core writes it."""
    if port.type not in TYPES:
        raise ModelError(f"{file}: {port.name!r} is a {port.type}, expected a tensor of numbers")
    return {
        "name": port.name,
        "type": TYPES[port.type][0],
        "shape": shape_of(port),
        "tail": [],
        "activation": "",
        "head": [],
    }


def info_of(config: "ModelConfig", session: Any) -> "_core.Info":
    """What the session and the graph say of the model."""
    file = config.model
    info: _core.Info = {
        "file": file,
        "runtime": "onnxruntime",
        "device": config.device,
        "precision": "the model's own",
        "metadata": dict(session.get_modelmeta().custom_metadata_map),
        "inputs": [port_of(file, port) for port in session.get_inputs()],
        "outputs": [port_of(file, port) for port in session.get_outputs()],
    }
    # onnxruntime does not show the graph; OpenVINO, which is there anyway, usually can. Without it formats that
    # only differ in their graph have to be named.
    with contextlib.suppress(_core.CoreError):
        seen = _core.read_openvino(file).info
        graph = {port["name"]: port for port in (*seen["inputs"], *seen["outputs"])}
        for port in (*info["inputs"], *info["outputs"]):
            known = graph.get(port["name"])
            if known is not None:
                port["tail"], port["activation"], port["head"] = known["tail"], known["activation"], known["head"]
    return info
