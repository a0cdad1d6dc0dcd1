"""The gate passes only what is proven, and says why not."""

from __future__ import annotations

import math

import msgspec
import pytest

from edgepose.errors import GateFailedError
from edgepose.host.evaluate.agreement import AgreementReport
from edgepose.host.evaluate.gate import Evidence, judge, require_pass
from edgepose.records.device_profile import DeviceProfile, find_profile
from edgepose.records.evaluation_report import (
    BaselineReport,
    BootstrapReport,
    DeltaFigure,
    EvaluatedData,
    EvaluatedModel,
    EvaluationReport,
    GateResult,
    MetricFigure,
    SliceReport,
)

Delta = tuple[float | None, tuple[float, float] | None]
NO_LOSS: Delta = (0.0, (-0.001, 0.001))


@pytest.fixture
def profile() -> DeviceProfile:
    """A device that allows 0.01 AP overall, 0.03 in a slice, 20 MiB, agreement of 0.95."""
    found = find_profile("raspberrypi4")
    budgets = msgspec.structs.replace(
        found.budgets, max_oks_ap_drop=0.01, max_slice_drop=0.03, bundle_mib=20.0, min_agreement_oks=0.95
    )
    return msgspec.structs.replace(found, budgets=budgets)


def report(
    delta: Delta | None = NO_LOSS,
    slices: dict[str, tuple[int, Delta]] | None = None,
    ap: float | None = 0.6,
) -> EvaluationReport:
    figure = MetricFigure(value=ap, interval_95=(0.5, 0.7), sample_count=300)
    model = EvaluatedModel(path="m.onnx", sha256="0" * 64, precision="int8")

    def deltas(pair: Delta) -> dict[str, DeltaFigure]:
        return {"oks_ap": DeltaFigure(value=pair[0], interval_95=pair[1])}

    return EvaluationReport(
        model=model,
        dataset=EvaluatedData(
            digest="0" * 64,
            images=100,
            persons=300,
            keypoints=("nose",),
            keypoints_of_data=1,
            boxes_from="labels",
            labels_without_image=0,
            images_without_label=0,
        ),
        metrics={"oks_ap": figure},
        per_keypoint={},
        slices={
            name: SliceReport(persons=count, oks_ap=figure, delta=deltas(pair), gated=count >= 30)
            for name, (count, pair) in (slices or {}).items()
        },
        baseline=None
        if delta is None
        else BaselineReport(
            path="f.onnx",
            sha256="1" * 64,
            precision="float32",
            metrics={"oks_ap": figure},
            delta=deltas(delta),
        ),
        gate=None,
        detector=None,
        bootstrap=BootstrapReport(resamples=1000, seed=0),
    )


def names(result: GateResult) -> list[str]:
    assert result.passed == (not result.failures)
    return [failure.name for failure in result.failures]


def test_an_equal_model_passes(profile: DeviceProfile) -> None:
    result = judge(profile, Evidence(evaluation=report((0.0, (0.0, 0.0)))))
    assert result.passed
    assert result.accuracy == "measured"
    require_pass(result)


@pytest.mark.parametrize(
    ("delta", "expected"),
    [
        ((-0.01, (-0.02, 0.0)), []),
        ((-0.0101, (-0.02, 0.0)), ["oks_ap_drop"]),
        ((-0.005, (-0.03, 0.02)), []),
        ((-0.005, (-0.0301, 0.02)), ["oks_ap_drop_interval"]),
        ((0.2, (0.1, 0.3)), []),
        ((None, None), ["no_data"]),
        ((-0.005, None), ["no_data"]),
        ((math.nan, (0.0, 0.0)), ["oks_ap_drop"]),
        ((0.0, (math.nan, 0.0)), ["oks_ap_drop_interval"]),
    ],
)
def test_the_paired_difference_is_judged_at_its_limits(
    profile: DeviceProfile, delta: Delta, expected: list[str]
) -> None:
    assert names(judge(profile, Evidence(evaluation=report(delta)))) == expected


def test_a_wide_interval_asks_for_more_images(profile: DeviceProfile) -> None:
    result = judge(profile, Evidence(evaluation=report((0.0, (-0.2, 0.2)))))
    assert "more images" in result.failures[0].message
    assert (result.failures[0].value, result.failures[0].limit) == (-0.2, pytest.approx(-0.03))


def test_a_bad_slice_fails_although_the_mean_is_good(profile: DeviceProfile) -> None:
    slices = {"size_large": (30, NO_LOSS), "brightness_dark": (30, (-0.05, (-0.06, -0.04)))}
    result = judge(profile, Evidence(evaluation=report(slices=slices)))
    assert names(result) == ["slice_drop:brightness_dark"]


def test_a_slice_of_fewer_than_30_persons_is_reported_and_not_judged(profile: DeviceProfile) -> None:
    slices = {"size_small": (29, (-0.5, (-0.9, -0.1)))}
    assert judge(profile, Evidence(evaluation=report(slices=slices))).passed


def test_without_a_baseline_only_a_float_parent_itself_passes(profile: DeviceProfile) -> None:
    assert names(judge(profile, Evidence(evaluation=report(None)))) == ["no_baseline"]
    assert judge(profile, Evidence(evaluation=report(None), is_float_parent=True)).passed


def test_the_absolute_floor_is_judged_where_a_profile_has_one(profile: DeviceProfile) -> None:
    budgets = msgspec.structs.replace(profile.budgets, min_oks_ap=0.65)
    strict = msgspec.structs.replace(profile, budgets=budgets)
    assert names(judge(strict, Evidence(evaluation=report()))) == ["min_oks_ap"]
    assert judge(strict, Evidence(evaluation=report(ap=0.65))).passed


def test_labels_that_measure_nothing_never_pass(profile: DeviceProfile) -> None:
    assert names(judge(profile, Evidence(evaluation=report(ap=None)))) == ["no_data"]


@pytest.mark.parametrize(
    ("agreement", "expected"),
    [
        (AgreementReport(0.95, 0.9, 10, 10), []),
        (AgreementReport(0.949, 0.9, 10, 10), ["agreement_oks"]),
        (AgreementReport(math.nan, 0.9, 10, 10), ["agreement_oks"]),
        (AgreementReport(None, None, 0, 10), ["no_data"]),
        (None, ["no_data"]),
    ],
)
def test_without_labels_the_agreement_is_judged_and_accuracy_is_not_measured(
    profile: DeviceProfile, agreement: AgreementReport | None, expected: list[str]
) -> None:
    result = judge(profile, Evidence(agreement=agreement))
    assert names(result) == expected
    assert result.accuracy == "not measured"


def test_good_agreement_does_not_save_a_model_whose_labels_say_it_is_bad(profile: DeviceProfile) -> None:
    agreement = AgreementReport(1.0, 1.0, 10, 10)
    bad = Evidence(evaluation=report((-0.3, (-0.4, -0.2))), agreement=agreement)
    assert names(judge(profile, bad)) == ["oks_ap_drop"]


@pytest.mark.parametrize(
    ("float_ops", "integer_only", "named"),
    [
        (("NEG", "NEG", "ADD"), False, "ADD, NEG"),
        (("NEG",), True, "NEG"),
        ((), False, "input or output"),
        ((), True, None),
    ],
)
def test_float_fails_where_the_device_runs_integers_only(
    profile: DeviceProfile, float_ops: tuple[str, ...], integer_only: bool, named: str | None
) -> None:
    evidence = Evidence(evaluation=report(), float_ops=float_ops, integer_only=integer_only)
    assert judge(profile, evidence).passed
    strict = msgspec.structs.replace(profile.quantization, integer_only=True)
    result = judge(msgspec.structs.replace(profile, quantization=strict), evidence)
    assert names(result) == ([] if named is None else ["integer_only"])
    assert named is None or named in result.failures[0].message


def test_the_size_of_the_bundle_is_judged_when_it_is_known(profile: DeviceProfile) -> None:
    assert names(judge(profile, Evidence(evaluation=report(), bundle_bytes=21 << 20))) == ["bundle_mib"]
    small = judge(profile, Evidence(evaluation=report(), bundle_bytes=20 << 20))
    assert small.passed
    assert small.not_measured == ("latency_p95_ms", "peak_memory_mib")


def test_what_only_a_device_can_measure_is_said(profile: DeviceProfile) -> None:
    result = judge(profile, Evidence(evaluation=report()))
    assert result.not_measured == ("latency_p95_ms", "peak_memory_mib", "bundle_mib")


def test_the_error_names_every_failure(profile: DeviceProfile) -> None:
    evidence = Evidence(evaluation=report((-0.3, (-0.4, -0.2))), bundle_bytes=30 << 20)
    with pytest.raises(GateFailedError) as refused:
        require_pass(judge(profile, evidence))
    assert refused.value.exit_code == 6
    assert "-0.3000" in str(refused.value)
    assert "30.0 MiB" in str(refused.value)
    assert "raspberrypi4" in str(refused.value)


def test_a_result_without_reasons_that_did_not_pass_is_still_refused() -> None:
    result = GateResult(passed=False, failures=(), not_measured=(), accuracy="measured", profile="x")
    with pytest.raises(GateFailedError):
        require_pass(result)


@pytest.mark.parametrize(("poses", "passed"), [(1, True), (0, False)])
def test_one_pose_is_enough_to_agree_on(profile: DeviceProfile, poses: int, passed: bool) -> None:
    assert judge(profile, Evidence(agreement=AgreementReport(1.0, 1.0, poses, 1))).passed == passed


def test_each_failure_tells_what_was_found_and_what_is_allowed(profile: DeviceProfile) -> None:
    budgets = msgspec.structs.replace(profile.budgets, min_oks_ap=0.7)
    quantization = msgspec.structs.replace(profile.quantization, integer_only=True)
    strict = msgspec.structs.replace(profile, budgets=budgets, quantization=quantization)
    slices = {"size_small": (30, (-0.04, (-0.05, 0.0))), "size_large": (30, (-0.02, (-0.1, 0.0)))}
    evidence = Evidence(
        evaluation=report((-0.02, (-0.025, 0.0)), slices),  # type: ignore[arg-type]
        float_ops=("b", "a", "a"),
        bundle_bytes=21 << 20,
    )
    found = {failure.name: (failure.value, failure.limit) for failure in judge(strict, evidence).failures}
    assert found == {
        "oks_ap_drop": (-0.02, -0.01),
        "slice_drop:size_small": (-0.04, -0.03),
        # Three times the allowed loss.
        "slice_drop:size_large_interval": (-0.1, pytest.approx(-0.09)),
        "min_oks_ap": (0.6, 0.7),
        "integer_only": (3.0, 0.0),
        "bundle_mib": (21.0, 20.0),
    }
    agreed = judge(profile, Evidence(agreement=AgreementReport(0.9, 0.8, 5, 5))).failures
    assert [(each.name, each.value, each.limit) for each in agreed] == [("agreement_oks", 0.9, 0.95)]


def test_what_could_not_be_judged_yet_is_named(profile: DeviceProfile) -> None:
    on_device = ("latency_p95_ms", "peak_memory_mib")
    assert judge(profile, Evidence(evaluation=report())).not_measured == (*on_device, "bundle_mib")
    assert judge(profile, Evidence(evaluation=report(), bundle_bytes=1)).not_measured == on_device
