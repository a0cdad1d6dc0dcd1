"""The manifest of a data folder: digests, licences, sources, consent.

A licence comes from the folder's own ``manifest.json`` where the digest still fits, else from the
``licenses`` and ``license`` fields of the COCO labels; else it is ``unknown``, and the audit says so.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgepose.errors import ConfigError
from edgepose.host.data.data_folder import ANNOTATIONS_FILE_NAME, DataFolder, DataImage, open_data_folder
from edgepose.records.data_audit import DatasetManifest, ManifestFile
from edgepose.records.files import write_whole
from edgepose.records.record import read_json, to_json

MANIFEST_FILE_NAME = "manifest.json"
UNKNOWN = "unknown"


class _CocoLicence(msgspec.Struct):
    id: int
    name: str = ""
    url: str = ""


class _CocoImage(msgspec.Struct):
    file_name: str
    license: int | None = None
    flickr_url: str | None = None
    coco_url: str | None = None


class _CocoLicences(msgspec.Struct):
    images: list[_CocoImage] = []
    licenses: list[_CocoLicence] | None = None


def make_manifest(folder: DataFolder) -> DatasetManifest:
    """Lists the usable pictures of a folder, sorted by name.

    Raises:
        ConfigError: The folder's own manifest or the licence fields of its labels are damaged.
    """
    known = _stated_before(folder.path)
    labels = _stated_by_labels(folder.path)
    files = []
    for image in folder.images:
        name = image.path.relative_to(folder.path).as_posix()
        before = known.get(name)
        if before is not None and before.sha256 == image.sha256:
            files.append(before)
        else:
            files.append(_entry(name, image, labels))
    return DatasetManifest(files=tuple(files))


def licences_of(manifest: DatasetManifest) -> dict[str, int]:
    """Licence to number of pictures, sorted by name."""
    counts: dict[str, int] = {}
    for file in manifest.files:
        counts[file.licence] = counts.get(file.licence, 0) + 1
    return dict(sorted(counts.items()))


def write_folder_manifest(folder: Path, target: Path) -> None:
    """Writes the ``edgepose.dataset/1`` manifest of a data folder.

    Raises:
        ConfigError: The folder cannot be used, or the file cannot be written.
    """
    manifest = make_manifest(open_data_folder(folder))
    write_whole(target, [to_json(manifest, indent=1).encode(errors="backslashreplace")])


def _stated_before(folder: Path) -> dict[str, ManifestFile]:
    path = folder / MANIFEST_FILE_NAME
    if not path.is_file():
        return {}
    return {file.file: file for file in read_json(path, DatasetManifest).files}


def _stated_by_labels(folder: Path) -> dict[str, ManifestFile]:
    """Picture name to licence and source, digests left empty."""
    path = folder / ANNOTATIONS_FILE_NAME
    if not path.is_file():
        return {}
    try:
        labels = msgspec.json.decode(path.read_bytes(), type=_CocoLicences)
    except (msgspec.ValidationError, OSError) as problem:
        raise ConfigError(f"The licence fields of {path} cannot be read: {problem}.") from problem
    names = {entry.id: entry.name or entry.url or UNKNOWN for entry in labels.licenses or ()}
    return {
        image.file_name: ManifestFile(
            file=image.file_name,
            sha256="",
            licence=names.get(image.license, UNKNOWN) if image.license is not None else UNKNOWN,
            source=image.flickr_url or image.coco_url or UNKNOWN,
        )
        for image in labels.images
    }


def _entry(name: str, image: DataImage, labels: dict[str, ManifestFile]) -> ManifestFile:
    stated = labels.get(image.path.name)
    if stated is None:
        return ManifestFile(file=name, sha256=image.sha256)
    return msgspec.structs.replace(stated, file=name, sha256=image.sha256)
