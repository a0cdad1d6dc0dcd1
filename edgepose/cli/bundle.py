"""``edgepose bundle`` and ``edgepose verify``, and what both programs say about a bundle."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from edgepose.cli.keys import open_signing, signing_options
from edgepose.cli.options import (
    PATH,
    detector_option,
    detector_spec_option,
    json_option,
    output_option,
    profile_option,
    spec_option,
)
from edgepose.cli.output import write_report
from edgepose.records.bundle_manifest import EvaluationSummary, Provenance
from edgepose.records.record import to_builtins
from edgepose.trust.signed_bundle import SignedBundle
from edgepose.trust.verification import CheckedBundle, check_by_home, check_by_root, read_root_file


def describe_bundle(path: Path, checked: CheckedBundle) -> tuple[dict[str, Any], str]:
    """The report of a verified bundle as JSON and as text."""
    bundle = checked.bundle
    manifest, signed = bundle.manifest, bundle.signed
    compiled = manifest.accelerator
    report = {
        "schema": "edgepose.verification/1",
        "path": str(path),
        "sha256": bundle.sha256,
        "size_bytes": bundle.size_bytes,
        "verified": True,
        "signed": signed is not None,
        "signature": None
        if signed is None
        else {
            "pinned": signed.pinned,
            "root_fingerprint": signed.fingerprint,
            "signed_at": signed.signed_at,
            "roles": [asdict(role) for role in signed.roles],
        },
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
        **({compiled.title.lower(): compiled.describe()} if compiled else {}),
        "golden": f"{len(manifest.golden.frames)} frames, OKS at least {manifest.golden.tolerance_oks}",
        "accuracy": provenance.accuracy,
        "files": f"{len(manifest.files)}, digests and sizes right",
        "sbom": _sbom_in_words(checked.sbom),
        "signed": _signed_in_words(signed),
        "created by": provenance.created_by,
    }
    if signed is not None:
        rows |= _signers(signed)
    return report, "\n".join(f"{name:<13} {value}" for name, value in rows.items())


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


@click.command(name="verify", epilog="Example: edgepose verify pose.epb --root-key 1.root.json")
@click.argument("bundle", type=PATH, metavar="FILE.epb")
@click.option("--root-key", type=PATH, metavar="ROOT.json", help="Root that must have led to the signatures.")
@json_option
def verify_command(bundle: Path, root_key: Path | None, json_target: str | None) -> None:
    """Check every byte of a bundle and show who signed what, made from what.

    With --root-key the bundle must be signed by these keys. Without, its signatures are compared with this
    user's keys; those of others must agree with themselves, which shows damage, not a forger.
    """
    from edgepose.host.keys.key_home import default_key_home, read_roots

    if root_key is not None:
        verified = check_by_root(bundle, read_root_file(root_key))
    else:
        home = default_key_home()
        verified = check_by_home(bundle, tuple(read_roots(home)) if home.has_keys() else ())
    report, text = describe_bundle(bundle, verified)
    write_report(report, json_target, text)


@click.command(
    name="bundle", epilog="Example: edgepose bundle pose_int8.tflite --profile raspberrypi -o pose.epb"
)
@click.argument("model", type=PATH)
@profile_option
@output_option
@spec_option
@detector_option
@detector_spec_option
@click.option(
    "--bundle-version",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Must grow for each device; a lower one is a downgrade.",
)
@signing_options
@json_option
def command(  # noqa: PLR0917 (one argument an option)
    model: Path,
    profile_name: str,
    output: Path,
    spec_file: Path | None,
    detector: Path | None,
    detector_spec: Path | None,
    bundle_version: int,
    keys: Path | None,
    unsigned: bool,
    json_target: str | None,
) -> None:
    """Pack MODEL, its golden frames and a device profile into one file, and sign it where there are keys. The
    model must reproduce the poses of its float parent, and the profile must allow its format and precision.
    """  # noqa: D205
    # OpenCV and the runtime take longer to import than `--help` may.
    from edgepose.host.bundle.builder import BundleRequest, build_bundle
    from edgepose.records.device_profile import find_profile

    signing = open_signing(keys, unsigned=unsigned)
    profile = find_profile(profile_name)
    request = BundleRequest(
        model=model,
        profile=profile,
        output=output,
        spec_file=spec_file,
        detector=detector,
        detector_spec_file=detector_spec,
        bundle_version=bundle_version,
        sign=signing.sign if signing else None,
    )
    verified = check_by_root(build_bundle(request), signing.roots[-1] if signing else None)
    report, text = describe_bundle(output, verified)
    write_report(report, json_target, text)
