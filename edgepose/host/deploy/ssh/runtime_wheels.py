"""The runtime's locked wheels, fetched and checked here: the device needs no pip and no network."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

from edgepose.errors import ConfigError, DeployError, MissingDependencyError, TrustError
from edgepose.host.bounded_process import AnswerLimits, BoundedCall, run_bounded
from edgepose.host.bundle.device_lock import DeviceLock, LockedWheel
from edgepose.host.deploy.ssh.fit import glibc_minor
from edgepose.records.files import write_whole
from edgepose.sandbox.python_child import python_command
from edgepose.trust.digests import sha256_of_file

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

    Args:
        lock: The wheels.
        target: The device.
        runtime: ``litert`` or ``onnxruntime``, which computes there.

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

    Args:
        lock: The wheels.
        target: The device.
        cache: Where wheels are kept.
        say: Takes one line of progress.

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
