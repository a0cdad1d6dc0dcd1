"""What is wrong with a data folder, before anything is built on it."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np

from edgepose.host.data.data_folder import DataFolder, open_data_folder
from edgepose.spec.quantization_report import DataAuditReport


def audit_folder(folder: Path, against: Path | None = None) -> DataAuditReport:
    """Audits a data folder.

    Copies and leaks are found by the files' digests: the same bytes, under whatever name.

    Args:
        folder: The data folder.
        against: Another one that should share no picture with it, such as the evaluation set.

    Raises:
        ConfigError: A folder is missing, has damaged labels, or holds no usable picture.
    """
    data = open_data_folder(folder)
    brightness = np.array([image.brightness for image in data.images])
    return DataAuditReport(
        folder=str(folder),
        digest=data.digest,
        counts=data.counts,
        unreadable_files=tuple(path.name for path in data.unreadable),
        duplicate_groups=_duplicates(data),
        brightness_low=float(brightness.min()),
        brightness_median=float(np.median(brightness)),
        brightness_high=float(brightness.max()),
        against=None if against is None else str(against),
        leaked_files=() if against is None else _shared(data, open_data_folder(against)),
    )


def _duplicates(data: DataFolder) -> tuple[tuple[str, ...], ...]:
    names: dict[str, list[str]] = defaultdict(list)
    for image in data.images:
        names[image.sha256].append(image.path.name)
    return tuple(tuple(group) for group in names.values() if len(group) > 1)


def _shared(data: DataFolder, other: DataFolder) -> tuple[str, ...]:
    known = {image.sha256 for image in other.images}
    return tuple(image.path.name for image in data.images if image.sha256 in known)
