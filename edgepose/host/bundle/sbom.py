"""The bundle's bill of materials: CycloneDX 1.6 (ECMA-424), a function of the manifest and the locked wheels.

No serial number and no time, so that the same inputs give the same bytes. The fields are those of
https://cyclonedx.org/docs/1.6/json; a test holds the result against the official schema. A bundle's bill
lists the wheels for every Python that its profile allows; the bill that a deployment writes beside edgepose's
code on the device lists the very wheels that lie there.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from edgepose import __version__
from edgepose.host.bundle.device_lock import DeviceLock, LockedWheel
from edgepose.records.bundle_manifest import (
    SBOM_NAME,
    BundledFile,
    BundledModel,
    BundleManifest,
    EvaluationSummary,
)
from edgepose.records.device_profile import DeviceProfile
from edgepose.records.lineage import Lineage
from edgepose.records.record import to_json
from edgepose.trust.digests import sha256_of_bytes

Part = dict[str, Any]
SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
_LICENCE = "Apache-2.0"
# The earliest time that a zip file can hold (APPNOTE.TXT 4.4.6).
_NO_TIME = (1980, 1, 1, 0, 0, 0)


def runtime_part(lock: DeviceLock, profile: DeviceProfile) -> Part:
    """One component of a bundle's bill: a Python's wheels, nested; the board may bring its own runtime."""
    ref = f"runtime:{lock.name}"
    properties = [{"name": "edgepose:runtime:digest", "value": lock.digest}]
    if lock.version_of(profile.runtime.name) is None and profile.runtime.name == "onnxruntime":
        brought = f"onnxruntime with {profile.runtime.delegate}, of the board's maker"
        properties.append({"name": "edgepose:runtime:of the board", "value": brought})
    return {
        "type": "framework",
        "bom-ref": ref,
        "name": f"what a device with {lock.arch} and Python {lock.python} gets",
        "properties": properties,
        "components": [_wheel_part(wheel, f"{ref}:{wheel.name}") for wheel in lock.wheels],
    }


def with_bill(code: bytes, lock: DeviceLock) -> bytes:
    """The device side (see ``device_code``) with the bill of what runs beside it, as ``sbom.cdx.json``."""
    buffer = io.BytesIO(code)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        add_file(archive, SBOM_NAME, runtime_sbom(lock, sha256_of_bytes(code)))
    return buffer.getvalue()


def add_file(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Adds a file without a time, so that the same content makes the same archive."""
    entry = zipfile.ZipInfo(name, _NO_TIME)
    entry.external_attr = 0o644 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, content)


def runtime_sbom(lock: DeviceLock, code_sha256: str) -> bytes:
    """The bill of a device's runtime and of the code beside it, whose digest is without this bill."""
    code = {
        "type": "application",
        "bom-ref": "edgepose",
        "name": "edgepose",
        "version": __version__,
        "hashes": _sha256(code_sha256),
        "licenses": [{"expression": _LICENCE}],
    }
    wheels = [_wheel_part(wheel, f"package:{wheel.name}") for wheel in lock.wheels]
    firmware = {
        "type": "firmware",
        "bom-ref": "runtime",
        "name": f"edgepose's runtime for {lock.arch}, Python {lock.python}",
        "version": lock.digest,
    }
    refs = sorted(["edgepose", *(part["bom-ref"] for part in wheels)])
    return _document(firmware, [code, *wheels], [{"ref": "runtime", "dependsOn": refs}])


def _document(component: Part, parts: list[Part], dependencies: list[Part]) -> bytes:
    document = {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "edgepose", "version": __version__}]},
            "component": component,
        },
        "components": parts,
        "dependencies": dependencies,
    }
    return (json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _wheel_part(wheel: LockedWheel, ref: str) -> Part:
    part: Part = {
        "type": "library",
        "bom-ref": ref,
        "name": wheel.name,
        "version": wheel.version,
        "hashes": _sha256(wheel.sha256),
        "purl": f"pkg:pypi/{wheel.name}@{wheel.version}?file_name={quote(wheel.file)}",
    }
    if wheel.licence is not None:
        # An expression is the project's own; its free words stand in quotation marks.
        words = wheel.licence.strip('"')
        part["licenses"] = [{"expression": words} if words == wheel.licence else {"license": {"name": words}}]
    return part


def _sha256(digest: str) -> list[Part]:
    return [{"alg": "SHA-256", "content": digest}]


# Where the tools of a manifest's provenance live on PyPI; Python itself is no package.
_PYPI_NAMES = {"numpy": "numpy", "opencv": "opencv-python-headless"}


def bundle_sbom(manifest: BundleManifest, locks: Sequence[DeviceLock]) -> bytes:
    """Writes the bill of materials of a bundle, which its manifest may list already; locks are by Python."""
    models = [("model", manifest.model, manifest.provenance.model)]
    if manifest.detector is not None:
        models.append(("detector", manifest.detector, manifest.provenance.detector))
    parts = [part for ref, model, lineage in models for part in _model_parts(ref, model, lineage, manifest)]
    named = {model.file for _, model, _ in models} | {SBOM_NAME}
    parts += [_file(file) for file in manifest.files if file.path not in named]
    parts += [runtime_part(lock, manifest.profile) for lock in locks]
    parts += [_package(tool, version) for tool, version in manifest.provenance.tools.items()]
    bundle = {
        "type": "firmware",
        "bom-ref": "bundle",
        "name": f"edgepose bundle for {manifest.profile.id}",
        "version": str(manifest.bundle_version),
    }
    whole = {"ref": "bundle", "dependsOn": sorted(part["bom-ref"] for part in parts)}
    return _document(bundle, parts, [whole, *_data_dependencies(parts)])


def _model_parts(
    ref: str, model: BundledModel, lineage: Lineage | None, manifest: BundleManifest
) -> list[Part]:
    """The model, and the data that set its ranges."""
    spec = model.spec
    judged = manifest.provenance.evaluation if ref == "model" else None
    part: Part = {
        "type": "machine-learning-model",
        "bom-ref": ref,
        "name": spec.name,
        "version": spec.version,
        "description": f"{spec.paradigm} in {model.precision}, from {spec.source}",
        "hashes": _sha256(model.sha256),
        "licenses": [{"license": {"name": spec.licence}}],
        "modelCard": _model_card(ref, model, lineage, judged),
        "properties": _properties(
            {
                "file": model.file,
                "format": model.format,
                "precision": model.precision,
                "accuracy": manifest.provenance.accuracy,
                "gate": _gate(manifest) if ref == "model" else None,
                "gate:sha256": _gate_sha256(manifest) if ref == "model" else None,
                "evaluation:parent:sha256": judged.parent_sha256 if judged else None,
                **_lineage_facts(lineage),
            }
        ),
    }
    if lineage is not None and lineage.parents:
        part["pedigree"] = {"ancestors": _ancestors(lineage)}
    parts = [part]
    if judged is not None and judged.dataset_digest is not None:
        parts.append(_evaluation_data(ref, judged, judged.dataset_digest))
    calibration = lineage.calibration if lineage else None
    if calibration is None:
        return parts
    data = {
        "type": "data",
        "bom-ref": f"{ref}:calibration",
        "name": f"calibration data of {spec.name}",
        "hashes": _sha256(calibration.digest),
        "data": [
            {
                "type": "dataset",
                "name": f"{calibration.images} images, {calibration.crops} crops, boxes from "
                f"{calibration.boxes_from}; not in the bundle",
            }
        ],
    }
    return [*parts, data]


def _evaluation_data(ref: str, judged: EvaluationSummary, digest: str) -> Part:
    return {
        "type": "data",
        "bom-ref": f"{ref}:evaluation",
        "name": "data that the gate judged on",
        "hashes": _sha256(digest),
        "data": [{"type": "dataset", "name": f"{judged.samples} labelled persons; not in the bundle"}],
    }


def _model_card(
    ref: str, model: BundledModel, lineage: Lineage | None, judged: EvaluationSummary | None
) -> Part:
    spec = model.spec
    parameters: Part = {
        "task": "person detection" if spec.paradigm == "detector" else "human pose estimation",
        "modelArchitecture": spec.name,
        "inputs": [{"format": f"{spec.input.color_order} {spec.input.width_px}x{spec.input.height_px}"}],
        "outputs": [{"format": msgspec.to_builtins(spec.codec)["kind"]}],
    }
    if lineage is not None and lineage.calibration is not None:
        parameters["datasets"] = [{"ref": f"{ref}:calibration"}]
    card: Part = {"modelParameters": parameters}
    figures = _figures(lineage, judged)
    if figures:
        metrics = [{"type": name, "value": str(value)} for name, value in figures.items()]
        card["quantitativeAnalysis"] = {"performanceMetrics": metrics}
    return card


def _figures(lineage: Lineage | None, judged: EvaluationSummary | None) -> dict[str, float]:
    agreement = "mean OKS with the float parent"
    figures: dict[str, float | None] = {
        f"{agreement}, quantizing": lineage.agreement_oks if lineage else None
    }
    if judged is not None:
        figures["OKS-AP" if judged.method == "labels" else f"{agreement}, gate"] = judged.value
        figures["OKS-AP minus the float parent's"] = judged.delta
    return {name: value for name, value in figures.items() if value is not None}


def _lineage_facts(lineage: Lineage | None) -> dict[str, str | None]:
    if lineage is None:
        return {"history": "a file that edgepose did not make"}
    recipe = lineage.recipe
    return {
        "recipe": recipe.name if recipe else None,
        "recipe:sha256": sha256_of_bytes(to_json(recipe).encode()) if recipe else None,
        "made with": ", ".join(f"{tool} {version}" for tool, version in sorted(lineage.tools.items())),
    }


def _gate(manifest: BundleManifest) -> str | None:
    gate = manifest.provenance.gate
    return None if gate is None else "passed" if gate.get("passed") is True else "failed"


def _gate_sha256(manifest: BundleManifest) -> str | None:
    gate = manifest.provenance.gate
    return None if gate is None else sha256_of_bytes(json.dumps(gate, sort_keys=True).encode())


def _ancestors(lineage: Lineage) -> list[Part]:
    return [
        {
            "type": "machine-learning-model",
            "name": parent.file_name,
            "hashes": _sha256(parent.sha256),
            "properties": _properties({"step": parent.step}),
        }
        for parent in lineage.parents
    ]


def _file(file: BundledFile) -> Part:
    return {"type": "file", "bom-ref": f"file:{file.path}", "name": file.path, "hashes": _sha256(file.sha256)}


def _package(tool: str, version: str) -> Part:
    """What the bundle was checked with on the host; it is not delivered."""
    part: Part = {
        "type": "library",
        "bom-ref": f"package:{tool}",
        "name": tool,
        "version": version,
        "scope": "excluded",
    }
    if tool == "python":
        return {**part, "type": "platform"}
    return {**part, "purl": f"pkg:pypi/{_PYPI_NAMES.get(tool, tool)}@{version}"}


def _data_dependencies(parts: list[Part]) -> list[Part]:
    refs = {part["bom-ref"] for part in parts}
    return [
        {"ref": ref, "dependsOn": [f"{ref}:calibration"]}
        for ref in ("model", "detector")
        if f"{ref}:calibration" in refs
    ]


def _properties(facts: dict[str, str | None]) -> list[Part]:
    return [{"name": f"edgepose:{name}", "value": value} for name, value in facts.items() if value]
