"""From the trained network to files that every other command takes; ONNX is written batch 1, NCHW."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from edgepose.errors import ModelError
from edgepose.host.convert.conversion import ConversionRequest, Say, convert_model
from edgepose.host.distill.folded_network import FoldedNetwork, FoldedStep, fold
from edgepose.host.models.artifact import ModelArtifact, write_metadata
from edgepose.host.models.contents import ModelContents
from edgepose.records.files import write_whole
from edgepose.records.lineage import LINEAGE_METADATA_KEY, Lineage, ParentModel, lineage_to_json
from edgepose.records.model_spec import SPEC_METADATA_KEY, ModelSpec, spec_to_json
from edgepose.runtime.backend import run_once
from edgepose.runtime.model_file import ModelFile
from edgepose.runtime.open_model import open_backend

if TYPE_CHECKING:
    import onnx

# Resize with half-pixel centres as Keras upsamples; opset 13 is what old TensorRT releases read, too.
_OPSET = 13
_IR_VERSION = 8
_SEED = 20
_MOST_APART = 1e-4
_COMPARED = 3


def onnx_bytes(network: FoldedNetwork) -> bytes:
    """The file, without spec and lineage.

    Args:
        network: The folded student; its input becomes ``image`` (1, 3, H, W), its output ``heatmaps``
            (1, K, h, w).

    Returns:
        A serialized ONNX model, the same bytes for the same network.
    """
    import onnx
    from onnx import helper

    writer = _Writer(network)
    height, width, channels = network.input_shape
    image = helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [1, channels, height, width])
    maps = helper.make_tensor_value_info("heatmaps", onnx.TensorProto.FLOAT, writer.output_shape)
    graph = helper.make_graph(writer.nodes, "student", [image], [maps], writer.weights)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], producer_name="edgepose"
    )
    model.ir_version = _IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def require_same_answers(student: Any, path: Path) -> None:
    """Compares the file with the Keras student on random images.

    Raises:
        ModelError: They differ by more than rounding.
    """
    backend = open_backend(path)
    rng = np.random.default_rng(_SEED)
    _, _, height, width = backend.input.shape
    for _ in range(_COMPARED):
        coarse = rng.uniform(-1, 1, (1, height // 8, width // 8, 3))
        image = np.kron(coarse, np.ones((1, 8, 8, 1))).astype(np.float32)
        expected = np.asarray(student(image)).transpose(0, 3, 1, 2)
        found = run_once(backend, np.ascontiguousarray(image.transpose(0, 3, 1, 2)))[0]
        apart = float(np.abs(found - expected).max())
        if not apart <= _MOST_APART * max(float(np.ptp(expected)), 1e-6):
            raise ModelError(
                f"The ONNX file differs from the student by {apart:.2g} in a range of "
                f"{np.ptp(expected):.2g}. It was not written.",
                "Report this.",
            )


class _Writer:
    """One walk along the steps."""

    def __init__(self, network: FoldedNetwork) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._last = network.steps[-1].name
        height, width, channels = network.input_shape
        self._names = {network.input_name: "image"}
        self._shapes = {network.input_name: (channels, height, width)}
        self._scales_are_there = False
        self._limits_are_there = False
        # Keras counts its layers through the whole process; the file must not depend on that.
        for place, step in enumerate(network.steps):
            self._take(step, f"{step.kind}_{place}")

    @property
    def output_shape(self) -> list[int]:
        """(1, K, h, w)."""
        return [1, *self._shapes[self._last]]

    def _take(self, step: FoldedStep, name: str) -> None:
        name = "heatmaps" if step.name == self._last else name
        before_cut = f"{name}.linear" if step.relu6 else name
        if step.kind == "convolution":
            self._shapes[step.name] = self._convolution(step, before_cut)
        elif step.kind == "addition":
            self._shapes[step.name] = self._shapes[step.sources[0]]
            self._node("Add", [self._names[source] for source in step.sources], before_cut)
        else:
            channels, height, width = self._shapes[step.sources[0]]
            self._shapes[step.name] = channels, 2 * height, 2 * width
            self._resize(self._names[step.sources[0]], before_cut)
        if step.relu6:
            self._cut(before_cut, name)
        self._names[step.name] = name

    def _convolution(self, step: FoldedStep, output: str) -> tuple[int, int, int]:
        if step.kernel is None or step.bias is None:
            raise ModelError(f"Convolution '{step.name}' has no weights.")
        size, stride = step.kernel.shape[0], step.stride
        _, height, width = self._shapes[step.sources[0]]
        rows, columns = -(-height // stride), -(-width // stride)
        # Keras puts the odd pixel of padding 'same' behind.
        tall = max((rows - 1) * stride + size - height, 0)
        wide = max((columns - 1) * stride + size - width, 0)
        pads = [tall // 2, wide // 2, tall - tall // 2, wide - wide // 2]
        kernel = np.ascontiguousarray(step.kernel.transpose(3, 2, 0, 1))
        inputs = [self._names[step.sources[0]], f"{output}.kernel", f"{output}.bias"]
        self._store(inputs[1], kernel)
        self._store(inputs[2], step.bias)
        self._node("Conv", inputs, output, kernel_shape=[size, size], strides=[stride, stride], pads=pads)
        return step.kernel.shape[3], rows, columns

    def _resize(self, source: str, output: str) -> None:
        if not self._scales_are_there:
            self._store("doubled", np.array([1, 1, 2, 2], np.float32))
            self._scales_are_there = True
        self._node(
            "Resize",
            [source, "", "doubled"],
            output,
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        )

    def _cut(self, source: str, output: str) -> None:
        if not self._limits_are_there:
            self._store("zero", np.array(0, np.float32))
            self._store("six", np.array(6, np.float32))
            self._limits_are_there = True
        self._node("Clip", [source, "zero", "six"], output)

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))

    def _store(self, name: str, values: Any) -> None:
        from onnx import numpy_helper

        self.weights.append(numpy_helper.from_array(np.asarray(values, np.float32), name))


def export_student(
    student: Any, spec: ModelSpec, parents: tuple[ParentModel, ...], folder: Path, say: Say
) -> Path:
    """Writes ``model.keras`` and, compared with it, ``model.tflite`` and ``model.onnx``, spec inside.

    Returns:
        The TFLite file.

    Raises:
        ConfigError: A file cannot be written.
        ModelError: The conversion damaged the model.
        MissingDependencyError: TensorFlow, which converts, is not installed.
    """
    keras_file = folder / "model.keras"
    with TemporaryDirectory(prefix=".export.", dir=folder) as scratch:
        draft = Path(scratch) / "model.keras"
        student.save(draft)
        write_whole(keras_file, [draft.read_bytes()])
    source = ModelArtifact(
        file=ModelFile(keras_file),
        spec=spec,
        # What it holds was built here; nothing has to read it again.
        contents=ModelContents((), (), {}, {}, integer_only=False, precision="float32"),
        lineage=Lineage(parents=parents, tools={}, precision="float32") if parents else None,
    )
    output = folder / "model.tflite"
    converted = convert_model(ConversionRequest(source, "tflite", output, report=say)).artifact
    _write_onnx(student, converted, folder)
    return output


def _write_onnx(student: Any, converted: ModelArtifact, folder: Path) -> None:
    """``model.onnx``, for devices that run ONNX: the same network, compared with the Keras student."""
    data = onnx_bytes(fold(student))
    with TemporaryDirectory(prefix=".export.", dir=folder) as scratch:
        draft = Path(scratch) / "model.onnx"
        draft.write_bytes(data)
        require_same_answers(student, draft)
        channels_first = msgspec.structs.replace(converted.spec.input, layout="NCHW")
        spec = msgspec.structs.replace(converted.spec, input=channels_first)
        entries = {SPEC_METADATA_KEY: spec_to_json(spec)}
        if converted.lineage is not None:
            entries[LINEAGE_METADATA_KEY] = lineage_to_json(converted.lineage)
        write_metadata(draft, entries)
        write_whole(folder / "model.onnx", [draft.read_bytes()])
