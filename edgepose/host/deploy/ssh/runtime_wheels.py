"""The runtime's wheels for a device, resolved and hashed here: the device needs no pip and no network."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

from edgepose.errors import ConfigError, DeployError, MissingDependencyError
from edgepose.host.bounded_process import AnswerLimits, BoundedCall, run_bounded
from edgepose.host.deploy.ssh.fit import glibc_minor
from edgepose.sandbox.python_child import python_command
from edgepose.spec.device_profile import DeviceProfile
from edgepose.spec.records import Record, from_json, to_json
from edgepose.spec.whole_file import write_whole
from edgepose.trust.digests import sha256_of_file, sha256_of_list

# Packages whose very version was judged here; what computes there must be what was measured.
_AS_JUDGED = ("ai-edge-litert", "onnxruntime")
# NVIDIA's own builds belong to the board's system; no wheel of PyPI replaces them.
_OF_THE_BOARD = ("tensorrt", "cuda")
_OLDEST_GLIBC_MINOR = 17
_MIB = 1 << 20
# pip is silent while it fetches a wheel of 100 MiB.
_PIP = AnswerLimits(bytes=16 * _MIB, silence_s=3600.0)


class LockedWheel(Record, frozen=True, kw_only=True):
    """A wheel.

    Attributes:
        file: Its name.
        sha256: Its digest.
        size: Bytes.
    """

    file: str
    sha256: str
    size: int


class RuntimeLock(Record, frozen=True, kw_only=True):
    """What a device's runtime is made of.

    Attributes:
        schema: ``edgepose.runtime_lock/1``.
        requirements: What was asked for.
        python: Version of the device's Python.
        platforms: Platform tags of the device, newest first.
        wheels: What was found, sorted by name.
    """

    schema: str
    requirements: tuple[str, ...]
    python: str
    platforms: tuple[str, ...]
    wheels: tuple[LockedWheel, ...]

    @property
    def digest(self) -> str:
        """Digest of the wheels' digests: the runtime's name."""
        return sha256_of_list([wheel.sha256 for wheel in self.wheels])


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


def runtime_requirements(profile: DeviceProfile, target: WheelTarget) -> tuple[str, ...]:
    """What edgepose needs on a device, pinned where the version was judged here.

    Raises:
        MissingDependencyError: ``packaging`` is not installed.
    """
    try:
        from packaging.requirements import Requirement
    except ImportError as problem:
        raise MissingDependencyError("packaging is not installed.", "pip install packaging") from problem
    environment = {
        "python_version": target.python,
        "python_full_version": f"{target.python}.0",
        "platform_machine": target.arch,
        "sys_platform": "linux",
        "platform_system": "Linux",
        "extra": "onnxruntime" if _carries_onnxruntime(profile) else "",
    }
    found = []
    for text in metadata.requires("edgepose") or []:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate(environment):
            found.append(_pinned(requirement.name, str(requirement.specifier)))
    return tuple(sorted(found))


def lock_runtime(
    requirements: tuple[str, ...], target: WheelTarget, cache: Path, say: Callable[[str], None]
) -> tuple[RuntimeLock, Path]:
    """The wheels for a device; asks the package index only once for the same question.

    Args:
        requirements: As ``runtime_requirements`` gives them.
        target: The device.
        cache: Where wheels are kept.
        say: Takes one line of progress.

    Returns:
        The lock, and the folder of its wheels.

    Raises:
        DeployError: There is no wheel for the device, or no network and nothing cached.
        ConfigError: The cache cannot be read or written.
    """
    key = sha256_of_list([*requirements, *target.platforms, target.python])
    folder = cache / key
    lock_file = folder / "lock.json"
    if lock_file.is_file():
        lock = from_json(lock_file.read_text(encoding="utf-8"), RuntimeLock, str(lock_file))
        if all(_intact(folder / wheel.file, wheel) for wheel in lock.wheels):
            return lock, folder
    say(f"Resolving the runtime for {target.arch}, Python {target.python}, glibc {target.glibc}")
    cache.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".resolving-", dir=cache) as work:
        _download(requirements, target, Path(work))
        lock = _lock_of(Path(work), requirements, target)
        folder.mkdir(exist_ok=True)
        for wheel in lock.wheels:
            (Path(work) / wheel.file).replace(folder / wheel.file)
    write_whole(lock_file, [to_json(lock, indent=1).encode()])
    say(f"{len(lock.wheels)} wheels, {sum(wheel.size for wheel in lock.wheels) / _MIB:.0f} MiB")
    return lock, folder


def default_runtime_cache() -> Path:
    """Where wheels are kept, under the XDG cache folder."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if home.startswith("/") else Path.home() / ".cache") / "edgepose" / "runtimes"


def _carries_onnxruntime(profile: DeviceProfile) -> bool:
    return profile.runtime.name == "onnxruntime" and profile.runtime.delegate not in _OF_THE_BOARD


def _pinned(name: str, specifier: str) -> str:
    if name in _AS_JUDGED:
        try:
            return f"{name}=={metadata.version(name)}"
        except metadata.PackageNotFoundError:
            return f"{name}{specifier}"
    return f"{name}{specifier}"


def _intact(path: Path, wheel: LockedWheel) -> bool:
    return path.is_file() and path.stat().st_size == wheel.size and sha256_of_file(path) == wheel.sha256


def _download(requirements: tuple[str, ...], target: WheelTarget, folder: Path) -> None:
    platforms = [word for tag in target.platforms for word in ("--platform", tag)]
    call = [
        "download", "--quiet", "--disable-pip-version-check", "--no-input",
        "--only-binary=:all:", "--implementation", "cp", "--python-version", target.python, *platforms,
        "--dest", str(folder.absolute()), *requirements,
    ]  # fmt: skip
    done = run_bounded(BoundedCall(python_command("pip", call), "pip", _PIP, changes=_absolute_links()))
    if done.code == 0:
        return
    if "No module named pip" in done.stderr:
        raise MissingDependencyError("pip is not installed here.", "python -m ensurepip")
    errors = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR")]
    raise DeployError(
        f"The runtime for {target.arch} with Python {target.python} could not be had: "
        f"{' '.join(errors[:2]) or done.stderr.strip()[-300:]}",
        "The first deployment to a kind of device needs the package index, or its wheels in PIP_FIND_LINKS.",
    )


def _absolute_links() -> dict[str, str]:
    """Pip's working folder is another one; a folder of wheels that the user names stays what it is."""
    words = os.environ.get("PIP_FIND_LINKS", "").split()
    links = [word if "://" in word else str(Path(word).expanduser().absolute()) for word in words]
    return {"PIP_FIND_LINKS": " ".join(links)} if links else {}


def _lock_of(folder: Path, requirements: tuple[str, ...], target: WheelTarget) -> RuntimeLock:
    files = sorted(folder.glob("*.whl"))
    if not files:
        raise ConfigError(f"pip brought no wheel for {', '.join(requirements)}.")
    wheels = tuple(
        LockedWheel(file=path.name, sha256=sha256_of_file(path), size=path.stat().st_size) for path in files
    )
    return RuntimeLock(
        schema="edgepose.runtime_lock/1",
        requirements=requirements,
        python=target.python,
        platforms=target.platforms,
        wheels=wheels,
    )
