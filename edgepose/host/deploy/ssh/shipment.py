"""What a deployment brings to a device: a bundle cut at its files, the device side's code, locked wheels.

A device gets only what it lacks. It needs neither pip nor a network: wheels are fetched and checked here.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edgepose.errors import ConfigError, DeployError, MissingDependencyError, TrustError
from edgepose.host.bounded_process import AnswerLimits, BoundedCall, run_bounded
from edgepose.host.bundle.device_lock import DeviceLock, LockedWheel
from edgepose.host.bundle.sbom import add_file
from edgepose.host.deploy.ssh.connection import LAUNCHER, glibc_minor
from edgepose.host.deploy.ssh.device_store import Blob
from edgepose.records.files import packaged_folder, write_whole
from edgepose.sandbox.python_child import python_command
from edgepose.trust.bundle_reader import BLOCK_BYTES, header_size_bytes, padding_bytes
from edgepose.trust.digests import sha256_of_file

# Smaller files cost more as files of their own than they save.
_INLINE_BYTES = 4096


@dataclass(frozen=True)
class Segment:
    """A part of a file.

    Attributes:
        start: Its first byte.
        size: Its bytes.
        sha256: Its digest where it is kept on the device; None where it travels with the request.
    """

    start: int
    size: int
    sha256: str | None


def cut(content: bytes) -> list[Segment]:
    """The segments of a whole bundle, in order, without a gap; what cannot be told as one stays inline."""
    segments: list[Segment] = []
    position = begun = 0
    while position + BLOCK_BYTES <= len(content):
        size = header_size_bytes(content[position : position + BLOCK_BYTES])
        start = position + BLOCK_BYTES
        if size is None or start + size > len(content):
            break
        if size >= _INLINE_BYTES:
            segments.append(Segment(begun, start - begun, None))
            segments.append(Segment(start, size, hashlib.sha256(content[start : start + size]).hexdigest()))
            begun = start + size
        position = start + size + padding_bytes(size)
    if begun < len(content):
        segments.append(Segment(begun, len(content) - begun, None))
    return segments


def as_request(content: bytes, segments: list[Segment]) -> list[dict[str, Any]]:
    """The segments as the device's store takes them."""
    return [
        {"sha256": part.sha256}
        if part.sha256
        else {"inline": base64.b64encode(content[part.start : part.start + part.size]).decode()}
        for part in segments
    ]


# As long as a deployment may take that another host has begun.
_SPARE_S = 3600


@dataclass(frozen=True)
class Shipment:
    """A bundle with the runtime's wheels, in their folder here, and the code that install it."""

    bundle: bytes
    lock: DeviceLock
    wheels: Path
    code: bytes

    @cached_property
    def runtime(self) -> str:
        """Folder of the runtime on the device."""
        return f"runtimes/{self.lock.digest}"

    @cached_property
    def program(self) -> str:
        """Folder of the code on the device."""
        return f"code/{self._code_sha256}"

    @cached_property
    def incoming(self) -> str:
        """The bundle on the device: a name of its own, as another host may bring another one."""
        return f"incoming/{self._bundle_sha256}.epb"

    @cached_property
    def new_launcher(self) -> str:
        """Starts this runtime and code before they have proved themselves."""
        return f"{LAUNCHER}.{hashlib.sha256((self.runtime + self.program).encode()).hexdigest()[:16]}"

    def blobs(self, lacks: Callable[[str], bool]) -> list[Blob]:
        """The files; those of a folder that the device does not lack are not needed."""
        found = [
            Blob(part.sha256, part.size, self.bundle[part.start : part.start + part.size])
            for part in self._segments
            if part.sha256
        ]
        if lacks(self.runtime):
            files = [(one.sha256, self.wheels / one.file) for one in self.lock.wheels]
            found += [Blob(sha256, path.stat().st_size, path) for sha256, path in files]
        if lacks(self.program):
            found.append(Blob(self._code_sha256, len(self.code), self.code))
        return found

    def requests(self, lacks: Callable[[str], bool]) -> list[dict[str, Any]]:
        """Folders of the files, and the bundle in one piece; see ``remote/store.py``."""
        parts = {self.runtime: [one.sha256 for one in self.lock.wheels], self.program: [self._code_sha256]}
        unpack = [
            {"op": "unpack", "to": name, "blobs": digests} for name, digests in parts.items() if lacks(name)
        ]
        assemble = {
            "op": "assemble",
            "to": self.incoming,
            "segments": as_request(self.bundle, self._segments),
            "sha256": self._bundle_sha256,
        }
        return [*unpack, assemble]

    def sweep(self) -> dict[str, Any]:
        """Removes unpacked archives and what this replaced, but for the one before, which may be running."""
        runtime, program = (name.rpartition("/")[2] for name in (self.runtime, self.program))
        bundle = self.incoming.rpartition("/")[2]
        kept = [part.sha256 for part in self._segments if part.sha256]
        unpacked = [self._code_sha256, *(one.sha256 for one in self.lock.wheels)]
        keep = {
            "runtimes": {"names": [runtime], "others": 1},
            "code": {"names": [program], "others": 1},
            "blobs": {"names": kept, "others": 0, "done": unpacked, "spare_s": _SPARE_S},
            "incoming": {"names": [], "others": 0, "done": [bundle], "spare_s": _SPARE_S},
            "bin": {"names": [LAUNCHER.rpartition("/")[2]], "others": 0, "spare_s": _SPARE_S},
        }
        return {"op": "sweep", "keep": keep}

    @cached_property
    def _segments(self) -> list[Segment]:
        return cut(self.bundle)

    @cached_property
    def _bundle_sha256(self) -> str:
        return hashlib.sha256(self.bundle).hexdigest()

    @cached_property
    def _code_sha256(self) -> str:
        return hashlib.sha256(self.code).hexdigest()


_PACKAGE = Path(__file__).resolve().parents[3]
# What only the host does stays here.
_NOT_ON_DEVICES = {"host", "__pycache__", "_data"}
_DATA = ("device_profiles", "model_specs")


@cache
def device_code() -> bytes:
    """A zip file with the package edgepose, without its host side; the same for all devices of a call."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, path in sorted(_files()):
            add_file(archive, name, path.read_bytes())
    return buffer.getvalue()


def _files() -> Iterator[tuple[str, Path]]:
    for path in _PACKAGE.rglob("*"):
        inside = path.relative_to(_PACKAGE)
        if path.is_file() and inside.parts[0] not in _NOT_ON_DEVICES and "__pycache__" not in inside.parts:
            yield f"edgepose/{inside.as_posix()}", path
    for name in _DATA:
        folder = packaged_folder(name)
        for path in folder.rglob("*"):
            if path.is_file():
                yield f"edgepose/_data/{name}/{path.relative_to(folder).as_posix()}", path


# Whose very version was judged here; what computes there must be what was measured.
_AS_JUDGED = ("ai-edge-litert", "onnxruntime")
_OLDEST_GLIBC_MINOR = 17
_MIB = 1 << 20
# pip is silent while it fetches a wheel of 100 MiB.
_PIP = AnswerLimits(bytes=16 * _MIB, silence_s=3600.0)
# What pip says of a file with another digest (pip/_internal/exceptions.py, HashMismatch).
_OTHER_DIGEST = "DO NOT MATCH THE HASHES"


@dataclass(frozen=True)
class WheelTarget:
    """For whom wheels are resolved.

    Attributes:
        arch: ``uname -m``.
        glibc: Version of the C library.
        python: Version of Python, such as ``3.11``.
    """

    arch: str
    glibc: str
    python: str

    @property
    def platforms(self) -> tuple[str, ...]:
        """Platform tags (PEP 600 and its aliases of PEP 513 to 599), newest first."""
        minors = range(glibc_minor(self.glibc), _OLDEST_GLIBC_MINOR - 1, -1)
        return (*(f"manylinux_2_{minor}_{self.arch}" for minor in minors), f"manylinux2014_{self.arch}")


def check_lock_serves(lock: DeviceLock, target: WheelTarget, runtime: str) -> None:
    """Refuses a lock whose wheels do not run on the device, or are not what was measured here.

    The runtime that computes there is ``litert`` or ``onnxruntime``.

    Raises:
        DeployError: The device's C library is too old, or the runtime here has another version.
    """
    if glibc_minor(target.glibc) < lock.glibc_minor:
        raise DeployError(
            f"The locked wheels for {lock.name} need glibc 2.{lock.glibc_minor}; "
            f"the device has {target.glibc}.",
            "Update the device's system.",
        )
    package = {"litert": "ai-edge-litert"}.get(runtime, runtime)
    locked, here = lock.version_of(package), _installed_version(package)
    if package in _AS_JUDGED and locked is not None and here not in (None, locked):
        raise DeployError(
            f"The model was judged here with {package} {here}, and the device gets {locked} by its lock; "
            "what is measured must be what ships.",
            f"pip install {package}=={locked}, and judge the model again",
        )


def fetch_wheels(lock: DeviceLock, target: WheelTarget, cache: Path, say: Callable[[str], None]) -> Path:
    """The wheels of a lock; asks the package index only for what is not here.

    Returns:
        The folder that holds them, each with its locked digest.

    Raises:
        TrustError: The index gave a file with another digest than the locked one.
        DeployError: The index cannot be reached, or has a locked wheel no more.
        ConfigError: The cache cannot be read or written.
        MissingDependencyError: pip is not installed.
    """
    folder = cache / lock.digest
    if all(_intact(folder / wheel.file, wheel) for wheel in lock.wheels):
        return folder
    say(f"Fetching the {len(lock.wheels)} locked wheels of {lock.name}")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".fetching-", dir=cache) as work:
            _download(tuple(wheel.requirement for wheel in lock.wheels), target, Path(work))
            for wheel in lock.wheels:
                _check_digest(Path(work) / wheel.file, wheel)
            folder.mkdir(exist_ok=True)
            for wheel in lock.wheels:
                (Path(work) / wheel.file).replace(folder / wheel.file)
    except OSError as problem:
        raise ConfigError(
            f"Cannot keep wheels in {cache}: {problem.strerror}.", "Free some space."
        ) from problem
    size = sum((folder / wheel.file).stat().st_size for wheel in lock.wheels)
    say(f"{len(lock.wheels)} wheels, {size / _MIB:.0f} MiB")
    return folder


def default_runtime_cache() -> Path:
    """Where wheels are kept, under the XDG cache folder."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if home.startswith("/") else Path.home() / ".cache") / "edgepose" / "runtimes"


def _installed_version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _intact(path: Path, wheel: LockedWheel) -> bool:
    return path.is_file() and sha256_of_file(path) == wheel.sha256


def _check_digest(path: Path, wheel: LockedWheel) -> None:
    """Does not rely on pip's own check alone."""
    if not path.is_file():
        raise DeployError(
            f"The package index did not bring {wheel.file}, which is locked.", "Try again, or: make lock"
        )
    found = sha256_of_file(path)
    if found != wheel.sha256:
        raise _other_digest(f"{wheel.file} with sha256 {found}, expected {wheel.sha256}")


def _download(requirements: tuple[str, ...], target: WheelTarget, folder: Path) -> None:
    platforms = [word for tag in target.platforms for word in ("--platform", tag)]
    with TemporaryDirectory(prefix="edgepose-lock-") as work:
        listed = Path(work) / "requirements.txt"
        write_whole(listed, ["\n".join(requirements).encode()])
        call = [
            "download", "--quiet", "--disable-pip-version-check", "--no-input",
            "--no-deps", "--require-hashes", "--only-binary=:all:", "--implementation", "cp",
            "--python-version", target.python, *platforms, "--dest", str(folder.absolute()),
            "--requirement", str(listed),
        ]  # fmt: skip
        done = run_bounded(BoundedCall(python_command("pip", call), "pip", _PIP, changes=_absolute_links()))
    if done.code == 0:
        return
    if "No module named pip" in done.stderr:
        raise MissingDependencyError("pip is not installed here.", "python -m ensurepip")
    if _OTHER_DIGEST in done.stderr:
        named = re.search(
            r"^\s+(\S+==\S+)[^\n]*\n\s+Expected sha256 (\w+)\n\s+Got\s+(\w+)", done.stderr, re.MULTILINE
        )
        raise _other_digest(
            f"{named[1]} with sha256 {named[3]}, expected {named[2]}"
            if named
            else "a wheel with another digest"
        )
    errors = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR")]
    raise DeployError(
        f"The runtime for {target.arch} with Python {target.python} could not be had: "
        f"{' '.join(errors[:2]) or done.stderr.strip()[-300:]}",
        "The first deployment to a kind of device needs the package index, or its wheels in PIP_FIND_LINKS.",
    )


def _other_digest(found: str) -> TrustError:
    return TrustError(
        f"The package index gave {found}; it is not the wheel that is locked, and nothing was sent.",
        "Use another index, or find out who changed it.",
    )


def _absolute_links() -> dict[str, str]:
    """Pip's working folder is another one; a folder of wheels that the user names stays what it is."""
    words = os.environ.get("PIP_FIND_LINKS", "").split()
    links = [word if "://" in word else str(Path(word).expanduser().absolute()) for word in words]
    return {"PIP_FIND_LINKS": " ".join(links)} if links else {}
