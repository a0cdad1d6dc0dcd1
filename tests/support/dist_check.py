"""``python -m tests.support.dist_check FOLDER``: are wheel and sdist whole, and does the wheel run alone?

Builds both, builds the wheel once more from the sdist and compares them, looks for what belongs into them and
what does not, and runs both programs from the wheel in an environment that holds what a device gets and no
more.
"""

from __future__ import annotations

import platform
import sys
import tarfile
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from edgepose.sandbox.python_child import run_python, run_words
from tests.conftest import PROJECT

_IN_WHEEL = (
    "edgepose/py.typed",
    "edgepose/_data/builtin_models/manifest.json",
    "edgepose/_data/builtin_models/LICENSE-WEIGHTS.md",
    "edgepose/_data/device_profiles/raspberrypi5.toml",
    "edgepose/_data/golden_frames/frames.json",
    "edgepose/_data/golden_frames/figures.webp",
    "edgepose/_data/model_specs/tinypose_256x192.toml",
    "edgepose/_data/requirements/device/aarch64-3.11.txt",
)
_IN_SDIST = (
    "pyproject.toml",
    "Makefile",
    "LICENSE",
    "tests/conftest.py",
    "docs/index.md",
    "examples/demo.py",
)
# The base install is enough for it.
_DOOR = "import edgepose; print(edgepose.open().skeleton.name)"
_MOST_MIB = 20
_BUILD_S = 300


class DistError(Exception):
    """The release is not fit; the text says why."""


def main() -> None:
    """Builds, looks, installs, runs."""
    folder = Path(sys.argv[1]).resolve()
    try:
        wheel, sdist = build(PROJECT, folder)
        check_members(members(wheel), _IN_WHEEL, allowed=("edgepose/", "edgepose-"))
        check_members([name.partition("/")[2] for name in members(sdist)], _IN_SDIST)
        with TemporaryDirectory() as work:
            same_from_sdist(wheel, sdist, Path(work))
            said = run_alone(wheel, Path(work) / "alone")
    except DistError as problem:
        sys.exit(f"dist-check: {problem}")
    for path in (wheel, sdist):
        size_mib = path.stat().st_size / 2**20
        sys.stdout.write(f"{path}: {size_mib:.1f} MiB, {len(members(path))} files\n")
    sys.stdout.write(f"{said}\n")


def build(project: Path, folder: Path, *targets: str) -> tuple[Path, Path]:
    """Wheel and sdist of a project."""
    for old in folder.glob("edgepose-*"):
        old.unlink()
    words = [
        "build",
        "--directory",
        str(folder),
        *(f"--target={target}" for target in targets or ("wheel", "sdist")),
    ]
    done = run_python("hatchling", words, python=sys.executable, cwd=project, timeout_s=_BUILD_S)
    wheels, sdists = list(folder.glob("*.whl")), list(folder.glob("*.tar.gz"))
    if done.returncode != 0 or len(wheels) != 1:
        raise DistError(f"hatchling built no wheel: {done.stdout}{done.stderr}")
    return wheels[0], sdists[0] if sdists else Path()


def members(archive: Path) -> list[str]:
    """Names of the files in a wheel or sdist."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return [entry.filename for entry in wheel.infolist() if not entry.is_dir()]
    with tarfile.open(archive) as sdist:
        return [entry.name for entry in sdist if entry.isfile()]


def check_members(names: Sequence[str], wanted: Sequence[str], allowed: tuple[str, ...] = ("",)) -> None:
    """Raises DistError where something is missing or does not belong there."""
    missing = [name for name in wanted if name not in names]
    if missing:
        raise DistError(f"missing: {', '.join(missing)}")
    strange = [
        name
        for name in names
        if not name.startswith(allowed)
        or "__pycache__" in name
        or name.startswith((".venv", "build/", "demo/"))
    ]
    if strange:
        raise DistError(f"does not belong there: {', '.join(strange[:10])}")


def same_from_sdist(wheel: Path, sdist: Path, work: Path) -> None:
    """Raises DistError where the wheel that the sdist gives is another one."""
    if wheel.stat().st_size > _MOST_MIB * 2**20:
        raise DistError(f"the wheel has more than {_MOST_MIB} MiB")
    with tarfile.open(sdist) as archive:
        archive.extractall(work / "source", filter="data")
    again, _ = build(next((work / "source").iterdir()), work / "again", "wheel")
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as other:
        digests = [{entry.filename: entry.CRC for entry in each.infolist()} for each in (one, other)]
    differing = sorted(name for name, _ in digests[0].items() ^ digests[1].items())
    if differing:
        raise DistError(f"wheel and wheel from the sdist differ: {', '.join(differing[:10])}")


def run_alone(wheel: Path, place: Path) -> str:
    """Runs both programs from the wheel beside what a device gets; returns what they said first."""
    venv.create(place, with_pip=True)
    python = str(place / "bin" / "python")
    target = f"{platform.machine()}-{sys.version_info.major}.{sys.version_info.minor}"
    lock = PROJECT / "requirements" / "device" / f"{target}.txt"
    pip = ["install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    for more in (["--require-hashes", "--only-binary=:all:", "--requirement", str(lock)], [str(wheel)]):
        done = run_python("pip", [*pip, *more], python=python, timeout_s=_BUILD_S)
        if done.returncode != 0:
            raise DistError(f"pip could not install {more[-1]}: {done.stderr}")
    said = []
    for words in (["edgepose", "--help"], ["edgepose", "profiles", "list"], ["edgepose-device", "--help"]):
        done = run_words([place / "bin" / words[0], *words[1:]], timeout_s=_BUILD_S)
        if done.returncode != 0:
            raise DistError(f"{' '.join(words)} from the wheel ended with {done.returncode}: {done.stderr}")
        said.append(f"$ {' '.join(words)}\n{done.stdout.splitlines()[0]}")
    done = run_words([python, "-I", "-c", _DOOR], timeout_s=_BUILD_S)
    if done.returncode != 0:
        raise DistError(f"the public names from the wheel: {done.stderr}")
    return "\n".join([*said, f"$ python -c '{_DOOR}'\n{done.stdout.strip()}"])


if __name__ == "__main__":
    main()
