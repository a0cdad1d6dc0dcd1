"""The record of ``edgepose convert``: ``edgepose.conversion/1``."""

from __future__ import annotations

from edgepose.spec.model_report import ModelInspection
from edgepose.spec.records import Record


class OutputParity(Record, frozen=True, kw_only=True):
    """How far one output of the converted model is from its parent's.

    Attributes:
        name: The parent's output.
        shape: The parent's shape.
        permutation: ``parent.transpose(permutation)`` has the converted model's axis order.
        max_abs_error: Largest difference over all pictures.
        value_range: Largest minus smallest value of the parent.
        correlation: Pearson's, over all values.
        argmax_agreement: Share of heatmaps whose highest cell is the same; None for other outputs.
    """

    name: str
    shape: tuple[int, ...]
    permutation: tuple[int, ...]
    max_abs_error: float
    value_range: float
    correlation: float
    argmax_agreement: float | None


class ConversionReport(Record, frozen=True, kw_only=True):
    """What a conversion did.

    Attributes:
        schema: The record's name and version.
        source_sha256: Digest of the model it started from.
        route: ``direct``, ``onnx2tf``, ``tensorflow`` or ``onnxruntime``.
        route_note: Why this route was taken where another comes first; empty otherwise.
        model: The written file.
        parity: Every output against the parent's.
        pictures: Number of pictures that were compared.
        seconds: Duration.
    """

    schema: str
    source_sha256: str
    route: str
    route_note: str
    model: ModelInspection
    parity: tuple[OutputParity, ...]
    pictures: int
    seconds: float
