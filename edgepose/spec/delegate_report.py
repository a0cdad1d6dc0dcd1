"""What an accelerator would take, or took, of a model: the record of a delegate check."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from edgepose.spec.records import Record

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
        delegate: Whose rules.
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
    delegate: Literal["edgetpu", "gpu"]
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
        if (self.status == "compiled") != (self.ops_on_cpu is not None):
            raise ValueError("ops_on_cpu is known exactly where the status is 'compiled'")
