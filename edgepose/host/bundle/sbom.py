"""The bundle's bill of materials: CycloneDX 1.6 (ECMA-424), a function of the manifest and the locked wheels.

No serial number and no time, so that the same inputs give the same bytes. The fields are those of
https://cyclonedx.org/docs/1.6/json; a test holds the result against the official schema.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec

from edgepose import __version__
from edgepose.host.bundle.runtime_sbom import SCHEMA, Part, runtime_part
from edgepose.host.deploy.device_lock import DeviceLock
from edgepose.spec.bundle_manifest import (
    SBOM_NAME,
    BundledFile,
    BundledModel,
    BundleManifest,
    EvaluationSummary,
)
from edgepose.spec.lineage import Lineage
from edgepose.spec.records import to_json
from edgepose.trust.digests import sha256_of_bytes

# Where the tools of a manifest's provenance live on PyPI; Python itself is no package.
_PYPI_NAMES = {"numpy": "numpy", "opencv": "opencv-python-headless"}


def bundle_sbom(manifest: BundleManifest, locks: Sequence[DeviceLock]) -> bytes:
    """Writes the bill of materials of a bundle.

    Args:
        manifest: The manifest, with or without the bill itself among its files.
        locks: What the profile's device gets from the package index, by its Python.
    """
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
    document = {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "edgepose", "version": __version__}]},
            "component": bundle,
        },
        "components": parts,
        "dependencies": [
            {"ref": "bundle", "dependsOn": sorted(part["bom-ref"] for part in parts)},
            *_data_dependencies(parts),
        ],
    }
    return (json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


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
    return {
        "type": "file",
        "bom-ref": f"file:{file.path}",
        "name": file.path,
        "hashes": _sha256(file.sha256),
    }


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


def _sha256(digest: str) -> list[Part]:
    return [{"alg": "SHA-256", "content": digest}]
