"""Where a pixel of the image lands in the model's input, and back; also for a turned square (BlazePose).

Two things must not be mixed up, half a pixel costs TinyPose-256 about 8 AP:

* ``matrix`` maps *coordinates* (labels, keypoints, boxes) from the image to the input.
* ``sampling_matrix`` maps *pixel indices* for the resizer. For a crop both are the same (the
  convention of mmpose and PaddleDetection, whose labels are pixel indices). For letterbox and stretch
  the image is resized about pixel centres, as ``cv2.resize`` does, while labels are only scaled (the
  convention of YOLO-type training code), so the sampling is shifted by half a pixel times scale - 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgepose.pose.boxes import grow_to_aspect


@dataclass(frozen=True)
class ImageTransform:
    """An axis-aligned affine map from image pixels to model-input pixels.

    Attributes:
        scale_xy: (2,) input pixels per image pixel.
        offset_xy: (2,) input position of image coordinate (0, 0), in input pixels.
        input_wh: Size of the model input in pixels.
        resize_about_centres: True where the image is sampled about pixel centres.
    """

    scale_xy: tuple[float, float]
    offset_xy: tuple[float, float]
    input_wh: tuple[int, int]
    resize_about_centres: bool = False

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(2, 3), image coordinates to input coordinates."""
        (sx, sy), (ox, oy) = self.scale_xy, self.offset_xy
        return np.array([[sx, 0.0, ox], [0.0, sy, oy]])

    @property
    def sampling_matrix(self) -> NDArray[np.float64]:
        """(2, 3), image pixel indices to input pixel indices, for the resizer."""
        matrix = self.matrix
        if self.resize_about_centres:
            matrix[:, 2] += (np.array(self.scale_xy) - 1) / 2
        return matrix

    def to_input(self, points_px: ArrayLike) -> NDArray[np.float64]:
        """Maps points (..., 2) from image pixels to input pixels."""
        return np.asarray(points_px, dtype=np.float64) * self.scale_xy + self.offset_xy

    def to_image(self, points_input_px: ArrayLike) -> NDArray[np.float64]:
        """Maps points (..., 2) from input pixels to image pixels."""
        return (np.asarray(points_input_px, dtype=np.float64) - self.offset_xy) / self.scale_xy

    def boxes_to_image(self, boxes_xyxy_input_px: ArrayLike) -> NDArray[np.float64]:
        """Maps boxes (N, 4) from input pixels to image pixels."""
        boxes = np.asarray(boxes_xyxy_input_px, dtype=np.float64).reshape(-1, 2, 2)
        return self.to_image(boxes).reshape(-1, 4)


def crop_transform(box_xyxy_px: ArrayLike, input_wh: tuple[int, int], box_scale: float) -> ImageTransform:
    """The crop around a person box: ``x_input = (x - x0) * W / w``, no half pixel.

    Args:
        box_xyxy_px: (4,), the person box in image pixels.
        input_wh: Model input size.
        box_scale: Growth about the centre after the box took the input's aspect ratio.
    """
    width, height = input_wh
    x0, y0, x1, y1 = grow_to_aspect(box_xyxy_px, width / height, box_scale)
    scale_x, scale_y = width / (x1 - x0), height / (y1 - y0)
    return ImageTransform(
        scale_xy=(scale_x, scale_y),
        offset_xy=(-x0 * scale_x, -y0 * scale_y),
        input_wh=input_wh,
    )


def letterbox_transform(
    image_wh: tuple[int, int], input_wh: tuple[int, int], *, centred: bool
) -> ImageTransform:
    """The whole image at one scale, padded to the input.

    Args:
        image_wh: Image size in pixels.
        input_wh: Model input size in pixels.
        centred: Padding on both sides; otherwise the image sits in the top left corner.
    """
    scale = min(input_wh[0] / image_wh[0], input_wh[1] / image_wh[1])
    offset = [(i - s * scale) / 2 if centred else 0.0 for i, s in zip(input_wh, image_wh, strict=True)]
    return ImageTransform(
        scale_xy=(scale, scale),
        offset_xy=(offset[0], offset[1]),
        input_wh=input_wh,
        resize_about_centres=True,
    )


def stretch_transform(image_wh: tuple[int, int], input_wh: tuple[int, int]) -> ImageTransform:
    """The whole image, each axis scaled to fill the input."""
    return ImageTransform(
        scale_xy=(input_wh[0] / image_wh[0], input_wh[1] / image_wh[1]),
        offset_xy=(0.0, 0.0),
        input_wh=input_wh,
        resize_about_centres=True,
    )


@dataclass(frozen=True)
class RotatedCrop:
    """A square region of the image and the square input that it fills.

    Pixel indices are mapped like coordinates, without a half pixel: the corners of the square land on 0 and
    ``input_px``. That is how MediaPipe fills its tensors (``image_to_tensor_converter_opencv.cc`` maps the
    region's corner points on those of the tensor).

    Attributes:
        centre_px: Centre of the square, x and y in image pixels.
        side_px: Its side in image pixels.
        rotation: Angle in radians by which the square is turned, clockwise as one sees it (y points down).
        input_px: Side of the model's input in its own pixels.
    """

    centre_px: tuple[float, float]
    side_px: float
    rotation: float
    input_px: int

    def __post_init__(self) -> None:
        values = (*self.centre_px, self.side_px, self.rotation)
        if not all(map(math.isfinite, values)) or self.side_px <= 0:
            raise ValueError(f"a crop needs finite values and a positive side, found {values}")

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(2, 3), image coordinates to input coordinates."""
        scale = self.input_px / self.side_px
        cos, sin = math.cos(self.rotation) * scale, math.sin(self.rotation) * scale
        (x, y), half = self.centre_px, self.input_px / 2
        return np.array([[cos, sin, half - cos * x - sin * y], [-sin, cos, half + sin * x - cos * y]])

    @property
    def sampling_matrix(self) -> NDArray[np.float64]:
        """(2, 3), image pixel indices to input pixel indices, for the resizer."""
        return self.matrix

    def to_input(self, points_px: ArrayLike) -> NDArray[np.float64]:
        """Maps points (..., 2) from image pixels to input pixels."""
        matrix = self.matrix
        return np.asarray(points_px, dtype=np.float64) @ matrix[:, :2].T + matrix[:, 2]

    def to_image(self, points_input_px: ArrayLike) -> NDArray[np.float64]:
        """Maps points (..., 2) from input pixels to image pixels."""
        scale = self.side_px / self.input_px
        cos, sin = math.cos(self.rotation) * scale, math.sin(self.rotation) * scale
        centred = np.asarray(points_input_px, dtype=np.float64) - self.input_px / 2
        return np.asarray(centred @ np.array([[cos, sin], [-sin, cos]]) + self.centre_px)


def whole_picture(image_wh: tuple[int, int], input_px: int) -> RotatedCrop:
    """The smallest square around the whole image, about its centre: a letterbox."""
    width, height = image_wh
    return RotatedCrop((width / 2, height / 2), float(max(width, height)), 0.0, input_px)


def upright_crop(
    centre_px: tuple[float, float], above_px: tuple[float, float], box_scale: float, input_px: int
) -> RotatedCrop | None:
    """The square around a person that is told by two points.

    MediaPipe's ``alignment_points_to_rects_calculator.cc`` (the side is twice the distance),
    ``detections_to_rects_calculator.cc`` (the second point comes to lie straight above the first: target
    angle 90 degrees in ``pose_landmarks_to_roi.pbtxt``) and ``rect_transformation_calculator.cc`` (scale).

    Args:
        centre_px: Middle of the person, in image pixels.
        above_px: A point in the direction of the head, at the radius of the circle around the person.
        box_scale: Growth of the square about its centre.
        input_px: Side of the model's input.

    Returns:
        None where the points are less than half a pixel apart or not finite, so that there is no direction.
    """
    right, down = above_px[0] - centre_px[0], above_px[1] - centre_px[1]
    radius_px = math.hypot(right, down)
    if not (math.isfinite(radius_px) and radius_px >= 0.5):
        return None
    return RotatedCrop(centre_px, 2 * radius_px * box_scale, math.atan2(right, -down), input_px)
