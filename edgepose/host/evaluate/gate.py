"""Judges a model against the budgets of a device profile. Pure: it decides, others measure and act.

No usable data never passes, and a figure that is missing or not a number never passes either: every
comparison is written so that only a real number within its limit is good.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgepose.errors import GateFailedError
from edgepose.host.evaluate.agreement import AgreementReport
from edgepose.records.device_profile import DeviceProfile
from edgepose.records.evaluation_report import DeltaFigure, EvaluationReport, GateFailure, GateResult

# The lower end of the 95 % interval may lie this many times the allowed loss below zero.
INTERVAL_ALLOWANCE = 3.0
# What a budget names and only the device can tell; its health check does.
ONLY_ON_DEVICE = ("latency_p95_ms", "peak_memory_mib")
_BYTES_PER_MIB = 1 << 20


@dataclass(frozen=True)
class Evidence:
    """What is known about a model.

    Attributes:
        evaluation: Figures on labelled images with the float parent as baseline; None without labels.
        agreement: Agreement with the float parent on held-out images; it is judged only without labels.
        float_ops: Names of the ops that compute in float.
        integer_only: Whether no op, input or output of the model is float; taken as no unless said.
        is_float_parent: Whether this is itself the float model, so that there is nothing to lose.
        bundle_bytes: Size of the bundle; None where it is not built yet.
    """

    evaluation: EvaluationReport | None = None
    agreement: AgreementReport | None = None
    float_ops: tuple[str, ...] = ()
    integer_only: bool = False
    is_float_parent: bool = False
    bundle_bytes: int | None = None


def judge(profile: DeviceProfile, evidence: Evidence) -> GateResult:
    """Says whether a model may ship to a device."""
    if evidence.evaluation is not None:
        accuracy = list(_judge_labels(profile, evidence.evaluation, evidence))
    else:
        accuracy = list(_judge_agreement(profile, evidence))
    failures = (*accuracy, *_judge_ops(profile, evidence), *_judge_size(profile, evidence))
    unknown = ("bundle_mib",) if evidence.bundle_bytes is None else ()
    return GateResult(
        passed=not failures,
        failures=failures,
        not_measured=(*ONLY_ON_DEVICE, *unknown),
        accuracy="not measured" if evidence.evaluation is None else "measured",
        profile=profile.id,
    )


def require_pass(result: GateResult) -> None:
    """Does nothing when the gate passed.

    Raises:
        GateFailedError: It did not; the message names every failure.
    """
    if result.passed and not result.failures:
        return
    reasons = " ".join(failure.message for failure in result.failures) or "No reason was recorded."
    raise GateFailedError(f"The gate of profile '{result.profile}' failed. {reasons}")


def _judge_labels(
    profile: DeviceProfile, evaluation: EvaluationReport, evidence: Evidence
) -> Iterator[GateFailure]:
    budgets = profile.budgets
    if evaluation.baseline is not None:
        delta = evaluation.baseline.delta.get("oks_ap")
        yield from _judge_delta("oks_ap_drop", "AP", delta, budgets.max_oks_ap_drop)
        for name, part in evaluation.slices.items():
            if part.gated:
                delta = None if part.delta is None else part.delta.get("oks_ap")
                what = f"AP of slice {name} ({part.persons} persons)"
                yield from _judge_delta(f"slice_drop:{name}", what, delta, budgets.max_slice_drop)
    elif not evidence.is_float_parent:
        yield GateFailure(
            name="no_baseline",
            message="The loss against the float parent is unknown: give the float model with --baseline.",
            value=None,
            limit=None,
        )
    ap, floor = evaluation.metrics["oks_ap"].value, budgets.min_oks_ap
    if ap is None:
        yield _no_data("AP could not be measured on these labels.")
    elif floor is not None and not ap >= floor:
        yield GateFailure(
            name="min_oks_ap",
            message=f"AP is {ap:.3f}, the profile needs at least {floor:.3f}.",
            value=ap,
            limit=floor,
        )


def _judge_delta(name: str, what: str, delta: DeltaFigure | None, max_drop: float) -> Iterator[GateFailure]:
    if delta is None or delta.value is None or delta.interval_95 is None:
        yield _no_data(f"The paired difference in {what} could not be measured.")
        return
    low, lowest = delta.interval_95[0], -INTERVAL_ALLOWANCE * max_drop
    if not delta.value >= -max_drop:
        yield GateFailure(
            name=name,
            message=f"{what} changes by {delta.value:+.4f} against the float parent (95 % interval "
            f"{low:+.4f} to {delta.interval_95[1]:+.4f}); at most {-max_drop:+.4f} is allowed.",
            value=delta.value,
            limit=-max_drop,
        )
    elif not low >= lowest:
        yield GateFailure(
            name=f"{name}_interval",
            message=f"{what} changes by {delta.value:+.4f} against the float parent, but its 95 % interval "
            f"starts at {low:+.4f} and must not start below {lowest:+.4f}. "
            "Evaluate on more images to be sure.",
            value=low,
            limit=lowest,
        )


def _judge_agreement(profile: DeviceProfile, evidence: Evidence) -> Iterator[GateFailure]:
    needed = profile.budgets.min_agreement_oks
    agreement = evidence.agreement
    if agreement is None or agreement.mean_oks is None or agreement.poses < 1:
        yield _no_data(
            "There is no usable data: no labels, and no held-out picture in which the float model is sure "
            "of a person. Give --annotations and --images, or more pictures of people with --calibration."
        )
    elif not agreement.mean_oks >= needed:
        yield GateFailure(
            name="agreement_oks",
            message=f"The mean OKS with the float parent is {agreement.mean_oks:.4f} over {agreement.poses} "
            f"poses; at least {needed:.4f} is needed. Try another recipe or distil.",
            value=agreement.mean_oks,
            limit=needed,
        )


def _judge_ops(profile: DeviceProfile, evidence: Evidence) -> Iterator[GateFailure]:
    if not profile.quantization.integer_only or (evidence.integer_only and not evidence.float_ops):
        return
    names = ", ".join(sorted(set(evidence.float_ops))[:8]) or "its input or output"
    yield GateFailure(
        name="integer_only",
        message=f"The device runs integers only, but this is float: {names}. "
        "Quantize with a recipe whose inputs and outputs are integers.",
        value=float(len(evidence.float_ops)),
        limit=0.0,
    )


def _judge_size(profile: DeviceProfile, evidence: Evidence) -> Iterator[GateFailure]:
    if evidence.bundle_bytes is None:
        return
    size_mib, limit = evidence.bundle_bytes / _BYTES_PER_MIB, profile.budgets.bundle_mib
    if not size_mib <= limit:
        yield GateFailure(
            name="bundle_mib",
            message=f"The bundle has {size_mib:.1f} MiB, the profile allows {limit:.1f} MiB.",
            value=size_mib,
            limit=limit,
        )


def _no_data(message: str) -> GateFailure:
    return GateFailure(name="no_data", message=message, value=None, limit=None)
