"""Whether the model of a bundle is compiled for the Edge TPU, and what of it stays on the CPU."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from edgepose.spec.records import Record

Count = Annotated[int, msgspec.Meta(ge=0)]


class EdgeTpuCompilation(Record, frozen=True, kw_only=True):
    """What a bundle for an Edge TPU says about its pose model.

    Attributes:
        status: ``compiled``, or ``not compiled``: then the bundle serves a preview on a CPU only.
        file: Path of the compiled model inside the bundle; None where it is not compiled.
        compiler_version: Version of edgetpu_compiler, or None.
        ops_total: Ops of the model before it was compiled.
        ops_on_cpu: Ops that the compiler left to the CPU; None where it is not compiled.
        predicted_ops_on_cpu: The same by the Edge TPU's published rules: no claim.
        refused: The first ops that stay on the CPU, with their reasons, in words.
    """

    status: Literal["compiled", "not compiled"]
    file: str | None = None
    compiler_version: str | None = None
    ops_total: Count
    ops_on_cpu: Count | None = None
    predicted_ops_on_cpu: Count
    refused: Annotated[tuple[str, ...], msgspec.Meta(max_length=16)] = ()

    def __post_init__(self) -> None:
        known = (self.file is not None, self.compiler_version is not None, self.ops_on_cpu is not None)
        if set(known) != {self.status == "compiled"}:
            raise ValueError("file, compiler_version and ops_on_cpu are known exactly where it is compiled")

    def describe(self) -> str:
        """The record in a few words, for a line of a report."""
        if self.status == "compiled":
            left = f"{self.ops_on_cpu} of {self.ops_total} ops on the CPU"
            return f"compiled by edgetpu_compiler {self.compiler_version}, {left}"
        left = f"{self.predicted_ops_on_cpu} of {self.ops_total} ops on the CPU"
        return f"not compiled (preview on a CPU only; the published rules predict {left})"
