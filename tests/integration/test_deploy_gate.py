"""The gate inside a deployment: where it refuses, nothing that comes after it happens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import pytest

from edgepose.errors import ConfigError, GateFailedError
from edgepose.host.deploy.deployment import deploy
from edgepose.host.deploy.judgement import (
    measure_and_judge,
    pictures_of,
    require_pass,
    require_separate_pictures,
)
from edgepose.host.deploy.plan import DeployPlan, DeployRequest
from edgepose.host.models.artifact import ModelArtifact, open_artifact
from edgepose.records.deployment_report import InstallationReport, InstallOptions
from edgepose.records.device_profile import DeviceProfile, find_profile
from edgepose.records.device_status import HealthReport
from edgepose.records.evaluation_report import GateFailure, GateResult
from edgepose.records.lineage import RECIPES
from edgepose.records.quantization import TensorError
from edgepose.trust.bundle_reader import verify_bundle
from tests.support.marker_models import shuffle_weights


@dataclass
class Target:
    """Takes what is installed, and says what was asked of it."""

    asked: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)

    def check(self, _profile: DeviceProfile) -> None:
        self.asked.append("check")

    def next_version(self) -> int:
        self.asked.append("next_version")
        return 7

    def install(
        self, bundle: Path, options: InstallOptions, say: Callable[[str], None]
    ) -> InstallationReport:
        assert not options.allow_downgrade
        say("installing")
        self.asked.append("install")
        self.models.append(verify_bundle(bundle).model.sha256)
        health = HealthReport(passed=True, failures=(), verified_on="host", accelerator="not_verified")
        return InstallationReport(root="/there", active_slot="a", bundle_version=7, health=health)


@pytest.fixture(name="said")
def _said() -> list[str]:
    return []


@pytest.fixture(name="request_")
def _request(marker_onnx_with_spec: Path, marker_set: Path, tmp_path: Path, said: list[str]) -> DeployRequest:
    return DeployRequest(
        profile=find_profile("jetson"),
        model=marker_onnx_with_spec,
        root=tmp_path / "root",
        calibration=marker_set,
        precision="float32",
        say=said.append,
    )


@pytest.fixture(name="shuffled")
def _shuffled(marker_onnx_with_spec: Path, tmp_path: Path) -> Path:
    return shuffle_weights(marker_onnx_with_spec, tmp_path / "shuffled.onnx")


def labelled(request: DeployRequest, folder: Path) -> DeployRequest:
    return replace(request, annotations=folder / "person_keypoints.json", images=folder / "images")


def with_budgets(request: DeployRequest, **budgets: float) -> DeployRequest:
    changed = msgspec.structs.replace(request.profile.budgets, **budgets)
    return replace(request, profile=msgspec.structs.replace(request.profile, budgets=changed))


def step_names(said: list[str]) -> list[str]:
    return [line.split("] ")[1].split()[0] for line in said if line.startswith("[")]


def failed(*failures: GateFailure) -> GateResult:
    return GateResult(
        passed=False, failures=failures, not_measured=(), accuracy="measured", profile="raspberrypi4"
    )


def failure(name: str, message: str, value: float | None = None) -> GateFailure:
    return GateFailure(name=name, message=message, value=value, limit=None)


def test_a_model_that_passes_is_said_to_have_passed_and_is_what_is_installed(
    request_: DeployRequest, said: list[str]
) -> None:
    target = Target()
    report = deploy(request_, target)
    assert step_names(said) == ["convert", "evaluate", "gate", "bundle", "install"]
    gate = next(line for line in said if " gate " in line)
    assert "passed; left to the device: latency_p95_ms, peak_memory_mib" in gate
    assert target.asked == ["check", "next_version", "install"]
    assert report.bundle is not None
    assert target.models == [report.bundle.model_sha256]


def test_a_refused_model_is_never_said_to_have_passed_and_nothing_follows(
    request_: DeployRequest, shuffled: Path, said: list[str]
) -> None:
    target = Target()
    with pytest.raises(GateFailedError) as refused:
        deploy(replace(request_, float_parent=shuffled), target)
    assert refused.value.message.startswith(
        "The gate of profile 'jetson-orin-nano' failed; the device was not touched.\n  The mean OKS"
    )
    assert step_names(said) == ["convert", "evaluate"]
    assert not any("passed" in line for line in said)
    assert target.asked == ["check"]


def test_a_gate_that_passed_stops_nothing() -> None:
    passed = GateResult(
        passed=True, failures=(), not_measured=(), accuracy="measured", profile="raspberrypi4"
    )
    require_pass(passed, ())


def test_a_gate_that_failed_names_its_reasons_the_slices_and_the_worst_tensors() -> None:
    worst = TensorError(
        name="block3",
        op="CONV_2D",
        sqnr_db=4.26,
        relative_error=0.6,
        range_low=0.0,
        range_high=1.0,
        channel_range_ratio=None,
        starved_channels=0,
    )
    result = failed(
        failure("oks_ap_drop", "AP changes by -0.1000."),
        failure("slice_drop:size_small", "long", -0.12),
        failure("slice_drop:blur_sharp_interval", "long", -0.3),
    )
    with pytest.raises(GateFailedError) as refused:
        require_pass(result, (worst,))
    assert refused.value.message.split("\n  ") == [
        "The gate of profile 'raspberrypi4' failed; the device was not touched.",
        "AP changes by -0.1000.",
        "Slices over their budget: size_small -0.120, blur_sharp -0.300.",
        "Worst tensors by signal to quantization noise: block3 (4.3 dB).",
    ]


def test_a_gate_that_failed_without_slices_or_tensors_names_only_its_reason() -> None:
    with pytest.raises(GateFailedError) as refused:
        require_pass(failed(failure("no_data", "There is no usable data.")), ())
    assert refused.value.message.endswith("was not touched.\n  There is no usable data.")


def test_without_labels_the_judgement_says_so_and_counts_the_held_out_poses(
    request_: DeployRequest, marker_onnx_with_spec: Path
) -> None:
    said: list[str] = []
    model = open_artifact(marker_onnx_with_spec)
    gate, summary = measure_and_judge(request_, model, model, said.append)
    assert (gate.passed, gate.accuracy) == (True, "not measured")
    assert (summary.method, summary.parent_sha256, summary.dataset_digest) == (
        "agreement",
        model.sha256,
        None,
    )
    # A fifth of 24 pictures with one figure each is held out.
    assert summary.samples == 4
    assert summary.value == pytest.approx(1.0)
    assert said == [
        "OKS with the float parent 1.0000 over 4 held-out poses; accuracy not measured (no labels)"
    ]


def test_with_labels_the_shipped_model_is_measured_against_its_parent(
    request_: DeployRequest, marker_onnx_with_spec: Path, shuffled: Path, marker_pairs: Path
) -> None:
    request = labelled(request_, marker_pairs)
    good, bad = open_artifact(marker_onnx_with_spec), open_artifact(shuffled)
    said: list[str] = []
    gate, summary = measure_and_judge(request, good, good, said.append)
    assert (gate.passed, gate.accuracy, summary.method) == (True, "measured", "labels")
    assert (summary.samples, summary.delta) == (24, 0.0)
    assert summary.value is not None
    assert summary.value > 0.5
    assert said == [
        f"AP {summary.value:.4f} on 24 persons, +0.0000 [+0.0000, +0.0000] against the float parent"
    ]
    gate, lost = measure_and_judge(request, good, bad, said.append)
    assert not gate.passed
    assert [each.name for each in gate.failures] == ["oks_ap_drop"]
    assert lost.value is not None
    assert lost.delta == pytest.approx(lost.value - summary.value)
    assert lost.parent_sha256 == good.sha256


def test_only_an_integer_model_passes_where_the_device_runs_integers(
    request_: DeployRequest, marker_onnx_with_spec: Path
) -> None:
    quantization = msgspec.structs.replace(request_.profile.quantization, integer_only=True)
    request = replace(request_, profile=msgspec.structs.replace(request_.profile, quantization=quantization))
    model = open_artifact(marker_onnx_with_spec)
    gate, _ = measure_and_judge(request, model, model, lambda _line: None)
    assert [each.name for each in gate.failures] == ["integer_only"]
    assert gate.failures[0].value is not None
    assert gate.failures[0].value > 0


def test_without_any_data_there_is_no_judgement(request_: DeployRequest, marker_onnx_with_spec: Path) -> None:
    model = open_artifact(marker_onnx_with_spec)
    with pytest.raises(GateFailedError, match="no data to judge on"):
        measure_and_judge(replace(request_, calibration=None), model, model, lambda _line: None)


def plan_of(recipe: str, *, quantize: bool) -> DeployPlan:
    return DeployPlan("int8", RECIPES[recipe], convert=False, quantize=quantize, steps=())


def test_pictures_that_set_ranges_must_not_measure(request_: DeployRequest, marker_set: Path) -> None:
    request = labelled(request_, marker_set)
    static = plan_of("static_wi8_ai8", quantize=True)
    with pytest.raises(ConfigError, match="would be no measurement"):
        require_separate_pictures(request, static)
    # Nothing is measured, or nothing sets ranges.
    require_separate_pictures(request_, static)
    require_separate_pictures(request, plan_of("static_wi8_ai8", quantize=False))
    require_separate_pictures(request, plan_of("dynamic_wi8", quantize=True))
    require_separate_pictures(replace(request, calibration=None), static)


def test_other_pictures_may_measure(request_: DeployRequest, marker_pairs: Path) -> None:
    require_separate_pictures(labelled(request_, marker_pairs), plan_of("static_wi8_ai8", quantize=True))


def test_a_detector_is_compared_on_the_calibration_pictures_or_else_the_labelled_ones(
    request_: DeployRequest, marker_set: Path, marker_pairs: Path
) -> None:
    both = labelled(request_, marker_pairs)
    assert {path.parent for path in pictures_of(both)} == {marker_set / "images"}
    assert len(pictures_of(both)) == 24
    assert {path.parent for path in pictures_of(replace(both, calibration=None))} == {marker_pairs / "images"}
    assert pictures_of(replace(request_, calibration=None)) == []


def test_the_parent_is_what_the_digest_names(request_: DeployRequest, shuffled: Path) -> None:
    parent: ModelArtifact = open_artifact(shuffled)
    gate, summary = measure_and_judge(request_, parent, open_artifact(request_.model), lambda _line: None)
    assert summary.parent_sha256 == parent.sha256
    assert not gate.passed
