"""What ``bundle`` and ``verify`` print about a bundle."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgepose.cli.verification import CheckedBundle
from edgepose.spec.bundle_manifest import EvaluationSummary, Provenance
from edgepose.spec.records import to_builtins
from edgepose.trust.signed_bundle import SignedBundle


def describe_bundle(path: Path, checked: CheckedBundle) -> tuple[dict[str, Any], str]:
    """The report of a verified bundle as JSON and as text.

    Args:
        path: The bundle file.
        checked: What was read from it.
    """
    bundle = checked.bundle
    manifest = bundle.manifest
    report = {
        "schema": "edgepose.verification/1",
        "path": str(path),
        "sha256": bundle.sha256,
        "size_bytes": bundle.size_bytes,
        "verified": True,
        "signed": bundle.signed is not None,
        "signature": _signature(bundle.signed),
        "sbom": checked.sbom,
        "manifest": to_builtins(manifest),
    }
    model, provenance = manifest.model, manifest.provenance
    parents = provenance.model.parents if provenance.model else ()
    history = " -> ".join([*(f"{parent.file_name} ({parent.step})" for parent in parents), model.file])
    detector = manifest.detector.spec.name if manifest.detector else "none"
    rows = {
        "bundle": f"{path} (version {manifest.bundle_version}, {bundle.size_bytes / (1 << 20):.2f} MiB)",
        "sha256": bundle.sha256,
        "profile": manifest.profile.id,
        "model": f"{model.spec.name} {model.spec.version}, {model.precision} {model.format}",
        "model sha256": model.sha256,
        "made from": history,
        **_lineage_rows(provenance),
        "detector": detector,
        "licences": ", ".join(provenance.licences),
        **({"edge tpu": manifest.edgetpu.describe()} if manifest.edgetpu else {}),
        "golden": f"{len(manifest.golden.frames)} frames, OKS at least {manifest.golden.tolerance_oks}",
        "accuracy": provenance.accuracy,
        "files": f"{len(manifest.files)}, digests and sizes right",
        "sbom": _sbom_in_words(checked.sbom),
        "signed": _signed_in_words(bundle.signed),
        "created by": provenance.created_by,
    }
    if bundle.signed is not None:
        rows |= _signers(bundle.signed)
    return report, "\n".join(f"{name:<13} {value}" for name, value in rows.items())


def _signature(signed: SignedBundle | None) -> dict[str, Any] | None:
    if signed is None:
        return None
    return {
        "pinned": signed.pinned,
        "root_fingerprint": signed.fingerprint,
        "signed_at": signed.signed_at,
        "roles": [asdict(role) for role in signed.roles],
    }


def _signed_in_words(signed: SignedBundle | None) -> str:
    if signed is None:
        return "no"
    compared = "the pinned keys" if signed.pinned else "keys that NOTHING was compared with (give --root-key)"
    return f"yes, at {signed.signed_at}, by {compared}"


def _signers(signed: SignedBundle) -> dict[str, str]:
    rows = {"root": signed.fingerprint}
    for role in signed.roles:
        keys = ", ".join(key_id[:16] for key_id in role.key_ids)
        rows[f"  {role.role}"] = (
            f"version {role.version}, {role.threshold} needed, keys {keys}, until {role.expires[:10]}"
        )
    return rows


def _lineage_rows(provenance: Provenance) -> dict[str, str]:
    """What the pose model was made from, with digests."""
    lineage, rows = provenance.model, {}
    for parent in lineage.parents if lineage else ():
        rows[f"  {parent.file_name}"] = f"sha256 {parent.sha256}"
    if lineage is not None and lineage.recipe is not None:
        rows["recipe"] = lineage.recipe.name
    if lineage is not None and lineage.calibration is not None:
        data = lineage.calibration
        rows["calibration"] = f"{data.images} images, {data.crops} crops, digest {data.digest}"
    if lineage is not None and lineage.agreement_oks is not None:
        rows["agreement"] = f"OKS {lineage.agreement_oks:.4f} with the float parent"
    if provenance.gate is not None:
        rows["gate"] = "passed" if provenance.gate.get("passed") is True else "failed"
    if provenance.evaluation is not None:
        rows["judged on"] = _judged_in_words(provenance.evaluation)
    return rows


def _judged_in_words(judged: EvaluationSummary) -> str:
    value = "unknown" if judged.value is None else f"{judged.value:.4f}"
    if judged.method == "agreement":
        return f"OKS {value} with the float parent over {judged.samples} poses, no labels"
    delta = "" if judged.delta is None else f", {judged.delta:+.4f} to the float parent"
    return f"AP {value}{delta} on {judged.samples} persons, data digest {judged.dataset_digest}"


def _sbom_in_words(sbom: dict[str, Any] | None) -> str:
    if sbom is None:
        return "none"
    return f"{sbom['file']}, {sbom['format']}, {sbom['components']} parts: {', '.join(sbom['packages'])}"
