"""Model files that try something, one trick each, with what they do to a reader that does not guard.

Each maker writes the file and returns it with its control: evidence that the trick works where nothing stands
in its way, or, where the frameworks of today refuse it as well, that the file is otherwise well-formed.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepose.runtime.wire_formats import protobuf_field
from tests.support.tiny_networks import write_tiny_tflite

Made = tuple[Path, bool]
Maker = Callable[[Path], Made]


@dataclass(frozen=True)
class Trick:
    """One hostile file.

    Attributes:
        name: What it tries.
        make: Writes it and says whether the trick works without the guard.
    """

    name: str
    make: Maker


TRICKS: list[Trick] = []


def trick(name: str) -> Callable[[Maker], Maker]:
    """Names a maker."""

    def add(make: Maker) -> Maker:
        TRICKS.append(Trick(name, make))
        return make

    return add


# ONNX ------------------------------------------------------------------------------------------------------

WEIGHTS_BYTES = 17 * 3 * 2 * 2 * 4


def external_onnx(
    path: Path, location: str, offset: str = "0", length: str = str(WEIGHTS_BYTES), dims: tuple[int, ...] = ()
) -> Path:
    """A convolution whose weights are in another file."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    tensor.dims.extend(dims or (17, 3, 2, 2))
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=value)
    path.write_bytes(_onnx_model([helper.make_node("Conv", ["image", "w"], ["out"])], [tensor]))
    return path


def _onnx_model(
    nodes: list[Any],
    initializers: list[Any],
    *functions: Any,
    domain: str = "",
    shape: tuple[int, ...] | None = None,
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 32, 32])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)],
        initializers,
    )
    opsets = [helper.make_opsetid("", 17)]
    if domain:
        opsets.append(helper.make_opsetid(domain, 1))
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9, functions=list(functions))
    data: bytes = model.SerializeToString()
    return data


def _naively(model: Path) -> bytes:
    """The external bytes as a reader takes them that believes what it is told."""
    (tensor,) = onnx.load(model, load_external_data=False).graph.initializer
    entry = {item.key: item.value for item in tensor.external_data}
    with Path(os.path.join(model.parent, entry["location"])).open("rb") as stream:  # noqa: PTH118
        return stream.read(16)


def _outside(folder: Path) -> tuple[Path, Path]:
    inside, secret = folder / "in", folder / "secret.bin"
    inside.mkdir()
    secret.write_bytes(b"private! " * 1000)
    return inside, secret


@trick("ONNX reads a file by its absolute path")
def _onnx_absolute(folder: Path) -> Made:
    inside, secret = _outside(folder)
    path = external_onnx(inside / "m.onnx", str(secret))
    return path, _naively(path).startswith(b"private!")


@trick("ONNX climbs out of its folder")
def _onnx_dots(folder: Path) -> Made:
    inside, _ = _outside(folder)
    path = external_onnx(inside / "m.onnx", "../secret.bin")
    return path, _naively(path).startswith(b"private!")


@trick("ONNX follows a link to a file elsewhere")
def _onnx_link(folder: Path) -> Made:
    inside, secret = _outside(folder)
    (inside / "w.bin").symlink_to(secret)
    path = external_onnx(inside / "m.onnx", "w.bin")
    return path, _naively(path).startswith(b"private!")


@trick("ONNX follows a linked folder")
def _onnx_linked_folder(folder: Path) -> Made:
    inside, secret = _outside(folder)
    (inside / "data").symlink_to(secret.parent)
    path = external_onnx(inside / "m.onnx", "data/secret.bin")
    return path, _naively(path).startswith(b"private!")


@trick("ONNX takes another name of a file elsewhere")
def _onnx_hard_link(folder: Path) -> Made:
    inside, secret = _outside(folder)
    (inside / "w.bin").hardlink_to(secret)
    path = external_onnx(inside / "m.onnx", "w.bin")
    return path, _naively(path).startswith(b"private!")


@trick("ONNX reads a device")
def _onnx_device(folder: Path) -> Made:
    path = external_onnx(folder / "m.onnx", "/dev/zero")
    return path, _naively(path) == bytes(16)


@trick("ONNX waits for a pipe")
def _onnx_pipe(folder: Path) -> Made:
    os.mkfifo(folder / "w.bin")
    path = external_onnx(folder / "m.onnx", "w.bin")
    # Nobody writes, so nothing can be read without waiting.
    try:
        os.close(os.open(folder / "w.bin", os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return path, True
    return path, False


def _fails_in_onnx(path: Path) -> bool:
    """Whether onnx ends in an error that is none of its own family: a traceback for the user."""
    try:
        onnx.load(path)
    except (ValueError, OSError, MemoryError, OverflowError):
        return True
    except onnx.checker.ValidationError:
        return True
    return False


@trick("ONNX has a negative offset")
def _onnx_negative(folder: Path) -> Made:
    (folder / "w.bin").write_bytes(bytes(4096))
    path = external_onnx(folder / "m.onnx", "w.bin", offset="-8")
    return path, _fails_in_onnx(path)


@trick("ONNX has a huge length")
def _onnx_huge(folder: Path) -> Made:
    (folder / "w.bin").write_bytes(bytes(4096))
    path = external_onnx(folder / "m.onnx", "w.bin", length=str(1 << 50))
    return path, _fails_in_onnx(path)


@trick("ONNX names a file that was cut off")
def _onnx_cut(folder: Path) -> Made:
    (folder / "w.bin").write_bytes(bytes(WEIGHTS_BYTES - 1))
    path = external_onnx(folder / "m.onnx", "w.bin")
    return path, len((folder / "w.bin").read_bytes()[:WEIGHTS_BYTES]) < WEIGHTS_BYTES


@trick("ONNX takes more bytes than its shape needs")
def _onnx_longer(folder: Path) -> Made:
    (folder / "w.bin").write_bytes(bytes(4096))
    path = external_onnx(folder / "m.onnx", "w.bin", length="4096")
    return path, len(_naively(path)) == 16


@trick("ONNX claims exabytes in a shape")
def _onnx_shape(folder: Path) -> Made:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, raw_data=bytes(16))
    tensor.dims.extend([1 << 31, 1 << 31])
    path = folder / "m.onnx"
    path.write_bytes(_onnx_model([helper.make_node("Add", ["image", "w"], ["out"])], [tensor]))
    return path, int(np.prod(list(onnx.load(path).graph.initializer[0].dims), dtype=object)) > 1 << 60


@trick("ONNX computes a hundred gigabytes from four numbers")
def _onnx_expand(folder: Path) -> Made:
    shape = helper.make_tensor("shape", TensorProto.INT64, [4], [1, 17, 40000, 40000])
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["z"]),
        helper.make_node("ReduceMean", ["z"], ["s"], keepdims=0),
        helper.make_node("Add", ["image", "s"], ["out"]),
    ]
    path = folder / "m.onnx"
    path.write_bytes(_onnx_model(nodes, [shape]))
    inferred = onnx.shape_inference.infer_shapes(onnx.load(path)).graph.value_info
    sizes = [
        int(np.prod([d.dim_value for d in v.type.tensor_type.shape.dim], dtype=object)) for v in inferred
    ]
    return path, max(sizes) > 1 << 34


@trick("ONNX calls Python by an op of an extension")
def _onnx_python(folder: Path) -> Made:
    path = folder / "m.onnx"
    node = helper.make_node("PyOp", ["image"], ["out"], domain="ai.onnx.contrib")
    path.write_bytes(_onnx_model([node], [], domain="ai.onnx.contrib", shape=(1,)))
    onnx.checker.check_model(onnx.load(path))
    return path, True


@trick("ONNX loads a compiled engine by EPContext")
def _onnx_engine(folder: Path) -> Made:
    path = folder / "m.onnx"
    node = helper.make_node(
        "EPContext", ["image"], ["out"], domain="com.microsoft", embed_mode=0, ep_cache_context="e.so"
    )
    path.write_bytes(_onnx_model([node], [], domain="com.microsoft", shape=(1,)))
    onnx.checker.check_model(onnx.load(path))
    return path, True


@trick("ONNX hides an op in a branch")
def _onnx_branch(folder: Path) -> Made:
    hidden = helper.make_graph(
        [helper.make_node("PyOp", [], ["y"], domain="ai.onnx.contrib")],
        "branch",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    condition = numpy_helper.from_array(np.array(True), "c")
    node = helper.make_node("If", ["c"], ["out"], then_branch=hidden, else_branch=hidden)
    path = folder / "m.onnx"
    path.write_bytes(_onnx_model([node], [condition], domain="ai.onnx.contrib"))
    return path, {n.op_type for n in onnx.load(path).graph.node} == {"If"}


def _function(name: str, calls: str, domain: str) -> Any:
    opsets = [helper.make_opsetid("own", 1), helper.make_opsetid("", 17), helper.make_opsetid(domain, 1)]
    node = helper.make_node(calls, ["x"], ["y"], domain=domain)
    return helper.make_function("own", name, ["x"], ["y"], [node], opsets)


@trick("ONNX hides an op in a function")
def _onnx_function(folder: Path) -> Made:
    path = folder / "m.onnx"
    node = helper.make_node("F", ["image"], ["out"], domain="own")
    path.write_bytes(_onnx_model([node], [], _function("F", "PyOp", "ai.onnx.contrib"), domain="own"))
    return path, {n.op_type for n in onnx.load(path).graph.node} == {"F"}


@trick("ONNX has functions that call each other without end")
def _onnx_circle(folder: Path) -> Made:
    path = folder / "m.onnx"
    node = helper.make_node("F", ["image"], ["out"], domain="own")
    functions = _function("F", "G", "own"), _function("G", "F", "own")
    path.write_bytes(_onnx_model([node], [], *functions, domain="own"))
    calls = {f.name: f.node[0].op_type for f in onnx.load(path).functions}
    return path, calls == {"F": "G", "G": "F"}


@trick("ONNX nests graphs without measure")
def _onnx_deep(folder: Path) -> Made:
    graph = protobuf_field(2, b"leaf")
    levels = 60
    for _ in range(levels):
        attribute = protobuf_field(1, b"then_branch") + protobuf_field(6, graph)
        graph = protobuf_field(1, protobuf_field(4, b"If") + protobuf_field(5, attribute))
    path = folder / "m.onnx"
    path.write_bytes(b"\x08\x09" + protobuf_field(7, graph))
    depth, data = 0, memoryview(graph)
    while b"then_branch" in bytes(data):
        data, depth = memoryview(bytes(data)[bytes(data).index(b"then_branch") + 11 :]), depth + 1
    return path, depth == levels


# TFLite ----------------------------------------------------------------------------------------------------


def _tflite(folder: Path, change: Callable[[Any], None]) -> Path:
    from ai_edge_litert.tools import flatbuffer_utils

    from edgepose.host.models.tflite_view import read_tflite

    graph = read_tflite(write_tiny_tflite(folder / "plain.tflite").read_bytes())
    change(graph)
    path = folder / "m.tflite"
    path.write_bytes(bytes(flatbuffer_utils.convert_object_to_bytearray(graph)))
    return path


def _is_read_unguarded(path: Path) -> bool:
    """Whether the schema's own reader, which checks nothing, takes the file as whole."""
    from ai_edge_litert import schema_py_generated as schema

    return bool(schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0).subgraphs)


def _tflite_trick(name: str) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    def add(change: Callable[[Any], None]) -> Callable[[Any], None]:
        def make(folder: Path) -> Made:
            path = _tflite(folder, change)
            return path, _is_read_unguarded(path)

        TRICKS.append(Trick(name, make))
        return change

    return add


@_tflite_trick("TFLite reads a tensor that is not there")
def _tflite_input(graph: Any) -> None:
    graph.subgraphs[0].operators[1].inputs[0] = 1_000_000


@_tflite_trick("TFLite writes a tensor that is not there")
def _tflite_output(graph: Any) -> None:
    graph.subgraphs[0].operators[0].outputs[0] = -7


@_tflite_trick("TFLite reads before anything is written")
def _tflite_order(graph: Any) -> None:
    graph.subgraphs[0].operators.reverse()


@_tflite_trick("TFLite writes over its weights")
def _tflite_overwrite(graph: Any) -> None:
    graph.subgraphs[0].operators[0].outputs[0] = graph.subgraphs[0].operators[0].inputs[1]


@_tflite_trick("TFLite has weights shorter than their shape")
def _tflite_short(graph: Any) -> None:
    tensor = graph.subgraphs[0].tensors[graph.subgraphs[0].operators[0].inputs[1]]
    graph.buffers[tensor.buffer].data = graph.buffers[tensor.buffer].data[:4]


@_tflite_trick("TFLite names a buffer that is not there")
def _tflite_buffer(graph: Any) -> None:
    graph.subgraphs[0].tensors[1].buffer = 4_000_000


@_tflite_trick("TFLite claims terabytes in a shape")
def _tflite_shape(graph: Any) -> None:
    graph.subgraphs[0].tensors[0].shape = np.array([1, 1 << 20, 1 << 20, 3], np.int32)


@_tflite_trick("TFLite has a negative size")
def _tflite_negative(graph: Any) -> None:
    graph.subgraphs[0].tensors[0].shape = np.array([1, -32, 24, 3], np.int32)


@_tflite_trick("TFLite divides by a stride of zero")
def _tflite_stride(graph: Any) -> None:
    graph.subgraphs[0].operators[0].builtinOptions.strideH = 0


@_tflite_trick("TFLite divides by a scale of zero")
def _tflite_scale(graph: Any) -> None:
    from ai_edge_litert import schema_py_generated as schema

    quantization = schema.QuantizationParametersT()
    quantization.scale, quantization.zeroPoint = np.zeros(1, np.float32), np.zeros(1, np.int64)
    graph.subgraphs[0].tensors[0].quantization = quantization


@_tflite_trick("TFLite has more scales than channels")
def _tflite_scales(graph: Any) -> None:
    from ai_edge_litert import schema_py_generated as schema

    quantization = schema.QuantizationParametersT()
    quantization.scale, quantization.zeroPoint = np.ones(9999, np.float32), np.zeros(9999, np.int64)
    graph.subgraphs[0].tensors[1].quantization = quantization


@_tflite_trick("TFLite brings an op of its own")
def _tflite_custom(graph: Any) -> None:
    graph.operatorCodes[0].builtinCode = graph.operatorCodes[0].deprecatedBuiltinCode = 32
    graph.operatorCodes[0].customCode = b"RunShellCommand"


@_tflite_trick("TFLite loops without end")
def _tflite_while(graph: Any) -> None:
    graph.operatorCodes[0].builtinCode = graph.operatorCodes[0].deprecatedBuiltinCode = 119


@_tflite_trick("TFLite has a bias of another length")
def _tflite_bias(graph: Any) -> None:
    first, second = graph.subgraphs[0].operators
    first.inputs[2] = second.inputs[2]


@_tflite_trick("TFLite keeps its weights outside the flatbuffer")
def _tflite_offset(graph: Any) -> None:
    graph.buffers[0].offset, graph.buffers[0].size = 1 << 40, 1 << 40


@_tflite_trick("TFLite has a signature of a tensor that is not there")
def _tflite_signature(graph: Any) -> None:
    graph.signatureDefs[0].inputs[0].tensorIndex = 12345


# .keras ----------------------------------------------------------------------------------------------------

CONFIG: dict[str, Any] = {
    "module": "keras",
    "class_name": "Sequential",
    "config": {
        "name": "s",
        "layers": [
            {
                "module": "keras.layers",
                "class_name": "InputLayer",
                "config": {"batch_shape": [None, 8, 8, 3]},
            },
            {"module": "keras.layers", "class_name": "Flatten", "config": {"name": "f"}},
        ],
    },
    "registered_name": None,
}


def weights_h5(path: Path, fill: Callable[[h5py.File], None] = lambda _file: None) -> bytes:
    """The weights' file of a .keras archive."""
    with h5py.File(path, "w") as stored:
        stored.create_group("layers")
        fill(stored)
    return path.read_bytes()


def keras_archive(path: Path, config: object = CONFIG, weights: bytes | None = None) -> Path:
    """A .keras archive with this configuration."""
    text = config if isinstance(config, bytes) else json.dumps(config)
    if weights is None:
        weights = weights_h5(path.with_suffix(".tmp"))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.0.0"}')
        archive.writestr("config.json", text)
        archive.writestr(
            "model.weights.h5", weights_h5(path.with_suffix(".tmp")) if weights is None else weights
        )
    path.with_suffix(".tmp").unlink(missing_ok=True)
    return path


def with_layer(layer: object) -> dict[str, Any]:
    """The plain configuration with one more layer."""
    config: dict[str, Any] = json.loads(json.dumps(CONFIG))
    config["config"]["layers"].append(layer)
    return config


def _names_something(module: str, name: str) -> bool:
    """Whether the name that the file gives leads to something that can be called."""
    import importlib

    return callable(getattr(importlib.import_module(module), name))


@trick(".keras names a function of Python")
def _keras_exec(folder: Path) -> Made:
    activation = {"module": "builtins", "class_name": "function", "config": "exec", "registered_name": "exec"}
    layer = {"module": "keras.layers", "class_name": "Activation", "config": {"activation": activation}}
    return keras_archive(folder / "m.keras", with_layer(layer)), _names_something("builtins", "exec")


@trick(".keras names a class of another package")
def _keras_popen(folder: Path) -> Made:
    layer = {"module": "subprocess", "class_name": "Popen", "config": {"args": "true"}}
    return keras_archive(folder / "m.keras", with_layer(layer)), _names_something("subprocess", "Popen")


@trick(".keras hides a class under a registered name")
def _keras_registered(folder: Path) -> Made:
    layer = {"module": "keras.layers", "class_name": "Dense", "config": {}, "registered_name": "mine>Evil"}
    path = keras_archive(folder / "m.keras", with_layer(layer))
    return path, b"mine>Evil" in zipfile.ZipFile(path).read("config.json")


@trick(".keras gives a list for a class")
def _keras_list(folder: Path) -> Made:
    path = keras_archive(folder / "m.keras", with_layer({"class_name": ["Lambda"], "config": {}}))
    # A list of names that looks a class up in a set fails with a traceback.
    with pytest.raises(TypeError):
        hash(json.loads(zipfile.ZipFile(path).read("config.json"))["config"]["layers"][-1]["class_name"])
    return path, True


@trick(".keras nests brackets without measure")
def _keras_deep(folder: Path) -> Made:
    text = b'{"class_name": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    try:
        json.loads(text)
    except RecursionError:
        return keras_archive(folder / "m.keras", text), True
    return keras_archive(folder / "m.keras", text), False


@trick(".keras says a key twice")
def _keras_twice(folder: Path) -> Made:
    text = json.dumps(CONFIG).replace(
        '"class_name": "Flatten"', '"class_name": "Flatten", "class_name": "Lambda"'
    )
    found = json.loads(text)["config"]["layers"][1]["class_name"]
    return keras_archive(folder / "m.keras", text.encode()), found == "Lambda"


@trick(".keras unpacks a configuration of a hundred megabytes")
def _keras_bomb(folder: Path) -> Made:
    path = keras_archive(folder / "m.keras", json.dumps(CONFIG).encode() + b" " * (100 << 20))
    with zipfile.ZipFile(path) as archive:
        inflated = len(archive.read("config.json"))
    return path, inflated > 300 * path.stat().st_size


@trick(".keras unpacks weights of a hundred megabytes")
def _keras_weights_bomb(folder: Path) -> Made:
    path = keras_archive(folder / "m.keras", weights=bytes(100 << 20))
    with zipfile.ZipFile(path) as archive:
        return path, len(archive.read("model.weights.h5")) > 300 * path.stat().st_size


@trick(".keras holds a member twice")
def _keras_members(folder: Path) -> Made:
    path = keras_archive(folder / "m.keras")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("config.json", json.dumps(with_layer({"class_name": "Lambda", "config": {}})))
    with zipfile.ZipFile(path) as archive:
        first = archive.open(archive.infolist()[1]).read()
        return path, first != archive.read("config.json")


@trick(".keras brings a file to unpack elsewhere")
def _keras_traversal(folder: Path) -> Made:
    path = keras_archive(folder / "m.keras")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("assets/../../../escaped.txt", "x")
    target = folder / "a" / "b" / "c"
    joined = Path(os.path.normpath(target / zipfile.ZipFile(path).namelist()[-1]))
    return path, not joined.is_relative_to(target)


@trick(".keras has a hundred thousand members")
def _keras_many(folder: Path) -> Made:
    path = keras_archive(folder / "m.keras")
    with zipfile.ZipFile(path, "a") as archive:
        for number in range(20_000):
            archive.writestr(f"assets/{number}", b"")
    return path, len(zipfile.ZipFile(path).namelist()) > 20_000


@trick(".keras is an archive behind something else")
def _keras_appended(folder: Path) -> Made:
    path = keras_archive(folder / "m.keras")
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"something else"
    return path, zipfile.is_zipfile(path)


@trick(".keras weights link to another file")
def _keras_weights_link(folder: Path) -> Made:
    with h5py.File(folder / "other.h5", "w") as other:
        other["secret"] = np.arange(9.0)

    def link(stored: h5py.File) -> None:
        stored["layers/kernel"] = h5py.ExternalLink(str(folder / "other.h5"), "secret")

    path = keras_archive(folder / "m.keras", weights=weights_h5(folder / "w.h5", link))
    with h5py.File(folder / "w.h5") as stored:
        return path, float(stored["layers/kernel"][8]) == 8.0


# HDF5 ------------------------------------------------------------------------------------------------------


def keras_h5(path: Path, fill: Callable[[h5py.File], None], config: object = CONFIG) -> Path:
    """A Keras model in HDF5 with something more in it."""
    with h5py.File(path, "w") as stored:
        stored.attrs["model_config"] = json.dumps(config)
        stored.create_group("model_weights")
        fill(stored)
    return path


@trick(".h5 links to another file")
def _h5_external_link(folder: Path) -> Made:
    with h5py.File(folder / "other.h5", "w") as other:
        other["secret"] = np.arange(9.0)

    def fill(stored: h5py.File) -> None:
        stored["model_weights/w"] = h5py.ExternalLink(str(folder / "other.h5"), "secret")

    path = keras_h5(folder / "m.h5", fill)
    with h5py.File(path) as stored:
        return path, float(stored["model_weights/w"][8]) == 8.0


@trick(".h5 keeps its numbers in a file elsewhere")
def _h5_external_storage(folder: Path) -> Made:
    (folder / "secret.bin").write_bytes(b"private!")

    def fill(stored: h5py.File) -> None:
        stored.create_dataset("model_weights/w", (8,), "u1", external=[(str(folder / "secret.bin"), 0, 8)])

    path = keras_h5(folder / "m.h5", fill)
    with h5py.File(path) as stored:
        return path, bytes(stored["model_weights/w"][:]) == b"private!"


@trick(".h5 shows a data set of another file as its own")
def _h5_virtual(folder: Path) -> Made:
    with h5py.File(folder / "other.h5", "w") as other:
        other["secret"] = np.arange(9.0)

    def fill(stored: h5py.File) -> None:
        layout = h5py.VirtualLayout((9,), "f8")
        layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "secret", (9,))
        stored.create_virtual_dataset("model_weights/w", layout)

    path = keras_h5(folder / "m.h5", fill)
    with h5py.File(path) as stored:
        return path, float(stored["model_weights/w"][8]) == 8.0


@trick(".h5 has a soft link")
def _h5_soft(folder: Path) -> Made:
    def fill(stored: h5py.File) -> None:
        stored["real"] = np.arange(9.0)
        stored["model_weights/w"] = h5py.SoftLink("/real")

    path = keras_h5(folder / "m.h5", fill)
    with h5py.File(path) as stored:
        return path, float(stored["model_weights/w"][8]) == 8.0


@trick(".h5 claims a terabyte of zeros")
def _h5_claim(folder: Path) -> Made:
    path = keras_h5(folder / "m.h5", lambda f: f.create_dataset("w", (1 << 38,), "f4", chunks=(1 << 20,)))
    with h5py.File(path) as stored:
        return path, stored["w"].size * 4 == 1 << 40 and path.stat().st_size < 1 << 20


@trick(".h5 leads in a circle")
def _h5_circle(folder: Path) -> Made:
    def fill(stored: h5py.File) -> None:
        deep = stored.create_group("/".join("g" * 100))
        deep["up"] = stored["model_weights"]
        stored["model_weights/again"] = stored["model_weights"]

    path = keras_h5(folder / "m.h5", fill)
    with h5py.File(path) as stored:
        return path, "/model_weights/again/again/again/again" in stored


@trick(".h5 is packed by a filter that plugins bring")
def _h5_filter(folder: Path) -> Made:
    path = keras_h5(folder / "m.h5", lambda f: f.create_dataset("w", (9,), "f4", compression="lzf"))
    with h5py.File(path) as stored:
        return path, stored["w"].compression == "lzf"


@trick(".h5 holds references instead of numbers")
def _h5_references(folder: Path) -> Made:
    def fill(stored: h5py.File) -> None:
        stored.create_dataset("w", (1,), h5py.ref_dtype)[0] = stored["model_weights"].ref

    path = keras_h5(folder / "m.h5", fill)
    with h5py.File(path) as stored:
        return path, stored[stored["w"][0]].name == "/model_weights"


@trick(".h5 holds an attribute of a hundred megabytes")
def _h5_attribute(folder: Path) -> Made:
    def fill(stored: h5py.File) -> None:
        stored["model_weights"].attrs["names"] = np.zeros(12 << 20, "u1")

    with h5py.File(folder / "m.h5", "w", libver="latest") as stored:
        stored.attrs["model_config"] = json.dumps(CONFIG)
        stored.create_group("model_weights")
        fill(stored)
    with h5py.File(folder / "m.h5") as stored:
        return folder / "m.h5", stored["model_weights"].attrs["names"].nbytes == 12 << 20


@trick(".h5 hides a class in a wrapper in a model")
def _h5_wrapped(folder: Path) -> Made:
    wrapped = {"class_name": "TimeDistributed", "config": {"layer": {"class_name": "Lambda", "config": {}}}}
    config = with_layer({"class_name": "Functional", "config": {"layers": [wrapped]}})
    path = keras_h5(folder / "m.h5", lambda _file: None, config)
    return path, [layer["class_name"] for layer in config["config"]["layers"]][-1] == "Functional"
