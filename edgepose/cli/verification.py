"""Whom ``verify`` compares a bundle's signatures with."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from edgepose.errors import ConfigError
from edgepose.trust.anchor import TrustAnchor
from edgepose.trust.bundle_reader import VerifiedBundle, read_bundle
from edgepose.trust.judgement import judge_by


def read_root_file(path: Path) -> bytes:
    """Reads a root's file; whether it is one is checked by who uses it.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as problem:
        raise ConfigError(f"Cannot read {path}: {problem.strerror}.") from problem


def verified_by_root(bundle: Path, root: bytes | None) -> VerifiedBundle:
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


def verified_by_anchor(bundle: Path, anchor: TrustAnchor | None) -> VerifiedBundle:
    """The same by what a device remembers; what is only older than that is no fault here.

    Raises:
        ConfigError: The bundle cannot be read.
        TrustError: It is not as it must be.
    """
    judge = judge_by(anchor, datetime.now(timezone.utc), allow_downgrade=True)
    return read_bundle(bundle, judge=judge)


def verified_by_home(bundle: Path, roots: tuple[bytes, ...]) -> VerifiedBundle:
    """The same by a key home's roots, which may be another's than the bundle's: then nothing is compared.

    Raises:
        ConfigError: The bundle cannot be read.
        TrustError: It is not as it must be.
    """
    metadata = read_bundle(bundle).metadata
    ours = metadata is not None and bool(roots) and metadata.roots[0] == roots[0]
    return verified_by_root(bundle, roots[-1] if ours else None)
