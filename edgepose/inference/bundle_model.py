"""The models inside a bundle file, verified, for the time that they are needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from edgepose.spec.bundle_manifest import BundleManifest
from edgepose.trust.bundle_reader import read_bundle


@contextmanager
def unpacked_bundle(bundle: Path) -> Iterator[tuple[BundleManifest, Path]]:
    """Verifies a bundle and lays its models into a private folder for the time of the block.

    The runtimes keep an open model after its file is gone.

    Raises:
        TrustError: The bundle could not be verified.
        ConfigError: The file cannot be read.
    """
    # mkdtemp makes the folder with mode 0700: nobody can change a model between check and use.
    with TemporaryDirectory(prefix="edgepose-") as name:
        folder = Path(name)

        def keep(path: str, piece: bytes) -> None:
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("ab") as stream:
                stream.write(piece)

        yield read_bundle(bundle, keep).manifest, folder


@contextmanager
def model_file_of(path: Path) -> Iterator[Path]:
    """The pose model of a bundle, or the path itself where it is a model.

    Raises:
        TrustError: It is a bundle that cannot be verified.
        ConfigError: The file cannot be read.
    """
    if not is_bundle(path):
        yield path
        return
    with unpacked_bundle(path) as (manifest, folder):
        yield folder / manifest.model.file


def is_bundle(path: Path) -> bool:
    """Whether a file is an archive as bundles are (the magic of USTAR at byte 257, POSIX.1-1988)."""
    try:
        with path.open("rb") as stream:
            return stream.read(262)[257:] == b"ustar"
    except OSError:
        return False
