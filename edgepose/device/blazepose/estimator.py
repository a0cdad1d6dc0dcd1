"""BlazePose from picture to pose: a detector until somebody is found, then crops that follow the keypoints.

The order of steps and every number are those of MediaPipe's ``modules/pose_landmark/pose_landmark_cpu.pbtxt``
and the graphs that it contains, with the defaults of ``mp.solutions.pose``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepose.device.blazepose.point_filter import BODY, CROP, PointFilter, VisibilityFilter
from edgepose.errors import ConfigError
from edgepose.inference.backend import Backend, BackendInfo, real_outputs
from edgepose.inference.preprocess import Preprocessor
from edgepose.inference.stage_timer import StageTimer
from edgepose.pose.codecs.blazepose_detector import BlazePoseDetectorCodec
from edgepose.pose.codecs.blazepose_tracking import BODY_POINTS, BlazePosePoints, BlazePoseTrackingCodec
from edgepose.pose.poses import Poses
from edgepose.pose.rotated_crop import RotatedCrop, upright_crop, whole_picture
from edgepose.spec.model_spec import BlazePoseCodecSpec, BlazePoseDetectorCodecSpec, ModelSpec

Image = NDArray[np.uint8]
Points = NDArray[np.float64]

# min_tracking_confidence of mp.solutions.pose: below, there is nobody.
_MIN_PRESENCE = 0.5
# mp.solutions.pose (solution_base.py) lets the clock go on so far for each picture.
_NS_PER_PICTURE = 33_333_000


class BlazePoseDetector:
    """Finds the most prominent person in a whole picture.

    Args:
        backend: The loaded detector.
        spec: Its spec.

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
        # Refuses another model now rather than at the first picture.
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

    Args:
        backend: The loaded landmark model.
        spec: Its spec.
        detector: The detector.

    Attributes:
        detect_every: 1 treats each picture by itself (``static_image_mode``): the detector looks at each,
            and nothing is smoothed. Anything above follows the person; the detector then looks only where
            nobody is followed.
        timer: Time per stage of the last frame.

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
        self._skeleton = spec.pose_skeleton
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
        """Steadies the keypoints from now on, as MediaPipe does; nobody else has to."""
        self._smoothing = True
        return True

    def estimate(self, image: Image, scene_time_ns: int | None = None) -> Poses:
        """Finds the most prominent person.

        Args:
            image: uint8 (H, W, 3), RGB: the next picture of the stream.
            scene_time_ns: When the scene looked like this; None counts 30 pictures a second.

        Returns:
            One pose, where the model is at least half sure that there is somebody, or none. The keypoint
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
            return Poses.empty(self._skeleton)
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
            skeleton=self._skeleton,
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
