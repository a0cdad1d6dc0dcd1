"""What ``builtin_models/manifest.json`` says of the models that travel in the wheel."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from edgepose.spec.records import Record

BuiltinRole = Literal["pose", "detector"]


class BuiltinFile(Record, frozen=True, kw_only=True):
    """One file.

    Attributes:
        file: Its name.
        sha256: Its digest.
        role: What it does.
        precision: ``float32`` is ONNX and the parent of the others; ``int8`` is TFLite, integers only.
    """

    file: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]+$")]
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
    role: BuiltinRole
    precision: Literal["float32", "int8"]


class BuiltinManifest(Record, frozen=True, kw_only=True):
    """All of them.

    Attributes:
        schema: ``edgepose.builtin/1``.
        licence: Of the weights, in a sentence; the whole text lies beside the manifest.
        files: The models.
    """

    schema: Literal["edgepose.builtin/1"]
    licence: str
    files: tuple[BuiltinFile, ...]
