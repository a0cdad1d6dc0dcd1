"""The bill of materials: valid by the official schema, complete, the same for the same bundle."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from msgspec.structs import replace as with_fields

from edgepose.host.bundle.builder import build_bundle
from edgepose.host.bundle.device_lock import locks_of
from edgepose.host.bundle.sbom import bundle_sbom, runtime_part, with_bill
from edgepose.host.deploy.ssh.shipment import device_code
from edgepose.host.models.artifact import open_artifact
from edgepose.host.models.golden import golden_for
from edgepose.records.bundle_manifest import BundleManifest, EvaluationSummary
from edgepose.records.device_profile import find_profile
from edgepose.records.lineage import RECIPES, CalibrationRecord, Lineage, ParentModel
from edgepose.records.record import to_json
from edgepose.trust.bundle_reader import read_bundle, verify_bundle
from edgepose.trust.digests import sha256_of_bytes, sha256_of_file
from edgepose.trust.verification import check_by_root
from tests.support.bundled_models import MatchedFilters, request_for

HISTORY = Lineage(
    parents=(ParentModel(file_name="pose.onnx", sha256="1" * 64, step="quantize"),),
    tools={"onnx": "1.19"},
    precision="float32",
    recipe=RECIPES["static_wi8_ai8"],
    calibration=CalibrationRecord(digest="2" * 64, images=64, crops=80, boxes_from="labels"),
    agreement_oks=0.97,
)
GATE = {"passed": True, "failures": []}
JUDGED = EvaluationSummary(
    method="labels", parent_sha256="3" * 64, dataset_digest="4" * 64, samples=120, value=0.7, delta=-0.002
)


@pytest.fixture(scope="module", name="bundle")
def _bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sbom")
    plain = MatchedFilters().write(folder / "plain.onnx")
    history = with_fields(HISTORY, golden=golden_for(open_artifact(plain)))
    model = MatchedFilters().write(folder / "model.onnx", history)
    return build_bundle(replace(request_for(model, folder / "b.epb"), gate=GATE, evaluation=JUDGED))


@pytest.fixture(scope="module", name="document")
def _document(bundle: Path) -> dict[str, Any]:
    return _sbom_of(bundle)


def _sbom_of(bundle: Path) -> dict[str, Any]:
    content = bytearray()

    def keep(path: str, piece: bytes) -> None:
        if path == "sbom.cdx.json":
            content.extend(piece)

    read_bundle(bundle, keep)
    data: dict[str, Any] = json.loads(content)
    return data


def _part(document: dict[str, Any], ref: str) -> dict[str, Any]:
    found: dict[str, Any] = next(part for part in document["components"] if part["bom-ref"] == ref)
    return found


def _facts(part: dict[str, Any]) -> dict[str, str]:
    return {fact["name"].removeprefix("edgepose:"): fact["value"] for fact in part["properties"]}


def test_it_is_valid_by_the_official_schema_and_a_broken_one_is_not(document: dict[str, Any]) -> None:
    validation = pytest.importorskip("cyclonedx.validation.json")
    schema = pytest.importorskip("cyclonedx.schema")
    validator = validation.JsonStrictValidator(schema.SchemaVersion.V1_6)
    assert validator.validate_str(json.dumps(document)) is None
    broken = {**document, "components": [{"type": "machine-learning"}]}
    assert validator.validate_str(json.dumps(broken)) is not None


def test_the_model_component_names_parent_recipe_calibration_and_judgement_by_digest(
    bundle: Path, document: dict[str, Any]
) -> None:
    model = _part(document, "model")
    assert model["type"] == "machine-learning-model"
    manifest = verify_bundle(bundle)
    assert model["hashes"] == [{"alg": "SHA-256", "content": manifest.model.sha256}]
    assert [parent["hashes"][0]["content"] for parent in model["pedigree"]["ancestors"]] == ["1" * 64]
    facts = _facts(model)
    assert facts["recipe:sha256"] == sha256_of_bytes(to_json(RECIPES["static_wi8_ai8"]).encode())
    assert facts["gate"] == "passed"
    assert facts["gate:sha256"] == sha256_of_bytes(json.dumps(GATE, sort_keys=True).encode())
    assert facts["evaluation:parent:sha256"] == "3" * 64
    assert _part(document, "model:evaluation")["hashes"][0]["content"] == "4" * 64
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert {"type": "OKS-AP", "value": "0.7"} in metrics
    assert _part(document, "model:calibration")["hashes"][0]["content"] == "2" * 64
    assert model["modelCard"]["modelParameters"]["datasets"] == [{"ref": "model:calibration"}]


def test_every_file_but_itself_and_every_tool_is_listed(bundle: Path, document: dict[str, Any]) -> None:
    manifest = verify_bundle(bundle)
    assert all(
        _part(document, f"package:{tool}")["scope"] == "excluded" for tool in manifest.provenance.tools
    )
    digests = {part["hashes"][0]["content"] for part in document["components"] if "hashes" in part}
    assert {file.sha256 for file in manifest.files if file.path != "sbom.cdx.json"} <= digests
    named = {part["name"]: part["version"] for part in document["components"] if "version" in part}
    assert manifest.provenance.tools.items() <= named.items()
    refs = sorted(part["bom-ref"] for part in document["components"])
    assert document["dependencies"][0] == {"ref": "bundle", "dependsOn": refs}


def test_every_wheel_that_the_device_gets_is_listed_with_version_licence_and_digest(
    bundle: Path, document: dict[str, Any]
) -> None:
    profile = verify_bundle(bundle).profile
    (lock,) = locks_of(profile)
    (python,) = profile.hardware.python
    group = _part(document, f"runtime:{profile.hardware.arch}-{python}-onnxruntime")
    listed = {
        (part["name"], part["version"], part["hashes"][0]["content"]): part for part in group["components"]
    }
    assert set(listed) == {(wheel.name, wheel.version, wheel.sha256) for wheel in lock.wheels}
    assert {"tuf", "msgspec", "flatbuffers", "click", "numpy", "opencv-python-headless", "onnxruntime"} <= {
        name for name, _, _ in listed
    }
    assert all("licenses" in part and part["purl"].startswith("pkg:pypi/") for part in listed.values())
    shown = check_by_root(bundle, None).sbom
    assert shown is not None
    assert shown["packages"] == sorted(f"{wheel.name} {wheel.version}" for wheel in lock.wheels)


def test_the_runtime_of_a_boards_maker_is_named_and_not_listed_as_ours() -> None:
    profile = find_profile("jetson-orin-nano")
    for lock in locks_of(profile):
        part = runtime_part(lock, profile)
        assert {"name": "edgepose:runtime:of the board", "value": ANY} in part["properties"]
        assert "onnxruntime" not in {one["name"] for one in part["components"]}
    ours = find_profile("raspberrypi5")
    assert len(runtime_part(locks_of(ours)[0], ours)["properties"]) == 1


def test_the_bill_that_lies_on_a_device_is_valid_and_travels_with_the_code() -> None:
    validation = pytest.importorskip("cyclonedx.validation.json")
    schema = pytest.importorskip("cyclonedx.schema")
    validator = validation.JsonStrictValidator(schema.SchemaVersion.V1_6)
    lock = locks_of(find_profile("raspberrypi5"))[0]
    code = device_code()
    sent = with_bill(code, lock)
    assert sent == with_bill(code, lock)
    with zipfile.ZipFile(io.BytesIO(sent)) as archive:
        content = archive.read("sbom.cdx.json")
        assert set(archive.namelist()) == set(zipfile.ZipFile(io.BytesIO(code)).namelist()) | {
            "sbom.cdx.json"
        }
    assert validator.validate_str(content.decode()) is None
    own, *wheels = json.loads(content)["components"]
    assert (own["name"], own["hashes"][0]["content"]) == ("edgepose", sha256_of_bytes(code))
    assert [part["name"] for part in wheels] == [wheel.name for wheel in lock.wheels]


def test_it_has_no_clock_and_no_chance_in_it(bundle: Path) -> None:
    manifest: BundleManifest = verify_bundle(bundle)
    locks = locks_of(manifest.profile)
    content = bundle_sbom(manifest, locks)
    assert content == bundle_sbom(manifest, locks)
    listed = next(file for file in manifest.files if file.path == "sbom.cdx.json")
    assert listed.sha256 == sha256_of_bytes(content)
    assert not {"serialNumber", "timestamp"} & set(json.loads(content)) | set(
        {"timestamp"} & set(json.loads(content)["metadata"])
    )


def test_a_foreign_model_without_history_has_a_valid_bill_too(tmp_path: Path) -> None:
    validation = pytest.importorskip("cyclonedx.validation.json")
    schema = pytest.importorskip("cyclonedx.schema")
    model = MatchedFilters().write(tmp_path / "foreign.onnx")
    document = _sbom_of(build_bundle(request_for(model, tmp_path / "b.epb")))
    validator = validation.JsonStrictValidator(schema.SchemaVersion.V1_6)
    assert validator.validate_str(json.dumps(document)) is None
    assert _facts(_part(document, "model"))["history"] == "a file that edgepose did not make"
    assert _part(document, "model")["hashes"][0]["content"] == sha256_of_file(model)
