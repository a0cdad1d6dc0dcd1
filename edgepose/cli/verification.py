"""Whom ``verify`` compares a bundle's signatures with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgepose.errors import ConfigError, TrustError
from edgepose.spec.bundle_manifest import SBOM_NAME
from edgepose.trust.anchor import TrustAnchor
from edgepose.trust.bundle_reader import VerifiedBundle, read_bundle
from edgepose.trust.judgement import judge_by

_MAX_SBOM_BYTES = 4 << 20


@dataclass(frozen=True)
class CheckedBundle:
    """A bundle whose bytes and signatures were checked.

    Attributes:
        bundle: The bundle.
        sbom: What its bill of materials lists, or None where it has none.
    """

    bundle: VerifiedBundle
    sbom: dict[str, Any] | None


def read_root_file(path: Path) -> bytes:
    """Reads a root's file; whether it is one is checked by who uses it.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as problem:
        raise ConfigError(f"Cannot read {path}: {problem.strerror}.") from problem


def verified_by_root(bundle: Path, root: bytes | None) -> CheckedBundle:
    """Checks a bundle's bytes and signatures.

    Args:
        bundle: The bundle.
        root: Root that must have led to its signatures, and then it must be signed; None checks that the
            signatures agree with themselves.

    Raises:
        ConfigError: The bundle cannot be read.
        TrustError: It is not as it must be.
    """
    anchor = None
    if root is not None:
        from edgepose.trust.metadata_verifier import check_root

        anchor = TrustAnchor(root=check_root(root))
    return verified_by_anchor(bundle, anchor)


def verified_by_anchor(bundle: Path, anchor: TrustAnchor | None) -> CheckedBundle:
    """The same by what a device remembers; what is only older than that is no fault here.

    Raises:
        ConfigError: The bundle cannot be read.
        TrustError: It is not as it must be.
    """
    judge = judge_by(anchor, datetime.now(timezone.utc), allow_downgrade=True)
    sbom = bytearray()

    def keep(path: str, piece: bytes) -> None:
        if path == SBOM_NAME and len(sbom) + len(piece) <= _MAX_SBOM_BYTES:
            sbom.extend(piece)

    verified = read_bundle(bundle, keep, judge)
    return CheckedBundle(verified, _summary(bytes(sbom)) if sbom else None)


def _summary(content: bytes) -> dict[str, Any]:
    """What a bill of materials lists; it was verified as a file, and is read with care all the same."""
    try:
        document = json.loads(content)
        parts = document["components"]
        delivered = [one for part in parts for one in (part, *part.get("components", ()))]
        packages = {
            f"{one['name']} {one['version']}"
            for one in delivered
            if one["type"] == "library" and one.get("scope") != "excluded"
        }
        form = f"{document['bomFormat']} {document['specVersion']}"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise TrustError(f"The bill of materials in the bundle cannot be read: {problem!r}.") from problem
    return {"file": SBOM_NAME, "format": form, "components": len(delivered), "packages": sorted(packages)}


def verified_by_home(bundle: Path, roots: tuple[bytes, ...]) -> CheckedBundle:
    """The same by a key home's roots, which may be another's than the bundle's: then nothing is compared.

    Raises:
        ConfigError: The bundle cannot be read.
        TrustError: It is not as it must be.
    """
    metadata = read_bundle(bundle).metadata
    ours = metadata is not None and bool(roots) and metadata.roots[0] == roots[0]
    return verified_by_root(bundle, roots[-1] if ours else None)
