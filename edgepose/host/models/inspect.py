"""``models inspect``: what a file is, without running it."""

from __future__ import annotations

from pathlib import Path

from edgepose.errors import ConfigError
from edgepose.host.models.artifact import ModelArtifact
from edgepose.host.models.contents import read_contents
from edgepose.records.lineage import ModelInspection, TensorReport
from edgepose.records.model_spec import SPEC_METADATA_KEY, ModelSpec
from edgepose.runtime.model_file import ModelFile
from edgepose.runtime.preprocess import expected_shape


def inspect_model(model: Path | ModelArtifact, spec_file: Path | None = None) -> ModelInspection:
    """Says what a model is (one opened before is not read again); ``spec_file`` may name a ready spec.

    Raises:
        ModelError: It is missing, damaged or no model, or its spec is.
        ConfigError: The given spec is wrong.
        MissingDependencyError: The package that reads its format is not installed.
    """
    if isinstance(model, ModelArtifact):
        file, contents = model.file, model.contents
    else:
        file = ModelFile(model)
        contents = read_contents(file)
    spec, spec_from = _find_spec(file, spec_file)
    return ModelInspection(
        schema="edgepose.model/1",
        format=file.format,
        precision=contents.precision,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
        inputs=contents.inputs,
        outputs=contents.outputs,
        ops=contents.ops,
        integer_only=contents.integer_only,
        float_ops=contents.float_ops,
        spec=spec,
        spec_from=spec_from,
        missing=tuple(_missing(spec, contents.inputs)),
    )


def describe_inspection(report: ModelInspection) -> str:
    """The report as people read it."""
    float_count, op_count = sum(report.float_ops.values()), sum(report.ops.values())
    ops = ", ".join(f"{name} {count}" for name, count in sorted(report.ops.items(), key=lambda o: -o[1]))
    lines = [
        f"format      {report.format}, {report.precision}, {report.size_bytes / 2**20:.2f} MiB",
        f"sha256      {report.sha256}",
        *(f"input       {_tensor(tensor)}" for tensor in report.inputs),
        *(f"output      {_tensor(tensor)}" for tensor in report.outputs),
        f"ops         {op_count}: {ops}",
        f"float ops   {float_count} of {op_count}" + (" (integer only)" if report.integer_only else ""),
    ]
    if report.spec is not None:
        spec = report.spec
        name = f"{spec.name} {spec.version}, {spec.paradigm}, {spec.licence}"
        lines.append(f"spec        {name} (from: {report.spec_from})")
    lines += [f"missing     {item}" for item in report.missing]
    return "\n".join(lines)


def _find_spec(model: ModelFile, spec_file: Path | None) -> tuple[ModelSpec | None, str]:
    if SPEC_METADATA_KEY in model.metadata:
        return model.spec(), "file"
    if spec_file is not None:
        return model.spec(spec_file), "option"
    try:
        return model.spec(), "known model"
    except ConfigError:
        return None, "missing"


def _missing(spec: ModelSpec | None, inputs: tuple[TensorReport, ...]) -> list[str]:
    found = []
    if len(inputs) != 1:
        found.append(f"one input; the file has {len(inputs)}")
    if spec is None:
        found.append("a spec: give --spec FILE.toml (edgepose models list shows the ready ones)")
    elif len(inputs) == 1:
        expected, shape = expected_shape(spec.input), inputs[0].shape
        fits = len(shape) == 4 and all(s in {-1, e} for s, e in zip(shape, expected, strict=True))
        if not fits:
            found.append(
                f"agreement: the spec says input {spec.input.layout} {expected}, the file has {shape}"
            )
    return found


def _tensor(tensor: TensorReport) -> str:
    scale = f", scale {tensor.scale:.6g}, zero point {tensor.zero_point}" if tensor.scale else ""
    return f"{tensor.name} {tensor.dtype} {list(tensor.shape)}{scale}"
