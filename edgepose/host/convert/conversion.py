"""Converts a model and keeps the result only when it computes the same.

Gives a converted TFLite file what runtimes and quantizers need: names and a signature.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import msgspec
import numpy as np

from edgepose.errors import ConfigError, ModelError
from edgepose.host.convert.parity import (
    compared_images,
    match_outputs,
    refuse_non_finite_outputs,
    run_on_images,
    stored_inputs,
)
from edgepose.host.convert.routes import (
    RouteResult,
    by_onnx2tf,
    directly,
    fixed_onnx,
    require_float,
    take_route,
)
from edgepose.host.models.artifact import ModelArtifact, open_artifact, with_entries
from edgepose.host.models.golden import golden_from_parent
from edgepose.host.models.inspect import inspect_model
from edgepose.host.models.locked_backend import LockedBackend
from edgepose.host.models.tflite_view import read_tflite, signature_of, tensor_name
from edgepose.records.files import write_whole
from edgepose.records.lineage import (
    LINEAGE_METADATA_KEY,
    ConversionReport,
    GoldenPose,
    Lineage,
    OutputParity,
    ParentModel,
    lineage_to_json,
)
from edgepose.records.model_spec import SPEC_METADATA_KEY, ModelSpec, spec_to_json
from edgepose.runtime.backend import Backend
from edgepose.runtime.bundle_model import GOLDEN_SCORE_THRESHOLD
from edgepose.runtime.model_file import ModelFile
from edgepose.runtime.open_model import open_backend
from edgepose.runtime.pipeline import PosePipeline


def finish_tflite(data: bytes | memoryview, input_name: str, output_names: dict[str, str]) -> bytes:
    """Renames input and outputs and adds the signature that onnx2tf leaves out.

    Args:
        data: The converted file, with one subgraph and one input.
        input_name: Name for the input.
        output_names: The converter's output names to the parent's.
    """
    from ai_edge_litert.tools import flatbuffer_utils

    graph = read_tflite(data)
    subgraph = graph.subgraphs[0]
    inputs, outputs = list(subgraph.inputs), list(subgraph.outputs)
    # Names must be unique: an inner tensor gives way to an input or output.
    wanted = {inputs[0]: input_name, **{i: output_names[tensor_name(subgraph.tensors[i])] for i in outputs}}
    for index, tensor in enumerate(subgraph.tensors):
        if index not in wanted and tensor_name(tensor) in wanted.values():
            tensor.name = f"{tensor_name(tensor)}_inner".encode()
    for index, name in wanted.items():
        subgraph.tensors[index].name = name.encode()
    graph.signatureDefs = [
        signature_of([(input_name, inputs[0])], [(wanted[index], index) for index in outputs])
    ]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(graph))


Target = Literal["tflite", "onnx"]
Say = Callable[[str], None]


@dataclass(frozen=True)
class ConversionRequest:
    """What to convert."""

    source: ModelArtifact
    target: Target
    output: Path
    report: Say = field(default=lambda _line: None)


@dataclass(frozen=True)
class ConversionResult:
    """What came out."""

    artifact: ModelArtifact
    record: ConversionReport

    def summary(self) -> str:
        """The record in a few lines."""
        lines = [
            (
                f"{self.artifact.path}: {self.artifact.format} {self.artifact.precision}, "
                f"{self.artifact.size_bytes / 2**20:.2f} MiB, {sum(self.record.model.ops.values())} ops, "
                f"by {self.record.route} in {self.record.seconds:.1f} s"
            )
        ]
        for parity in self.record.parity:
            maxima = (
                "" if parity.argmax_agreement is None else f", maxima {parity.argmax_agreement:.1%} equal"
            )
            lines.append(
                f"  {parity.name} {list(parity.shape)}: largest error {parity.max_abs_error:.2g} in a "
                f"range of {parity.value_range:.3g}, correlation {parity.correlation:.6f}{maxima}"
            )
        return "\n".join(lines)


def convert_model(request: ConversionRequest) -> ConversionResult:
    """Converts, fixes the batch at 1, compares every output with the parent's, embeds spec and lineage.

    The source is only read. The output is written whole at the end, or not at all.

    Raises:
        ConfigError: There is no way from this format to that one, or the output cannot be written.
        MissingDependencyError: A package or tool of the route is not installed.
        ModelError: The model is damaged or unsupported, or the conversion damaged it.
    """
    start_ns = time.monotonic_ns()
    source = request.source
    _check_output(request)
    require_float(source, request.target)
    try:
        with TemporaryDirectory(prefix=f".{request.output.name}.", dir=request.output.parent) as folder:
            draft = Path(folder) / "converted"
            result, proven = _by_the_first_good_route(request, draft)
            entries = _entries(source, proven.spec, result, _golden(source, proven))
            data = with_entries(proven.file, entries)
            write_whole(request.output, [data])
    except OSError as problem:
        raise ConfigError(f"Cannot write {request.output}: {problem.strerror}.") from problem
    # The runtime has the same numbers loaded already, from a file without the entries.
    artifact = open_artifact(ModelFile(request.output, data), opened=proven.backend)
    record = ConversionReport(
        schema="edgepose.conversion/1",
        source_sha256=source.sha256,
        route=result.route,
        route_note=result.note,
        model=inspect_model(artifact),
        parity=proven.parity,
        pictures=len(compared_images()),
        seconds=(time.monotonic_ns() - start_ns) / 1e9,
    )
    return ConversionResult(artifact, record)


def _check_output(request: ConversionRequest) -> None:
    output, source = request.output, request.source.path
    if output.is_dir() or not output.parent.is_dir():
        raise ConfigError(f"Cannot write {output}: it is a folder, or its folder does not exist.")
    if output.exists() and output.samefile(source):
        raise ConfigError(f"{output} is the source itself; it is kept.", "Give -o another name.")


@dataclass(frozen=True)
class _Proven:
    """A converted file that computes what its parent does, with its parent's names, and loaded."""

    file: ModelFile
    backend: Backend
    spec: ModelSpec
    parity: tuple[OutputParity, ...]


def _by_the_first_good_route(request: ConversionRequest, draft: Path) -> tuple[RouteResult, _Proven]:
    """Tries the direct route; what it cannot do, or not prove, goes the other way and is noted."""
    source = request.source
    if source.format != "onnx" or request.target != "tflite":
        result = take_route(source, request.target, draft, stored_inputs(source), request.report)
        return result, _proven(source, result, draft)
    fixed = fixed_onnx(source, draft)
    # A parent that cannot run, or gives NaN, is no reason to try another route.
    parent = run_on_images(LockedBackend(fixed.path), source.spec.input)
    refuse_non_finite_outputs(parent)
    try:
        result = replace(directly(source, fixed, draft), parent_outputs=parent)
        return result, _proven(source, result, draft)
    except ModelError as problem:
        reason = problem.message
    request.report(f"The direct route is not possible ({reason}) Taking onnx2tf, about half a minute ...")
    result = replace(by_onnx2tf(source, fixed, draft, reason), parent_outputs=parent)
    return result, _proven(source, result, draft)


def _proven(source: ModelArtifact, result: RouteResult, draft: Path) -> _Proven:
    """Compares, then gives the converted file its parent's names."""
    file = ModelFile(draft)
    backend = open_backend(file)
    spec = _spec_of_converted(source, backend.input.shape)
    outputs = run_on_images(backend, spec.input)
    parent = result.parent_outputs
    if parent is None:
        parent = run_on_images(LockedBackend(result.parent_file or source.path), source.spec.input)
    matched = match_outputs(parent, outputs, result.orders)
    if result.unfinished:
        names = {theirs: ours for ours, (theirs, _) in matched.items()}
        data = finish_tflite(file.data, source.spec.input.name or result.input_name, names)
        # Not written in place: the runtime has the file mapped.
        write_whole(draft, [data])
        file = ModelFile(draft, data)
        backend = open_backend(file)
    return _Proven(file, backend, spec, tuple(parity for _, parity in matched.values()))


def _spec_of_converted(source: ModelArtifact, shape: tuple[int, ...]) -> ModelSpec:
    """The parent's spec with the layout that the converted file has."""
    layout = source.spec.input.layout
    if len(shape) == 4 and (shape[1] == 3) != (shape[3] == 3):
        layout = "NCHW" if shape[1] == 3 else "NHWC"
    changed = msgspec.structs.replace(source.spec.input, layout=layout)
    return msgspec.structs.replace(source.spec, input=changed)


def _golden(source: ModelArtifact, proven: _Proven) -> tuple[GoldenPose, ...]:
    """The float model's poses on drawn frames; the converted file computes what its parent does."""
    if source.lineage is not None and source.lineage.golden:
        return source.lineage.golden
    if proven.spec.paradigm == "detector":
        return ()
    return golden_from_parent(PosePipeline(proven.backend, proven.spec, GOLDEN_SCORE_THRESHOLD))


def _entries(
    source: ModelArtifact, spec: ModelSpec, result: RouteResult, golden: tuple[GoldenPose, ...]
) -> dict[str, str]:
    before = source.lineage
    parent = ParentModel(
        file_name=source.path.name, sha256=source.sha256, step=f"convert {source.format}: {result.route}"
    )
    lineage = Lineage(
        parents=(*(before.parents if before else ()), parent),
        tools={**(before.tools if before else {}), **result.tools, "numpy": np.__version__},
        precision=source.precision,
        golden=golden,
    )
    return {SPEC_METADATA_KEY: spec_to_json(spec), LINEAGE_METADATA_KEY: lineage_to_json(lineage)}
