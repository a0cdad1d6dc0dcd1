"""Where a student comes from, for its lineage and its record."""

from __future__ import annotations

import importlib.metadata

from edgepose.host.distill.teacher import CoordinateTeacher, HeatmapTeacher
from edgepose.spec.distillation_report import DistillationTeacher
from edgepose.spec.lineage import ParentModel

AnyTeacher = HeatmapTeacher | CoordinateTeacher

_VERSIONS = ("keras", "tensorflow", "jax", "numpy", "opencv-python-headless")


def parents_of(teacher: AnyTeacher | None) -> tuple[ParentModel, ...]:
    """What the student's lineage names: the teacher, or nothing."""
    if teacher is None:
        return ()
    return (ParentModel(file_name=teacher.file_name, sha256=teacher.sha256, step="distil: teacher"),)


def describe_teacher(teacher: AnyTeacher | None) -> DistillationTeacher | None:
    """The teacher as the record has it."""
    if teacher is None:
        return None
    return DistillationTeacher(
        file_name=teacher.file_name,
        sha256=teacher.sha256,
        targets="heatmaps" if isinstance(teacher, HeatmapTeacher) else "keypoints",
    )


def versions() -> dict[str, str]:
    """Of what trains, by package."""
    found = {}
    for name in _VERSIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            # jax is one of two backends.
            continue
    return found
