"""Models, images and streams from Python."""

from __future__ import annotations

import atexit
import queue
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from edgepose.api import PathName, model_path, optional_path
from edgepose.device.capture.supervised.supervisor import CaptureOptions
from edgepose.device.output.pose_sink import FrameResult
from edgepose.device.run.estimator_choice import EstimatorChoice, opened_models
from edgepose.device.run.frame_estimator import PoseEstimator
from edgepose.device.run.loop import RunRequest
from edgepose.device.run.loop import run as run_loop
from edgepose.errors import ConfigError
from edgepose.pose.poses import Poses
from edgepose.pose.skeletons import Skeleton
from edgepose.runtime.bundle_model import is_bundle

BUILTIN = "edgepose-s_int8"
# The loop may be this many results ahead of who takes them.
_RESULTS_AHEAD = 2
_LOOK_S = 0.1


class Model:
    """An opened model, with its person detector where it has one. Made by `edgepose.open`.

    One thread uses it at a time.

    Examples:
        >>> model = edgepose.open()
        >>> model.skeleton.name
        'coco17'
    """

    def __init__(self, new_estimator: Callable[[], PoseEstimator], choice: EstimatorChoice) -> None:
        self._new_estimator = new_estimator
        self._choice = choice
        self._skeleton = new_estimator().skeleton

    @property
    def skeleton(self) -> Skeleton:
        """What the keypoints are: names, edges, pairs of left and right."""
        return self._skeleton

    def __call__(self, image: NDArray[np.uint8]) -> Poses:
        """Estimates the poses in one image, which has nothing to do with the one before.

        Persons whose mean keypoint score is below the spec's `min_pose_score` are left out.
        A model that works on crops takes the whole image as its crop where it has no detector. For the
        images of a stream use `edgepose.run`, which follows persons from one to the next.

        Args:
            image: uint8 (H, W, 3), **RGB**. What OpenCV reads is BGR: turn it by `image[..., ::-1]`.

        Raises:
            ConfigError: The array is no image of that form.
            ModelError: The model failed.

        Examples:
            >>> poses = edgepose.open()(image)
            >>> poses.keypoints_px.shape, poses.keypoint_scores.shape
            ((1, 17, 2), (1, 17))
            >>> poses.names[:3]
            ('nose', 'left_eye', 'right_eye')
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise ConfigError(
                f"Expected an image of uint8 (H, W, 3), RGB; found {image.dtype} {image.shape}.",
                "Convert it first.",
            )
        return self._new_estimator().estimate(np.ascontiguousarray(image))


@dataclass(frozen=True, eq=False)
class Result:
    """One frame of `edgepose.run`.

    Attributes:
        index: Number of the frame, from 0.
        timestamp_ns: `time.monotonic_ns` when it was captured.
        dropped_before: Frames of a camera that were left out since the last result; 0 for files.
        latency_ms: From the capture to the poses.
        image: uint8 (H, W, 3), RGB; yours to keep.
        poses: The persons, with track ids.
    """

    index: int
    timestamp_ns: int
    dropped_before: int
    latency_ms: float
    image: NDArray[np.uint8] = field(repr=False)
    poses: Poses


def open(  # noqa: A001 (as edgepose.open it is what people look for)
    model: PathName = BUILTIN,
    *,
    spec: PathName | None = None,
    detector: PathName | None = None,
    detector_spec: PathName | None = None,
    threads: int | None = None,
) -> Model:
    """Opens a model file, a bundle, an installed device root, or a built-in model.

    What it is, is told by what is there: a folder is a device root, a bundle is verified before it is used,
    and a name that is no path is one of the built-in models that `edgepose models list` shows.

    Args:
        model: Path, or name of a built-in model.
        spec: Spec of a model file that carries none: a `.toml` file, or the name of a ready one.
        detector: A person detector in front of it: path, or name of a built-in one.
        detector_spec: Spec of a detector that carries none.
        threads: CPU threads; the profile's where there is one, else 1.

    Raises:
        ConfigError: Nothing is there or installed there, or a spec is missing or wrong.
        MissingDependencyError: The runtime is not installed.
        ModelError: A model is damaged or unsupported.
        TrustError: A bundle or an installed model could not be verified.
        DeployError: The state of the root cannot be read.
        DeviceError: The accelerator is missing.

    Examples:
        >>> several = edgepose.open(detector="edgepose-d_int8")
        >>> len(several(image)) >= 1
        True
    """
    path, finder = model_path(model), None if detector is None else model_path(detector)
    choice = EstimatorChoice(
        detector=finder,
        spec=optional_path(spec),
        detector_spec=optional_path(detector_spec),
        threads=threads,
    )
    if path.is_dir():
        choice = replace(choice, root=path)
    else:
        choice = (
            replace(choice, bundle=path)
            if path.is_file() and is_bundle(path)
            else replace(choice, model=path)
        )
    return Model(opened_models(choice), choice)


def run(
    source: PathName | int,
    model: Model | None = None,
    *,
    max_frames: int | None = None,
    detect_every: int | None = None,
    smoothing: bool | None = None,
) -> Generator[Result, None, None]:
    """Estimates poses on a video, a folder of images or a camera, frame by frame.

    A process of its own reads the source, locked in and watched: a camera that is unplugged comes back. Files
    never drop a frame; of a camera the newest is taken. Ending the loop, or `close()` of the iterator, ends
    the processes. This process is **not** locked in, as that of `edgepose run` is: what it does with an image
    is yours to answer for.

    Args:
        source: As on the command line: a path, a camera's index, `v4l2:///dev/video0`, `rtsp://...`.
        model: An opened model; the built-in one where none is given.
        max_frames: Ends after so many frames.
        detect_every: The detector looks at every Nth frame; 10 for videos and cameras, 1 for folders.
        smoothing: Steadies the keypoints; on for videos and cameras, off for folders.

    Yields:
        Results in the order of the frames.

    Raises:
        ConfigError: The source is not usable.
        DeviceError: A camera failed for good.
        ModelError: The model failed.

    Examples:
        >>> for result in edgepose.run(clip, max_frames=3):
        ...     print(result.index, result.image.shape, len(result.poses.names))
        0 (480, 640, 3) 17
        1 (480, 640, 3) 17
        2 (480, 640, 3) 17
    """
    used = model or open()
    request = RunRequest(
        source=str(source),
        models=used._choice,
        max_frames=max_frames,
        detect_every=detect_every,
        smoothing=smoothing,
        capture=CaptureOptions(),
    )
    handed = _HandedResults(request, used._new_estimator())
    try:
        yield from handed
    finally:
        handed.end()


class _HandedResults:
    """Hands the results of the loop, which runs in its own thread, to who iterates."""

    def __init__(self, request: RunRequest, estimator: PoseEstimator) -> None:
        self._stopped = threading.Event()
        self._results: queue.Queue[Result] = queue.Queue(_RESULTS_AHEAD)
        self._ended = threading.Event()
        self._failure: BaseException | None = None
        # A program may end between two results: its interpreter waits for no such thread, but for `end`.
        self._worker = threading.Thread(
            target=self._work, args=(request, estimator), name="edgepose.run", daemon=True
        )
        self._worker.start()
        atexit.register(self.end)

    def end(self) -> None:
        """Ends the run, and comes back when its processes have ended."""
        self._stopped.set()
        self._worker.join()
        atexit.unregister(self.end)

    def _work(self, request: RunRequest, estimator: PoseEstimator) -> None:
        try:
            run_loop(replace(request, observers=(self,)), self._stopped.is_set, estimator=estimator)
        except BaseException as failure:  # noqa: BLE001 (raised again where the results are taken)
            self._failure = failure
        finally:
            self._ended.set()

    def write(self, result: FrameResult) -> None:
        frame = result.frame
        # A frame that is held takes one of the few places that capture and run share; a result is to keep.
        handed = Result(
            frame.index,
            frame.timestamp_ns,
            frame.dropped_before,
            result.latency_ms,
            frame.image.copy(),
            result.poses,
        )
        while not self._stopped.is_set():
            try:
                self._results.put(handed, timeout=_LOOK_S)
            except queue.Full:
                continue
            return

    def close(self, *, complete: bool) -> None:
        """Nothing is open."""

    def __iter__(self) -> Iterator[Result]:
        while not (self._ended.is_set() and self._results.empty()):
            try:
                yield self._results.get(timeout=_LOOK_S)
            except queue.Empty:
                continue
        if self._failure is not None:
            raise self._failure
