"""Which ops of a model still compute in float: the check that catches silent damage.

Converters and quantizers leave ops in float without an error. So after every step the file itself is
read, op by op and type by type.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from edgepose.errors import ModelError
from edgepose.inference.model_file import detect_format
from edgepose.spec.recipe import QuantizationRecipe

_SHOWN = 5


@dataclass(frozen=True)
class AuditedOp:
    """An op that the audit has something to say about.

    Attributes:
        op: Op name.
        name: Its first output tensor (TFLite) or its node name (ONNX).
        tensors: Its output tensors; where an activation is one op with it, also that one's name and output.
    """

    op: str
    name: str
    tensors: tuple[str, ...]


@dataclass(frozen=True)
class OpAudit:
    """What computes how.

    Attributes:
        ops: Count of every op.
        float_ops: Ops that compute on float values. Steps that only turn float into integer or back
            (QUANTIZE, DEQUANTIZE, casts of stored weights) are not among them.
        wide_weights: Weighted ops whose stored weights are float32.
        integer_only: Whether no tensor of the whole file is float, inputs and outputs included.
    """

    ops: dict[str, int]
    float_ops: tuple[AuditedOp, ...]
    wide_weights: tuple[AuditedOp, ...]
    integer_only: bool

    @property
    def float_op_counts(self) -> dict[str, int]:
        """How many ops of each kind compute in float, most frequent first."""
        return dict(Counter(op.op for op in self.float_ops).most_common())


def audit_model(path: Path) -> OpAudit:
    """Reads the ops and types of a TFLite or ONNX file.

    Raises:
        ModelError: The file is damaged, or neither TFLite nor ONNX.
    """
    model_format = detect_format(path)
    if model_format == "tflite":
        from edgepose.host.quantize.audit_tflite import audit_tflite

        return audit_tflite(path.read_bytes())
    if model_format == "onnx":
        from edgepose.host.quantize.audit_onnx import audit_onnx

        return audit_onnx(path)
    raise ModelError(f"{path.name} is a {model_format} model; the op audit reads TFLite and ONNX.")


def refuse_silent_float(audit: OpAudit, recipe: QuantizationRecipe, *, integer_only: bool = False) -> None:
    """Judges an audit against what the recipe promises.

    Args:
        audit: Of the written file.
        recipe: How it was quantized.
        integer_only: Whether the device needs integer inputs and outputs too.

    Raises:
        ModelError: Something is wider than the recipe says, and the recipe does not exclude it.
    """
    excluded = {entry.name for entry in recipe.excluded}
    if recipe.kind == "static":
        left = _not_excluded(audit.float_ops, excluded)
        if left:
            raise ModelError(
                f"Recipe '{recipe.name}' promises integer ops, but {len(left)} stayed in float: "
                f"{_listed(left)}.",
                "Name them under `excluded` with a reason in a recipe file of your own, replace the op in "
                "the model, or use --recipe float16.",
            )
    if recipe.kind != "none":
        wide = _not_excluded(audit.wide_weights, excluded)
        if wide:
            raise ModelError(
                f"Recipe '{recipe.name}' promises {recipe.weight_bits}-bit weights, but {len(wide)} ops keep "
                f"float32 weights: {_listed(wide)}.",
                "Name them under `excluded` with a reason in a recipe file of your own.",
            )
    if (integer_only or recipe.integer_io) and not audit.integer_only:
        raise ModelError(
            "The device needs every op, input and output to be integer, but the file holds float tensors.",
            "Use --recipe static_wi8_ai8_integer_io without exclusions.",
        )


def _not_excluded(ops: tuple[AuditedOp, ...], excluded: set[str]) -> list[AuditedOp]:
    return [op for op in ops if not excluded & {op.name, *op.tensors}]


def _listed(ops: list[AuditedOp]) -> str:
    shown = ", ".join(f"{op.op} '{op.name}'" for op in ops[:_SHOWN])
    return shown if len(ops) <= _SHOWN else f"{shown} and {len(ops) - _SHOWN} more"
