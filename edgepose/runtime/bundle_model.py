"""The models inside a bundle file, verified, for the time that they are needed.

How well a model reproduces an expected pose: at build time and on the device, the same code.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from edgepose.pose.poses import Poses
from edgepose.pose.similarity import oks_between
from edgepose.records.bundle_manifest import BundleManifest
from edgepose.records.lineage import GoldenPose
from edgepose.runtime.pipeline import PosePipeline
from edgepose.runtime.preprocess import Image
from edgepose.trust.bundle_reader import read_bundle


@contextmanager
def unpacked_bundle(bundle: Path) -> Iterator[tuple[BundleManifest, Path]]:
    """Verifies a bundle and lays its models into a private folder for the time of the block.

    The runtimes keep an open model after its file is gone.

    Raises:
        TrustError: The bundle could not be verified.
        ConfigError: The file cannot be read.
    """
    # mkdtemp makes the folder with mode 0700: no one can change a model between check and use.
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


# A one-stage model finds a drawn figure with little confidence, which is enough to compare poses. Open
# pipelines that replay golden frames with this score threshold.
GOLDEN_SCORE_THRESHOLD = 0.001

BoxXyxy = tuple[float, float, float, float]


def estimate_in_box(pipeline: PosePipeline, image: Image, box_xyxy_px: BoxXyxy | None) -> Poses:
    """Runs a model on an image, in the box where there is one.

    Raises:
        ModelError: The model failed.
    """
    boxes = None if box_xyxy_px is None else np.array([box_xyxy_px], np.float32)
    return pipeline.estimate(image, boxes)


def golden_oks(pipeline: PosePipeline, image: Image, expected: GoldenPose) -> float:
    """OKS between the expected pose and the found one that is nearest to it; 0 where nothing is found.

    Raises:
        ModelError: The model failed.
    """
    poses = estimate_in_box(pipeline, image, expected.box_xyxy_px)
    wanted_px = np.array(expected.keypoints, np.float64)[:, :2]
    sigmas = pipeline.spec.pose_skeleton.sigmas
    found = [oks_between(pose, wanted_px, expected.area_px2, sigmas) for pose in poses.keypoints_px]
    return max((value for value in found if np.isfinite(value)), default=0.0)
