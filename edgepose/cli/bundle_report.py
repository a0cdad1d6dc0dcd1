"""What ``bundle`` and ``verify`` print about a bundle."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgepose.spec.records import to_builtins
from edgepose.trust.bundle_reader import VerifiedBundle
from edgepose.trust.signed_bundle import SignedBundle


def describe_bundle(path: Path, bundle: VerifiedBundle) -> tuple[dict[str, Any], str]:
    """The report of a verified bundle as JSON and as text.

    Args:
        path: The bundle file.
        bundle: What was read from it.
    """
    manifest = bundle.manifest
    report = {
        "schema": "edgepose.verification/1",
        "path": str(path),
        "sha256": bundle.sha256,
        "size_bytes": bundle.size_bytes,
        "verified": True,
        "signed": bundle.signed is not None,
        "signature": _signature(bundle.signed),
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
        "detector": detector,
        "licences": ", ".join(provenance.licences),
        **({"edge tpu": manifest.edgetpu.describe()} if manifest.edgetpu else {}),
        "golden": f"{len(manifest.golden.frames)} frames, OKS at least {manifest.golden.tolerance_oks}",
        "accuracy": provenance.accuracy,
        "files": f"{len(manifest.files)}, digests and sizes right",
        "signed": _signed_in_words(bundle.signed),
        "created by": provenance.created_by,
    }
    if bundle.signed is not None:
        rows |= _signers(bundle.signed)
    return report, "\n".join(f"{name:<14}{value}" for name, value in rows.items())


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
