"""All rules about who may sign a bundle, in one class: no file, no network, no clock of its own.

The rules of TUF (specification 1.0, section 5: root chain, thresholds, expiry, rollback, mix and match) are
python-tuf's ``TrustedMetadataSet``. Rules that are ours, each stricter than TUF's:

1. Every file has exactly the form that python-tuf writes, signatures sorted by key; keys are Ed25519 only.
2. The chain of roots is complete from version 1 on, and holds the pinned root byte for byte.
3. Every signature counts: one that does not verify, or is by a key without this role, is refused, although
   the threshold may be reached without it. So no byte of the metadata is without meaning.
4. One snapshot, one targets role, no delegations; each target has a length, one SHA-256 and a plain path.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

from msgspec.structs import replace
from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError
from securesystemslib.signer import Key, Signature
from tuf.api import exceptions
from tuf.api.metadata import Metadata, Root, TargetFile
from tuf.api.serialization.json import JSONSerializer
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.config import EnvelopeType

from edgepose.errors import TrustError
from edgepose.records.bundle_manifest import MANIFEST_NAME, path_problem
from edgepose.trust.signed_bundle import (
    MAX_ROOTS,
    BundleMetadata,
    OlderMetadataError,
    SignedBundle,
    SignedFile,
    SignedRole,
    TrustAnchor,
    parse_moment,
    reference_time,
    root_fingerprint,
)

SIGNED_AT_FIELD = "x-edgepose-signed-at"
# RFC 8032, section 5.1: the order of Ed25519's group. A verifier that takes s + order takes two signatures
# for one; the pure Python verifier of securesystemslib does, which a device without `cryptography` runs.
_ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493
_HINT = "Get the bundle anew from its signer, or sign it again."


@dataclass(frozen=True)
class MetadataVerifier:
    """Verifies a bundle's metadata.

    Attributes:
        anchor: What is pinned and was verified before; None checks that the metadata agrees with itself.
        clock: What the device's clock says.
        allow_downgrade: Whether metadata may be older than what was verified before. Keys that a newer root
            revoked stay revoked.
    """

    anchor: TrustAnchor | None
    clock: datetime
    allow_downgrade: bool = False

    def verify(self, metadata: BundleMetadata) -> SignedBundle:
        """Verifies who signed, and what.

        Raises:
            OlderMetadataError: It is older than what was verified before, and that was not allowed.
            TrustError: Anything about it is not as it must be.
        """
        if not 1 <= len(metadata.roots) <= MAX_ROOTS:
            _refuse(f"it has {len(metadata.roots)} roots, expected 1 to {MAX_ROOTS}")
        files = {name: _parsed(name, content) for name, content in metadata.members()}
        roots = list(files.values())[: len(metadata.roots)]
        for root in roots:
            _check_keys(root)
        self._check_pinned(metadata)
        try:
            trusted = self._trusted(metadata)
        except exceptions.RepositoryError as problem:
            _refuse(_in_words(problem), problem)
        # python-tuf raises VerificationError where a signature cannot be computed at all, and ValueError for
        # signatures that are no hex numbers.
        except (VerificationError, ValueError) as problem:
            _refuse(f"a signature or role is malformed ({problem})", problem)
        return self._signed_bundle(metadata, trusted, _check_signatures(files, trusted.root))

    def _check_pinned(self, metadata: BundleMetadata) -> None:
        """Rule 2: the pinned root is in the chain."""
        if self.anchor is None:
            return
        pinned = self.anchor.root.encode()
        version = _parsed("pinned root", pinned).signed.version
        if version > len(metadata.roots):
            _refuse(
                f"it was signed under root version {len(metadata.roots)}, and this device trusts version "
                f"{version}: keys were rotated since"
            )
        if metadata.roots[version - 1] != pinned:
            found = root_fingerprint(metadata.roots[version - 1])
            _refuse(
                f"it was signed by other keys: its root {version} is {found}, pinned is "
                f"{root_fingerprint(pinned)}"
            )

    def _trusted(self, metadata: BundleMetadata) -> TrustedMetadataSet:
        """The steps of TUF's client, section 5.3 to 5.6."""
        trusted = TrustedMetadataSet(metadata.roots[0], EnvelopeType.METADATA)
        trusted.reference_time = reference_time(self.clock, self.anchor) if self.anchor else self.clock
        for root in metadata.roots[1:]:
            trusted.update_root(root)
        seen = self.anchor
        try:
            if seen is not None and not self.allow_downgrade:
                _load_seen(trusted.update_timestamp, seen.timestamp)
            try:
                trusted.update_timestamp(metadata.timestamp)
            except exceptions.EqualVersionNumberError:
                if seen is None or seen.timestamp is None or metadata.timestamp != seen.timestamp.encode():
                    _refuse("its timestamp has the version of another one that this device has seen")
            if seen is not None and not self.allow_downgrade and seen.snapshot is not None:
                _load_seen(lambda data: trusted.update_snapshot(data, trusted=True), seen.snapshot)
            trusted.update_snapshot(metadata.snapshot)
        except exceptions.BadVersionNumberError as problem:
            if seen is None or seen.timestamp is None:
                raise
            raise OlderMetadataError(
                f"The bundle is refused: it was signed before what this device has verified ({problem}).",
                "Sign it again, or use --allow-downgrade.",
            ) from problem
        trusted.update_targets(metadata.targets)
        return trusted

    def _signed_bundle(
        self, metadata: BundleMetadata, trusted: TrustedMetadataSet, roles: tuple[SignedRole, ...]
    ) -> SignedBundle:
        signed_at = _signed_at(trusted.timestamp.unrecognized_fields, trusted.timestamp.expires)
        if trusted.targets.delegations is not None or set(trusted.snapshot.meta) != {"targets.json"}:
            _refuse("it delegates to further roles, which a bundle never does")
        files = {path: _signed_file(path, target) for path, target in trusted.targets.targets.items()}
        version, profile_id = _custom(trusted.targets.targets.get(MANIFEST_NAME))
        root = metadata.roots[-1].decode()
        return SignedBundle(
            roles=roles,
            files=files,
            bundle_version=version,
            profile_id=profile_id,
            signed_at=signed_at,
            fingerprint=root_fingerprint(root),
            anchor=self._next_anchor(metadata, root, signed_at),
            pinned=self.anchor is not None,
            older=self._is_older(metadata),
        )

    def _next_anchor(self, metadata: BundleMetadata, root: str, signed_at: str) -> TrustAnchor:
        anchor = TrustAnchor(
            root=root,
            timestamp=metadata.timestamp.decode(),
            snapshot=metadata.snapshot.decode(),
            signed_at=signed_at,
        )
        # What a device went back to must not let it forget how far it was.
        return replace(self.anchor, root=root) if self.anchor and self._is_older(metadata) else anchor

    def _is_older(self, metadata: BundleMetadata) -> bool:
        if self.anchor is None or self.anchor.timestamp is None or not self.allow_downgrade:
            return False
        return _version_of(metadata.timestamp) < _version_of(self.anchor.timestamp.encode())


def check_root(content: bytes) -> str:
    """Checks that a file is a root that may be pinned, and returns its text.

    Expiry is not checked: it counts when a bundle is verified, and the chain may have moved on by then.

    Raises:
        TrustError: It is not a root, or is not signed by its own threshold of keys.
    """
    root = _parsed("root", content)
    if not isinstance(root.signed, Root):
        _refuse(f"it is '{root.signed.type}' metadata, expected a root")
    _check_keys(root)
    try:
        root.signed.verify_delegate(Root.type, root.signed_bytes, root.signatures)
    except (exceptions.RepositoryError, VerificationError, ValueError) as problem:
        _refuse(_in_words(problem), problem)
    return content.decode()


def _load_seen(load: Any, text: str | None) -> None:
    """Loads what was verified before, for comparison; signed by keys that are gone, it compares nothing."""
    if text is None:
        return
    try:
        load(text.encode())
    # Old versions and times are what it is here for, and a rotation of the timestamp key ends its word
    # (TUF 5.3.11, recovery from a fast-forward attack).
    except (
        exceptions.UnsignedMetadataError,
        exceptions.ExpiredMetadataError,
        exceptions.BadVersionNumberError,
    ):
        return


def _parsed(name: str, content: bytes) -> Metadata[Any]:
    """Rule 1: the file in exactly its form."""
    try:
        metadata: Metadata[Any] = Metadata.from_bytes(content)
        exact = metadata.to_bytes(JSONSerializer())
    except exceptions.RepositoryError as problem:
        _refuse(f"{name} is not TUF metadata", problem)
    # Ours is the only writer, and a byte that no signature covers must not be there.
    signatures = metadata.signatures
    # python-tuf takes any JSON value for these two.
    if not all(isinstance(text, str) for key, sig in signatures.items() for text in (key, sig.signature)):
        _refuse(f"{name} has a signature that is no text")
    if exact != content or list(signatures) != sorted(signatures):
        _refuse(f"{name} is not written in the exact form")
    return metadata


def _version_of(content: bytes) -> int:
    return int(_parsed("metadata", content).signed.version)


def _check_keys(root: Metadata[Any]) -> None:
    keys: dict[str, Key] = getattr(root.signed, "keys", {})
    for key in keys.values():
        if (key.keytype, key.scheme) != ("ed25519", "ed25519"):
            _refuse(f"a key is of type {key.keytype}, expected ed25519")
    if len({str(key.keyval.get("public")) for key in keys.values()}) != len(keys):
        _refuse("one key has two names")


def _check_signatures(files: dict[str, Metadata[Any]], root: Root) -> tuple[SignedRole, ...]:
    """Rule 3, and who signed what."""
    previous: Root | None = None
    roles: list[SignedRole] = []
    for name, file in files.items():
        authority, kind = (previous or file.signed, "root") if isinstance(file.signed, Root) else (root, "")
        role = kind or file.signed.type
        trusting = [authority, file.signed] if kind else [root]
        allowed: dict[str, Key] = {}
        for signer in trusting:
            allowed |= {keyid: signer.keys[keyid] for keyid in signer.roles[role].keyids}
        for keyid, signature in file.signatures.items():
            _check_signature(name, allowed.get(keyid), signature, file.signed_bytes)
        entry = SignedRole(
            role=role,
            version=file.signed.version,
            expires=file.signed.expires.isoformat(),
            threshold=(file.signed if kind else root).roles[role].threshold,
            key_ids=tuple(sorted(file.signatures)),
        )
        if kind:
            previous, roles = file.signed, [entry]
        else:
            roles.append(entry)
    return tuple(roles)


def _check_signature(name: str, key: Key | None, signature: Signature, content: bytes) -> None:
    if key is None:
        _refuse(f"{name} has a signature of a key that has no such role")
    try:
        raw = bytes.fromhex(signature.signature)
        if len(raw) != 64 or raw.hex() != signature.signature:
            _refuse(f"{name} has a signature that is not in its exact form")
        if int.from_bytes(raw[32:], "little") >= _ED25519_ORDER:
            _refuse(f"{name} has a signature outside Ed25519's range")
        key.verify_signature(signature, content)
    except (UnverifiedSignatureError, VerificationError, ValueError) as problem:
        _refuse(f"{name} has a signature that does not verify", problem)


def _signed_at(fields: dict[str, Any], expires: datetime) -> str:
    text = str(fields.get(SIGNED_AT_FIELD))
    try:
        plausible = parse_moment(text) < expires
    except ValueError as problem:
        _refuse("its timestamp does not say when it was signed", problem)
    if not plausible:
        _refuse("its timestamp expired before it was signed")
    return text


def _signed_file(path: str, target: TargetFile) -> SignedFile:
    """Rule 4."""
    problem = path_problem(path)
    if problem:
        _refuse(f"the path '{path}' {problem}")
    digest = target.hashes.get("sha256", "")
    if set(target.hashes) != {"sha256"} or len(digest) != 64:
        _refuse(f"'{path}' has no SHA-256, or further digests")
    return SignedFile(target.length, digest)


def _custom(target: TargetFile | None) -> tuple[int, str]:
    custom = target.custom if target else None
    version, profile_id = (custom.get("bundle_version"), custom.get("profile")) if custom else (None, None)
    if not isinstance(version, int) or not isinstance(profile_id, str):
        _refuse("the signed list does not say the bundle's version and profile")
    return version, profile_id


def _in_words(problem: Exception) -> str:
    words = str(problem).rstrip(".")
    if isinstance(problem, exceptions.ExpiredMetadataError):
        return f"{words} (frozen metadata, or this clock is wrong)"
    if isinstance(problem, exceptions.UnsignedMetadataError):
        return f"not enough valid signatures ({words})"
    return words


def _refuse(reason: str, cause: BaseException | None = None) -> NoReturn:
    raise TrustError(f"The bundle's signatures are refused: {reason}.", _HINT) from cause
