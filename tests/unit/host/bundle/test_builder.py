"""What a bundle takes in and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as with_fields

from edgepose.errors import ConfigError, EdgeposeError, GateFailedError, ModelError
from edgepose.host.bundle.builder import build_bundle
from edgepose.host.bundle.signing import archive_pieces
from edgepose.host.models.artifact import open_artifact
from edgepose.host.models.golden import golden_for
from edgepose.records.bundle_manifest import BundledFile
from edgepose.records.device_profile import DeviceProfile, find_profile
from edgepose.records.lineage import RECIPES, Lineage, ParentModel
from edgepose.trust.bundle_reader import read_bundle, verify_bundle
from edgepose.trust.digests import sha256_of_bytes, sha256_of_file
from tests.support.bundle_fixtures import bundle_folder
from tests.support.bundled_models import PROFILE, MatchedFilters, request_for

__all__ = ["bundle_folder"]

QUANTIZED = Lineage(
    parents=(ParentModel(file_name="pose.onnx", sha256="0" * 64, step="quantize"),),
    tools={},
    precision="float32",
    recipe=RECIPES["static_wi8_ai8"],
    agreement_oks=0.97,
)


@pytest.fixture(scope="module", name="model")
def _model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return MatchedFilters().write(tmp_path_factory.mktemp("model") / "model.onnx")


def with_lineage(model: Path, target: Path, lineage: Lineage, seed: int = 0) -> Path:
    """The matched filters with a history whose golden poses are those of ``model``."""
    golden = golden_for(open_artifact(model))
    return MatchedFilters(seed).write(target, with_fields(lineage, golden=golden))


def test_the_same_inputs_give_the_same_bytes(model: Path, tmp_path: Path) -> None:
    first = build_bundle(request_for(model, tmp_path / "one.epb"))
    second = build_bundle(request_for(model, tmp_path / "other_name.epb"))
    assert first.read_bytes() == second.read_bytes()
    other = build_bundle(request_for(model, tmp_path / "three.epb", bundle_version=2))
    assert first.read_bytes() != other.read_bytes()


def test_a_bundle_says_what_it_holds(model: Path, tmp_path: Path) -> None:
    manifest = verify_bundle(build_bundle(request_for(model, tmp_path / "b.epb")))
    assert manifest.model.sha256 == sha256_of_file(model)
    assert (manifest.model.format, manifest.model.precision) == ("onnx", "float32")
    assert manifest.profile == PROFILE
    assert manifest.min_runtime_version == PROFILE.runtime.min_version
    assert manifest.provenance.accuracy == "not measured"
    assert manifest.provenance.licences == ("Apache-2.0",)
    assert manifest.provenance.model is None
    assert len(manifest.golden.frames) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.epb"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.from_regex(r"[a-z0-9_]{1,8}(/[a-z0-9_][a-z0-9._-]{0,8}){0,2}", fullmatch=True).filter(
            lambda path: path not in {"manifest.json", "manifest.sha256"}
        ),
        st.binary(max_size=2000),
        max_size=8,
    )
)
def test_whatever_is_packed_is_read_back(
    bundle_folder: Path, tmp_path: Path, extra: dict[str, bytes]
) -> None:
    contents: dict[str, bytes] = {}

    def keep(path: str, piece: bytes) -> None:
        contents[path] = contents.get(path, b"") + piece

    manifest = read_bundle(bundle_folder / "version1.epb", keep).manifest
    contents = {**extra, **contents}
    files = tuple(
        BundledFile(path=path, sha256=sha256_of_bytes(content), size_bytes=len(content))
        for path, content in sorted(contents.items())
    )
    packed = tmp_path / "packed.epb"
    packed.write_bytes(b"".join(archive_pieces(with_fields(manifest, files=files), contents)))
    expected, contents = contents, {}
    assert read_bundle(packed, keep).manifest.files == files
    assert contents == expected


def refused(error: type[EdgeposeError], match: str, model: Path, output: Path, **changes: object) -> None:
    with pytest.raises(error, match=match):
        build_bundle(request_for(model, output, **changes))
    assert not output.exists()


def test_another_format_than_the_profiles_is_refused(model: Path, tmp_path: Path) -> None:
    refused(ConfigError, "runs tflite", model, tmp_path / "b.epb", profile=find_profile("raspberrypi"))


def test_a_precision_that_the_profile_does_not_run_is_refused(model: Path, tmp_path: Path) -> None:
    quantization = with_fields(PROFILE.quantization, precisions=("int8",))
    profile = with_fields(PROFILE, quantization=quantization)
    refused(ConfigError, "is float32", model, tmp_path / "b.epb", profile=profile)


def test_a_float_model_for_an_integer_only_profile_is_refused(model: Path, tmp_path: Path) -> None:
    profile = with_fields(PROFILE, quantization=with_fields(PROFILE.quantization, integer_only=True))
    refused(ModelError, "computes in float", model, tmp_path / "b.epb", profile=profile)


def test_a_bundle_larger_than_its_budget_is_refused(model: Path, tmp_path: Path) -> None:
    profile = with_fields(PROFILE, budgets=with_fields(PROFILE.budgets, bundle_mib=0.1))
    refused(GateFailedError, r"0\.1 MiB", model, tmp_path / "b.epb", profile=profile)


def test_a_quantized_model_with_enough_agreement_is_taken_with_its_history(
    model: Path, tmp_path: Path
) -> None:
    quantized = with_lineage(model, tmp_path / "q.onnx", QUANTIZED)
    manifest = verify_bundle(build_bundle(request_for(quantized, tmp_path / "b.epb")))
    assert manifest.provenance.model == QUANTIZED


@pytest.mark.parametrize(("agreement", "said"), [(None, "not measured"), (0.9499, "0.950")])
def test_a_quantized_model_without_enough_agreement_is_refused(
    model: Path, tmp_path: Path, agreement: float | None, said: str
) -> None:
    lineage = with_fields(QUANTIZED, agreement_oks=agreement)
    quantized = with_lineage(model, tmp_path / "q.onnx", lineage)
    refused(GateFailedError, said, quantized, tmp_path / "b.epb")


def test_a_passed_gate_stands_for_the_agreement_and_a_failed_one_refuses(model: Path, tmp_path: Path) -> None:
    quantized = with_lineage(model, tmp_path / "q.onnx", with_fields(QUANTIZED, agreement_oks=0.9))
    gate = {"passed": True, "failures": []}
    request = replace(request_for(quantized, tmp_path / "b.epb"), gate=gate, accuracy="measured")
    manifest = verify_bundle(build_bundle(request))
    assert manifest.provenance.gate == gate
    assert manifest.provenance.accuracy == "measured"
    for failed in ({"passed": False, "failures": ["oks_ap"]}, {}, {"passed": 1}):
        refused(GateFailedError, "did not pass", quantized, tmp_path / "c.epb", gate=failed)


def test_a_quantized_model_that_is_not_like_its_parent_is_refused_whatever_it_says(
    model: Path, tmp_path: Path
) -> None:
    quantized = with_lineage(model, tmp_path / "q.onnx", QUANTIZED, seed=1)
    refused(GateFailedError, "does not reproduce", quantized, tmp_path / "b.epb")


def test_a_quantized_model_without_golden_poses_is_not_its_own_parent(tmp_path: Path) -> None:
    quantized = MatchedFilters().write(tmp_path / "q.onnx", QUANTIZED)
    refused(GateFailedError, "no golden poses", quantized, tmp_path / "b.epb")


def test_a_pose_model_as_detector_is_refused(model: Path, tmp_path: Path) -> None:
    refused(ConfigError, "expected a person detector", model, tmp_path / "b.epb", detector=model)


@pytest.mark.parametrize("version", [0, -1, 2**31])
def test_a_version_out_of_range_is_refused(model: Path, tmp_path: Path, version: int) -> None:
    refused(ConfigError, "bundle version", model, tmp_path / "b.epb", bundle_version=version)


def test_an_output_folder_that_does_not_exist_is_refused(model: Path, tmp_path: Path) -> None:
    refused(ConfigError, "Cannot write", model, tmp_path / "none" / "b.epb")


def test_a_damaged_model_is_refused(model: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(model.read_bytes()[:-50])
    refused(ModelError, "truncated|damaged", cut, tmp_path / "b.epb")


def test_every_packaged_profile_fits_into_a_manifest(model: Path, tmp_path: Path) -> None:
    profile: DeviceProfile = find_profile("jetson")
    manifest = verify_bundle(build_bundle(request_for(model, tmp_path / "b.epb", profile=profile)))
    assert manifest.profile == profile
