"""Private keys in files: Ed25519, PKCS #8 in PEM, encrypted by a stretched passphrase.

PKCS #8 as ``cryptography`` writes it derives its AES-256 key by PBKDF2 with 2,048 rounds, too few for a
passphrase that people choose. So the passphrase goes through scrypt first (RFC 7914, N = 2^15, r = 8,
p = 1: 32 MiB and about 0.1 s a guess), with one salt a key home.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner

from edgepose.errors import ConfigError, TrustError
from edgepose.host.keys.key_home import KeyHome

_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 1 << 15, 8, 1
_SCRYPT_MEMORY_BYTES = 64 << 20


def make_private_folder(home: KeyHome) -> None:
    """Makes the folder of the keys and its salt.

    Raises:
        ConfigError: It is there already or cannot be made.
    """
    try:
        home.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        home.private.mkdir(mode=0o700)
        home.metadata.mkdir(exist_ok=True)
        _write_secret(home.salt, secrets.token_hex(16).encode())
    except OSError as problem:
        raise ConfigError(
            f"Cannot make a key home in {home.folder}: {problem.strerror} ({problem.filename}).",
            "Choose another --home; keys that are there are never overwritten.",
        ) from problem


class PrivateKeys:
    """The private keys of a key home, unlocked when they are needed.

    Args:
        home: The key home.
        passphrase: What unlocks them; None for keys that are not encrypted.
    """

    def __init__(self, home: KeyHome, passphrase: str | None) -> None:
        self._home = home
        self._password = None if passphrase is None else _stretched(passphrase, home)

    def make(self, role: str) -> CryptoSigner:
        """Makes a key for a role and writes it.

        Raises:
            ConfigError: The file cannot be written.
        """
        key = Ed25519PrivateKey.generate()
        signer = CryptoSigner(key)
        protection: KeySerializationEncryption = NoEncryption()
        if self._password is not None:
            protection = BestAvailableEncryption(self._password)
        content = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)
        path = self._home.private_key(role, signer.public_key.keyid)
        try:
            _write_secret(path, content)
        except OSError as problem:
            raise ConfigError(f"Cannot write {path}: {problem.strerror}.") from problem
        return signer

    def load(self, role: str, key_ids: list[str]) -> list[CryptoSigner]:
        """Unlocks those keys of a role that are here.

        Raises:
            TrustError: The passphrase is wrong, or a file is damaged or holds another key.
        """
        paths = {key_id: self._home.private_key(role, key_id) for key_id in key_ids}
        return [self._unlocked(path, key_id) for key_id, path in paths.items() if path.is_file()]

    def forget(self, role: str, key_ids: list[str]) -> None:
        """Removes keys that no role names any more.

        Raises:
            ConfigError: A file cannot be removed.
        """
        for key_id in key_ids:
            path = self._home.private_key(role, key_id)
            try:
                path.unlink(missing_ok=True)
            except OSError as problem:
                raise ConfigError(f"Cannot remove {path}: {problem.strerror}.") from problem

    def _unlocked(self, path: Path, key_id: str) -> CryptoSigner:
        try:
            key = load_pem_private_key(path.read_bytes(), self._password)
        except OSError as problem:
            raise ConfigError(f"Cannot read {path}: {problem.strerror}.") from problem
        # ValueError: wrong passphrase or no key. TypeError: a passphrase where none is needed, or none where
        # one is.
        except (ValueError, TypeError) as problem:
            raise TrustError(
                f"Cannot unlock {path.name}: the passphrase is not the right one, or the file is damaged.",
                "Keys made with --no-passphrase take none.",
            ) from problem
        if not isinstance(key, Ed25519PrivateKey) or CryptoSigner(key).public_key.keyid != key_id:
            raise TrustError(f"{path} holds another key than its name says.")
        return CryptoSigner(key)


def _stretched(passphrase: str, home: KeyHome) -> bytes:
    try:
        salt = bytes.fromhex(home.salt.read_text(encoding="ascii"))
    except (OSError, ValueError) as problem:
        raise ConfigError(
            f"{home.salt} is missing or damaged; without it no key can be unlocked."
        ) from problem
    key = hashlib.scrypt(
        passphrase.encode(),
        salt=salt,
        n=_SCRYPT_N,
        r=_SCRYPT_R,
        p=_SCRYPT_P,
        maxmem=_SCRYPT_MEMORY_BYTES,
    )
    return base64.b64encode(key)


def _write_secret(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
