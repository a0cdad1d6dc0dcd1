"""What an accelerator would take, or took, of a model: of a check, and of a bundle."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from edgepose.accelerators import accelerator
from edgepose.records.record import Record

Count = Annotated[int, msgspec.Meta(ge=0)]


class RefusedOp(Record, frozen=True, kw_only=True):
    """An op that the delegate does not take.

    Attributes:
        op: Kind of op, for example ``SOFTMAX``.
        tensor: Its first output tensor, or empty where only a compiler's summary is known.
        reason: Why, in words.
        count: How many ops of the kind are meant; 1 where ``tensor`` names one.
    """

    op: str
    tensor: str
    reason: str
    count: Count = 1


class DelegateReport(Record, frozen=True, kw_only=True):
    """The check of one model file for one delegate.

    Attributes:
        schema: ``edgepose.delegate_check/1``.
        delegate: Name of the accelerator.
        status: ``compiled``: the vendor's compiler ran and its log gives ``ops_on_delegate``;
            ``not compiled``: it is not here, so all there is are its published rules;
            ``rules checked``: the delegate has no compiler, the rules are all there is.
        compiler_version: Version of the compiler that ran, or None.
        ops_total: Ops of the model.
        ops_on_delegate: Ops that the compiler mapped; None unless ``compiled``.
        ops_on_cpu: Ops that it left to the CPU; None unless ``compiled``.
        predicted_ops_on_cpu: The same by the published rules: a prediction, never a claim.
        behind_refused: How many of the predicted ones are fine themselves and lie behind a refused op.
        refused: The ops with their reasons; by the compiler's words where it ran.
        max_ops_on_cpu: What the profile allows, or None where it sets no limit.
        model_bytes: Size of the model file.
        compiled_bytes: Size of the compiled file, or None.
        on_chip_bytes: Parameters that fit the accelerator's own memory, or None.
        off_chip_bytes: Parameters that are streamed for every frame, or None.
    """

    schema: Literal["edgepose.delegate_check/1"] = "edgepose.delegate_check/1"
    delegate: str
    status: Literal["compiled", "not compiled", "rules checked"]
    compiler_version: str | None = None
    ops_total: Count
    ops_on_delegate: Count | None = None
    ops_on_cpu: Count | None = None
    predicted_ops_on_cpu: Count
    behind_refused: Count = 0
    refused: tuple[RefusedOp, ...] = ()
    max_ops_on_cpu: Count | None = None
    model_bytes: Count = 0
    compiled_bytes: Count | None = None
    on_chip_bytes: Count | None = None
    off_chip_bytes: Count | None = None

    def __post_init__(self) -> None:
        accelerator(self.delegate)
        if (self.status == "compiled") != (self.ops_on_cpu is not None):
            raise ValueError("ops_on_cpu is known exactly where the status is 'compiled'")


class Compilation(Record, frozen=True, kw_only=True):
    """Whether a model is compiled for an accelerator that takes nothing else.

    Attributes:
        status: ``compiled``, or ``not compiled``: then the bundle serves a preview on a CPU only.
        file: Path of the compiled model inside the bundle; None where it is not compiled.
        compiler_version: Version of the vendor's compiler, or None.
        ops_total: Ops of the model before it was compiled.
        ops_on_cpu: Ops that the compiler left to the CPU; None where it is not compiled.
        predicted_ops_on_cpu: The same by the vendor's published rules: no claim.
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


class AcceleratorCompilation(Compilation, frozen=True, kw_only=True):
    """What a bundle says about its pose model and such an accelerator.

    Attributes:
        name: The accelerator.
    """

    name: str

    def __post_init__(self) -> None:
        accelerator(self.name)
        super().__post_init__()

    @property
    def title(self) -> str:
        """The accelerator's name for people."""
        return accelerator(self.name).title

    def describe(self) -> str:
        """The record in a few words, for a line of a report."""
        if self.status == "compiled":
            left = f"{self.ops_on_cpu} of {self.ops_total} ops on the CPU"
            return f"compiled by {accelerator(self.name).compiler} {self.compiler_version}, {left}"
        left = f"{self.predicted_ops_on_cpu} of {self.ops_total} ops on the CPU"
        return f"not compiled (preview on a CPU only; the published rules predict {left})"

    def without_name(self) -> Compilation:
        """As records said it while the Edge TPU was the only one: under a key of its name."""
        fields = (field for field in Compilation.__struct_fields__)
        return Compilation(**{field: getattr(self, field) for field in fields})
