"""BlazePose from image to pose: a detector until someone is found, then crops that follow the keypoints.

The order of steps and every number are those of MediaPipe's ``modules/pose_landmark/pose_landmark_cpu.pbtxt``
and the graphs that it contains, with the defaults of ``mp.solutions.pose``.

The filter is Casiez, Roussel and Vogel's (CHI 2012), in the form of MediaPipe's
``util/filtering/one_euro_filter.cc`` and ``landmarks_smoothing_calculator_utils.cc``: the speed is that
between two raw values, divided by the size of the person, and each coordinate has a cut-off frequency of its
own. It is apart from :mod:`edgepose.device.run.smoothing`, which all other models share, because
BlazePose's crop follows its own filtered points: another filter would look at another crop.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ConfigError
from edgepose.pose.codecs.blazepose import (
    BODY_POINTS,
    BlazePoseDetectorCodec,
    BlazePosePoints,
    BlazePoseTrackingCodec,
)
from edgepose.pose.poses import Poses
from edgepose.pose.transform import RotatedCrop, upright_crop, whole_picture
from edgepose.records.model_spec import BlazePoseCodecSpec, BlazePoseDetectorCodecSpec, ModelSpec
from edgepose.runtime.backend import Backend, BackendInfo, real_outputs
from edgepose.runtime.pipeline import StageTimer
from edgepose.runtime.preprocess import Preprocessor

Points = NDArray[np.float64]

# visibility_smoothing_calculator's low_pass_filter in pose_landmark_filtering.pbtxt.
VISIBILITY_SHARE = 0.1
# landmarks_smoothing_calculator.proto: min_allowed_object_scale.
_MIN_SIZE_PX = 1e-6


@dataclass(frozen=True)
class FilterOptions:
    """How much is smoothed.

    Attributes:
        min_cutoff_hz: Cut-off frequency of a point at rest.
        gain: Hertz more for each person's size a second.
        speed_cutoff_hz: Cut-off frequency of the speed itself.
    """

    min_cutoff_hz: float
    gain: float
    speed_cutoff_hz: float = 1.0


# pose_landmark_filtering.pbtxt: of the body, and of the two points that the next crop comes from.
BODY = FilterOptions(min_cutoff_hz=0.05, gain=80.0)
CROP = FilterOptions(min_cutoff_hz=0.01, gain=10.0)


class PointFilter:
    """Smooths points of one person, frame after frame."""

    def __init__(self, options: FilterOptions) -> None:
        self._options = options
        self.reset()

    def reset(self) -> None:
        """Forgets the person."""
        self._raw: Points | None = None
        self._shown: Points = np.zeros(0)
        self._speed: Points = np.zeros(0)
        self._time_ns = 0

    def update(self, points_px: Points, size_px: float, time_ns: int) -> Points:
        """Smooths the next frame's points.

        Args:
            points_px: (K, 2); always the same K.
            size_px: The person's size.
            time_ns: When the scene looked like this; where it does not advance the points are returned as
                they are, and forgotten.
        """
        if size_px < _MIN_SIZE_PX:
            return points_px
        if self._raw is None:
            self._speed, self._shown = np.zeros_like(points_px), points_px
        else:
            elapsed_s = (time_ns - self._time_ns) / 1e9
            if elapsed_s <= 0:
                return points_px
            speed = (points_px - self._raw) / (size_px * elapsed_s)
            share = _share(self._options.speed_cutoff_hz, elapsed_s)
            self._speed = self._speed + share * (speed - self._speed)
            cutoff_hz = self._options.min_cutoff_hz + self._options.gain * np.abs(self._speed)
            self._shown = self._shown + _share(cutoff_hz, elapsed_s) * (points_px - self._shown)
        self._raw, self._time_ns = points_px, time_ns
        return self._shown


class VisibilityFilter:
    """Smooths visibilities of one person: a tenth of what is new, frame after frame."""

    def __init__(self) -> None:
        self._shown: Points | None = None

    def reset(self) -> None:
        """Forgets the person."""
        self._shown = None

    def update(self, visibility: Points) -> Points:
        """Smooths the next frame's visibilities, (K,)."""
        if self._shown is None:
            self._shown = visibility
        else:
            self._shown = self._shown + VISIBILITY_SHARE * (visibility - self._shown)
        return self._shown


def _share(cutoff_hz: float | Points, elapsed_s: float) -> Points:
    """Share of what is new: ``1 / (1 + tau / Te)`` with ``tau = 1 / (2 pi cutoff)``."""
    turn = 2 * np.pi * np.asarray(cutoff_hz) * elapsed_s
    return np.asarray(turn / (1 + turn))


Image = NDArray[np.uint8]

# min_tracking_confidence of mp.solutions.pose: below, there is no one.
_MIN_PRESENCE = 0.5
# mp.solutions.pose (solution_base.py) lets the clock go on so far for each image.
_NS_PER_PICTURE = 33_333_000


class BlazePoseDetector:
    """Finds the most prominent person in a whole image.

    Raises:
        ConfigError: The spec is not that of BlazePose's detector, or its input is no square.
        ModelError: Spec and model disagree.
    """

    def __init__(self, backend: Backend, spec: ModelSpec) -> None:
        if not isinstance(spec.codec, BlazePoseDetectorCodecSpec):
            raise ConfigError(f"Model '{spec.name}' is not BlazePose's detector, which this needs.")
        self._backend = backend
        self._input_px = _square_input(spec)
        self._codec = BlazePoseDetectorCodec(self._input_px, spec.codec.score_threshold, spec.codec.nms_iou)
        self._preprocessor = Preprocessor(spec.input, backend.input)
        # Refuses another model now rather than at the first image.
        self._codec.check({info.name: info.shape for info in backend.outputs})

    def find(self, image: Image, box_scale: float, input_px: int) -> RotatedCrop | None:
        """The crop of the best person, or None.

        Args:
            image: uint8 (H, W, 3), RGB.
            box_scale: Growth of the crop about its centre.
            input_px: Side of the input that the crop is for.

        Raises:
            ModelError: The model failed.
        """
        view = whole_picture((image.shape[1], image.shape[0]), self._input_px)
        self._backend.load_input(lambda tensor: self._preprocessor.write(image, view, tensor))
        self._backend.invoke()
        found = self._codec.decode_best(real_outputs(self._backend))
        if found is None:
            return None
        centre, above = view.to_image([found.centre_input_px, found.above_input_px]).tolist()
        return upright_crop((centre[0], centre[1]), (above[0], above[1]), box_scale, input_px)


class BlazePoseEstimator:
    """The two models of BlazePose, for one person.

    Attributes:
        detect_every: 1 treats each image by itself (``static_image_mode``): the detector looks at each,
            and nothing is smoothed. Anything above follows the person; the detector then looks only where
            no one is followed.

    Raises:
        ConfigError: The spec is not that of BlazePose's landmark model, or its input is no square.
        ModelError: Spec and model disagree.
    """

    def __init__(self, backend: Backend, spec: ModelSpec, detector: BlazePoseDetector) -> None:
        if not isinstance(spec.codec, BlazePoseCodecSpec):
            raise ConfigError(
                f"BlazePose's detector serves BlazePose's own landmark model alone, not '{spec.name}'.",
                "Give pose_landmark_full.tflite as the model, or another person detector.",
            )
        self.detect_every = 1
        self.timer = StageTimer()
        self._backend = backend
        self._spec = spec
        self.skeleton = spec.pose_skeleton
        self._input_px = _square_input(spec)
        self._codec = BlazePoseTrackingCodec(self._input_px)
        self._codec.check({info.name: info.shape for info in backend.outputs})
        self._preprocessor = Preprocessor(spec.input, backend.input, replicates_border=True)
        self._detector = detector
        self._smoothing = False
        self._crop: RotatedCrop | None = None
        self._time_ns = 0
        self._body, self._tracking = PointFilter(BODY), PointFilter(CROP)
        self._visibility = VisibilityFilter()

    @property
    def backend_info(self) -> BackendInfo:
        """What really runs the landmark model."""
        return self._backend.info

    def take_smoothing(self) -> bool:
        """Steadies the keypoints from now on, as MediaPipe does; no one else has to."""
        self._smoothing = True
        return True

    def estimate(self, image: Image, scene_time_ns: int | None = None) -> Poses:
        """Finds the most prominent person.

        Args:
            image: uint8 (H, W, 3), RGB: the next image of the stream.
            scene_time_ns: When the scene looked like this; None counts 30 images a second.

        Returns:
            One pose, where the model is at least half sure that there is someone, or none. The keypoint
            scores are visibilities.

        Raises:
            ModelError: A model failed.
        """
        self.timer.reset()
        self._time_ns = self._time_ns + _NS_PER_PICTURE if scene_time_ns is None else scene_time_ns
        if self.detect_every == 1:
            self._forget()
        crop = self._crop or self._find(image)
        points = None if crop is None else self._look(image, crop)
        if crop is None or points is None:
            self._forget()
            return Poses.empty(self.skeleton)
        with self.timer.measure("decode"):
            return self._follow(points, crop.to_image(points.points_input_px))

    def _find(self, image: Image) -> RotatedCrop | None:
        with self.timer.measure("detect"):
            return self._detector.find(image, self._spec.input.box_scale, self._input_px)

    def _look(self, image: Image, crop: RotatedCrop) -> BlazePosePoints | None:
        with self.timer.measure("preprocess"):
            self._backend.load_input(lambda tensor: self._preprocessor.write(image, crop, tensor))
        with self.timer.measure("infer"):
            self._backend.invoke()
        with self.timer.measure("decode"):
            return self._codec.decode(real_outputs(self._backend), _MIN_PRESENCE)

    def _follow(self, points: BlazePosePoints, points_px: Points) -> Poses:
        body_px, tracking_px = points_px[:BODY_POINTS], points_px[BODY_POINTS:]
        visibility = points.visibility[:BODY_POINTS]
        if self.detect_every > 1:
            size_px = 2 * float(np.hypot(*(tracking_px[1] - tracking_px[0])))
            centre, above = self._tracking.update(tracking_px, size_px, self._time_ns).tolist()
            self._crop = upright_crop(
                (centre[0], centre[1]), (above[0], above[1]), self._spec.input.box_scale, self._input_px
            )
            if self._smoothing:
                body_px = self._body.update(body_px, size_px, self._time_ns)
                visibility = self._visibility.update(visibility)
        return self._poses(body_px, visibility, points.presence)

    def _poses(self, body_px: Points, visibility: Points, presence: float) -> Poses:
        box = np.concatenate([body_px.min(axis=0), body_px.max(axis=0)])
        return Poses(
            keypoints_px=body_px[None].astype(np.float32),
            keypoint_scores=visibility[None].astype(np.float32),
            scores=np.array([presence], np.float32),
            skeleton=self.skeleton,
            boxes_xyxy_px=box[None].astype(np.float32),
        )

    def _forget(self) -> None:
        self._crop = None
        for kept in (self._body, self._tracking, self._visibility):
            kept.reset()


def _square_input(spec: ModelSpec) -> int:
    width, height = spec.input.size_wh
    if width != height:
        raise ConfigError(f"BlazePose looks at squares; the spec of '{spec.name}' says {width} x {height}.")
    return width
