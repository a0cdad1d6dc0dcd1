"""What the teacher sees in one person's box, in a form that can be augmented.

A teacher with heatmaps on crops gives the maps themselves, averaged over the image and its mirror image.
Any other teacher gives keypoints and scores, and Gaussians stand in for the maps. One that no runtime here
loads, a Keras model or SavedModel, is converted first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ConfigError, EdgeposeError, ModelError
from edgepose.host.convert.conversion import ConversionRequest, Say, convert_model
from edgepose.host.models.artifact import open_artifact
from edgepose.host.models.locked_backend import LockedBackend
from edgepose.pose.codecs.codec import choose_output
from edgepose.pose.codecs.heatmap import HeatmapCodec, decode_heatmaps
from edgepose.pose.skeletons import Skeleton
from edgepose.pose.transform import ImageTransform, crop_transform
from edgepose.records.model_spec import HeatmapCodecSpec, ModelSpec
from edgepose.runtime.backend import Backend, real_outputs
from edgepose.runtime.model_file import detect_format, sha256_of_model
from edgepose.runtime.open_model import RuntimeOptions, load_pose_spec
from edgepose.runtime.pipeline import PosePipeline
from edgepose.runtime.preprocess import Image, Preprocessor

Box = NDArray[np.floating]

# Maps for teachers that have none: their size, and the spread of Xiao et al. 2018 in proportion.
_RENDERED_MAP_WH = (48, 64)
_RENDERED_SIGMA_CELLS = 2.0
_RENDERED_BOX_SCALE = 1.25


@dataclass(frozen=True, eq=False)
class TeacherView:
    """What the teacher says about one person.

    Attributes:
        maps: (K, h, w) float32 in [0, 1], in the student's keypoint order.
        to_cells: Image pixels to cells of the maps.
        keypoints_px: (K, 2) in image pixels.
        scores: (K,) in [0, 1].
    """

    maps: NDArray[np.float32]
    to_cells: ImageTransform
    keypoints_px: NDArray[np.float64]
    scores: NDArray[np.float32]


class Teacher(Protocol):
    """Anything that can be asked about a person.

    Attributes:
        map_wh: Size of the maps that ``look`` gives.
    """

    map_wh: tuple[int, int]
    sha256: str
    file_name: str

    def look(self, image: Image, box_xyxy_px: Box) -> TeacherView:
        """Asks about the person in a box.

        Raises:
            ModelError: The model failed.
        """
        ...


def open_teacher(
    path: Path, skeleton: Skeleton, spec_file: Path | None = None, threads: int = 1
) -> HeatmapTeacher | CoordinateTeacher:
    """Opens any pose model that edgepose can run as a teacher.

    Raises:
        ConfigError: It has no spec, or lacks keypoints of the student, or has to be converted first.
        ModelError: It is damaged or disagrees with its spec.
        MissingDependencyError: Its runtime is not installed.
    """
    spec = load_pose_spec(path, spec_file)
    order = _student_order(spec.pose_skeleton, skeleton, path.name)
    backend = LockedBackend(path, RuntimeOptions(threads=threads))
    sha256 = sha256_of_model(path)
    if isinstance(spec.codec, HeatmapCodecSpec) and spec.input.resize == "crop":
        return HeatmapTeacher(backend, spec, spec.codec, order, (path.name, sha256))
    return CoordinateTeacher(PosePipeline(backend, spec), order, path.name, sha256)


def _student_order(teacher: Skeleton, student: Skeleton, name: str) -> NDArray[np.intp]:
    """The teacher's index of each of the student's keypoints."""
    missing = [keypoint for keypoint in student.keypoint_names if keypoint not in teacher.keypoint_names]
    if missing:
        raise ConfigError(
            f"The teacher {name} has skeleton '{teacher.name}' without {', '.join(missing)}, the student "
            f"learns '{student.name}'.",
            f"Use a teacher that knows all {student.keypoint_count} keypoints of {student.name}.",
        )
    return np.array(teacher.indices_of(student.keypoint_names), dtype=np.intp)


class HeatmapTeacher:
    """A top-down heatmap model; its maps are the soft targets."""

    def __init__(
        self,
        backend: Backend,
        spec: ModelSpec,
        codec: HeatmapCodecSpec,
        order: NDArray[np.intp],
        identity: tuple[str, str],
    ) -> None:
        self.file_name, self.sha256 = identity
        self._output = codec.output
        self._backend, self._spec, self._order = backend, spec, order
        self._mirrored_order = spec.pose_skeleton.flip_permutation[order]
        self._preprocessor = Preprocessor(spec.input, backend.input)
        self._codec = HeatmapCodec(
            spec.pose_skeleton.keypoint_count, spec.input.size_wh, codec.subpixel, codec.output
        )
        height, width = self._shape_of_maps()
        self.map_wh = (width, height)

    def look(self, image: Image, box_xyxy_px: Box) -> TeacherView:
        """See ``Teacher``."""
        plain = self._preprocessor.transform_for(image, box_xyxy_px)
        direct = self._maps(image, plain)[self._order]
        mirrored = self._maps(image, self._mirrored(plain))[self._mirrored_order, :, ::-1]
        maps = np.clip((direct + mirrored) / 2, 0, 1).astype(np.float32)
        cells, scores = decode_heatmaps(maps, "dark")
        to_cells = self._in_cells(plain)
        return TeacherView(maps, to_cells, to_cells.to_image(cells), scores.astype(np.float32))

    def _maps(self, image: Image, transform: ImageTransform) -> NDArray[np.float32]:
        self._backend.load_input(lambda tensor: self._preprocessor.write(image, transform, tensor))
        self._backend.invoke()
        output = choose_output(real_outputs(self._backend), self._output)
        return np.array(self._codec.keypoints_first(output), dtype=np.float32)

    def _shape_of_maps(self) -> tuple[int, int]:
        width, height = self._spec.input.size_wh
        blank = np.zeros((height, width, 3), np.uint8)
        maps = self._maps(blank, crop_transform((0, 0, width, height), (width, height), 1.0))
        return maps.shape[1], maps.shape[2]

    def _mirrored(self, plain: ImageTransform) -> ImageTransform:
        """Mirrors about the middle of the cells' grid, so that mirrored cells fall on cells exactly."""
        width, cells = self._spec.input.width_px, self.map_wh[0]
        last_px = (cells - 1) * width / cells
        return replace(
            plain,
            scale_xy=(-plain.scale_xy[0], plain.scale_xy[1]),
            offset_xy=(last_px - plain.offset_xy[0], plain.offset_xy[1]),
        )

    def _in_cells(self, transform: ImageTransform) -> ImageTransform:
        (width, height), (cells_x, cells_y) = self._spec.input.size_wh, self.map_wh
        fx, fy = cells_x / width, cells_y / height
        (sx, sy), (ox, oy) = transform.scale_xy, transform.offset_xy
        return ImageTransform((sx * fx, sy * fy), (ox * fx, oy * fy), self.map_wh)


class CoordinateTeacher:
    """Any other pose model: its keypoints become Gaussians as high as their scores."""

    map_wh = _RENDERED_MAP_WH

    def __init__(self, pipeline: PosePipeline, order: NDArray[np.intp], file_name: str, sha256: str) -> None:
        self.file_name, self.sha256 = file_name, sha256
        self._pipeline, self._order = pipeline, order
        self._codec = HeatmapCodec(len(order), _RENDERED_MAP_WH)

    def look(self, image: Image, box_xyxy_px: Box) -> TeacherView:
        """See ``Teacher``."""
        to_cells = crop_transform(box_xyxy_px, _RENDERED_MAP_WH, _RENDERED_BOX_SCALE)
        keypoints, scores = self._estimate(image, box_xyxy_px, to_cells)
        cells = to_cells.to_input(keypoints).astype(np.float32)
        maps = self._codec.encode(cells, scores > 0, _RENDERED_MAP_WH, _RENDERED_SIGMA_CELLS)
        return TeacherView(maps * scores[:, None, None], to_cells, keypoints, scores)

    def _estimate(
        self, image: Image, box: Box, to_cells: ImageTransform
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        if self._pipeline.spec.uses_person_boxes:
            poses = self._pipeline.estimate(image, np.asarray(box, np.float32)[None])
            offset = np.zeros(2)
        else:
            # A model of whole images sees the surroundings of the box as its image.
            part, offset = _cut(image, to_cells)
            poses = self._pipeline.estimate(part)
        if not len(poses.scores):
            return np.zeros((len(self._order), 2)), np.zeros(len(self._order), np.float32)
        best = int(np.argmax(poses.scores))
        keypoints = poses.keypoints_px[best][self._order].astype(np.float64) + offset
        return keypoints, np.clip(poses.keypoint_scores[best][self._order], 0, 1).astype(np.float32)


def _cut(image: Image, to_cells: ImageTransform) -> tuple[Image, NDArray[np.float64]]:
    corners = to_cells.to_image([(0, 0), to_cells.input_wh])
    size = (image.shape[1], image.shape[0])
    (x0, y0), (x1, y1) = np.clip(np.round(corners), 0, size).astype(int)
    if x1 - x0 < 1 or y1 - y0 < 1:
        raise ModelError("A person's box lies outside its picture.", "Correct the labels.")
    return np.ascontiguousarray(image[y0:y1, x0:x1]), np.array([x0, y0], np.float64)


CONVERTED_NAME = "teacher.tflite"
_CONVERTED = frozenset({"keras", "keras_h5", "saved_model"})


def runnable_teacher(path: Path, spec_file: Path | None, folder: Path, say: Say) -> tuple[Path, Path | None]:
    """The teacher itself, or its TFLite form in a folder, compared with it on every output.

    The converted file is used again as long as it comes from the same teacher.

    Returns:
        A file that ``open_teacher`` takes, and the spec that it needs.

    Raises:
        ConfigError: The teacher is not there, or its spec is missing or wrong.
        ModelError: The teacher is damaged, or the conversion damaged it.
        MissingDependencyError: TensorFlow is not installed.
    """
    if detect_format(path) not in _CONVERTED:
        return path, spec_file
    converted = folder / CONVERTED_NAME
    if not _comes_from(converted, path):
        say(f"converting the teacher {path.name} to TFLite")
        convert_model(ConversionRequest(open_artifact(path, spec_file), "tflite", converted, say))
    return converted, None


def _comes_from(converted: Path, teacher: Path) -> bool:
    if not converted.is_file():
        return False
    try:
        lineage = open_artifact(converted).lineage
    except EdgeposeError:
        # Left by something else; it is written anew.
        return False
    return lineage is not None and lineage.parents[-1].sha256 == sha256_of_model(teacher)
