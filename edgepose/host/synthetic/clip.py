"""A clip of generated persons who walk, turn, squat and wave, with the truth of every frame."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, get_args

import cv2
import numpy as np

from edgepose.errors import ConfigError, MissingDependencyError
from edgepose.host.synthetic.camera import Camera
from edgepose.host.synthetic.composition import check_scene, sample_stage
from edgepose.host.synthetic.figure import Figure, Looks, stand
from edgepose.host.synthetic.repertoire import posture_of
from edgepose.host.synthetic.skeleton import INDEX, Vector, sample_build, within_limits
from edgepose.host.synthetic.stage import Scene, Stage
from edgepose.host.synthetic.style import STYLES, StyleName, sample_outfit
from edgepose.host.synthetic.surroundings import ground_place
from edgepose.records.files import PRIVATE, write_whole
from edgepose.records.record import to_json
from edgepose.records.synthetic_clip import ClipFrame, ClipPerson, SyntheticClip

CLIP_NAME, LABELS_NAME = "clip.mp4", "clip.json"
_CODEC = "mp4v"
_LONGEST_S = 600.0

Progress = Callable[[int, int], None]
MotionKind = Literal["walking", "squatting", "waving", "jumping_jacks"]
IN_PLACE: tuple[MotionKind, ...] = get_args(MotionKind)[1:]

# Metres a second, and metres a double step for each metre of body height (Winter: about 0.8 heights).
_STRIDE_HEIGHTS = 0.82
_PERIOD_S = {"squatting": 2.6, "waving": 1.1, "jumping_jacks": 1.3}


@dataclass(frozen=True)
class Mover:
    """A person and what it does in the course of a clip.

    Attributes:
        start_m: (3,), where it is at first.
        velocity_m_s: (3,), along the ground.
        phase: Where in its cycle it starts, 0 to 1.
    """

    looks: Looks
    kind: MotionKind
    start_m: Vector
    velocity_m_s: Vector
    heading_degrees: float
    phase: float

    def at(self, time_s: float) -> Figure:
        """The person at a time."""
        speed = float(np.linalg.norm(self.velocity_m_s))
        if self.kind == "walking":
            cycle = self.phase + speed * time_s / (_STRIDE_HEIGHTS * self.looks.build.height_m)
        else:
            cycle = self.phase + time_s / _PERIOD_S[self.kind]
        activity = "standing" if self.kind in {"waving", "jumping_jacks"} else self.kind
        figure = stand(self.looks, posture_at(self.kind, cycle), self.heading_degrees, activity)
        return figure.at(self.start_m + self.velocity_m_s * time_s)


def posture_at(kind: MotionKind, cycle: float) -> Vector:
    """The posture (27,) at a place in a cycle, any number; 0 and 1 are the same."""
    swing = 0.5 - 0.5 * np.cos(2 * np.pi * cycle)
    rest = posture_of("standing")
    if kind == "walking":
        return _walk(cycle)
    if kind == "squatting":
        low = posture_of("squatting")
        # Down and up, with a moment of standing.
        share = float(np.clip(1.25 * swing - 0.1, 0, 1))
        return within_limits(rest + share * share * (3 - 2 * share) * (low - rest))
    if kind == "waving":
        raised = posture_of("waving")
        raised[INDEX["left_shoulder_twist"]] += 25 * np.sin(2 * np.pi * cycle)
        return within_limits(raised)
    star = posture_of("star_jump")
    star[INDEX["lift"]] = 0
    posture = rest + float(swing) * (star - rest)
    posture[INDEX["lift"]] = 0.05 * np.sin(2 * np.pi * cycle) ** 2
    return within_limits(posture)


def _walk(cycle: float) -> Vector:
    """Legs and arms swing against each other; the knee bends while its leg comes forward."""
    posture = posture_of("standing")
    for side, offset, sign in (("left", 0.0, 1.0), ("right", 0.5, -1.0)):
        angle = 2 * np.pi * (cycle + offset)
        posture[INDEX[f"{side}_hip_flex"]] = 6 + 24 * np.sin(angle)
        posture[INDEX[f"{side}_knee"]] = 6 + 50 * max(0.0, np.cos(angle)) ** 1.5
        posture[INDEX[f"{side}_ankle"]] = 4 - 12 * np.sin(angle)
        posture[INDEX[f"{side}_shoulder_flex"]] = 4 - 26 * np.sin(angle)
        posture[INDEX[f"{side}_elbow"]] = 22 - 14 * np.sin(angle)
        posture[INDEX["spine_twist"]] += sign * 4 * np.sin(angle)
    return within_limits(posture)


def silent(_done: int, _total: int) -> None:
    """Reports no progress."""


@dataclass(frozen=True)
class ClipRequest:
    """What to film.

    Attributes:
        size_wh: Even numbers of pixels: MPEG-4 halves the colour planes.
        persons: How many; the first two walk across and cross each other.
        style: ``varied`` takes light and blur as they come.
        progress: Called with (frames done, frames in all).
    """

    seconds: float
    fps: float = 15.0
    seed: int = 0
    size_wh: tuple[int, int] = (640, 480)
    persons: int = 2
    style: StyleName = "clear"
    progress: Progress = silent

    @property
    def frames(self) -> int:
        """Their number."""
        return round(self.seconds * self.fps)

    @property
    def command(self) -> str:
        """What makes the same clip again."""
        return (
            f"edgepose data synth -o DIR --video {self.seconds:g} --fps {self.fps:g} --seed {self.seed} "
            f"--persons {self.persons} --size {self.size_wh[0]}x{self.size_wh[1]} --style {self.style}"
        )


def film(request: ClipRequest) -> Iterator[Scene]:
    """The frames with their labels; a person has one id in all of them.

    Raises:
        ConfigError: The request cannot be filmed.
    """
    check_clip(request)
    rng = np.random.default_rng((request.seed, 2))
    camera = _sample_camera(rng, request.size_wh)
    movers = sample_movers(rng, camera, request)
    start = [mover.at(0.0) for mover in movers]
    rules = replace(STYLES[request.style], hidden_share=0.0)
    stage: Stage = sample_stage(rng, rules, camera, start)
    for frame in range(request.frames):
        yield stage.render([mover.at(frame / request.fps) for mover in movers], rng)


def check_clip(request: ClipRequest) -> None:
    """Refuses what cannot be filmed.

    Raises:
        ConfigError: A clip without frames, too long, or of an odd size.
    """
    check_scene(request.size_wh, request.persons)
    if any(side % 2 for side in request.size_wh):
        raise ConfigError(
            f"A clip needs an even width and height, found {request.size_wh[0]}x{request.size_wh[1]}.",
            "MPEG-4 halves the colour planes; choose a size such as 640x480.",
        )
    if not 0 < request.seconds <= _LONGEST_S or not 0 < request.fps <= 240 or request.frames < 1:
        raise ConfigError(
            f"A clip lasts up to {_LONGEST_S:.0f} s at up to 240 frames a second and has at least one frame, "
            f"found {request.seconds:g} s at {request.fps:g}."
        )


def sample_movers(rng: np.random.Generator, camera: Camera, request: ClipRequest) -> list[Mover]:
    """Draws persons: the first two cross each other in the middle of the clip, the others stay in place."""
    movers = []
    for index in range(request.persons):
        looks = Looks(sample_build(rng, children=False), sample_outfit(rng))
        ahead = camera.focal_px * looks.build.height_m / (rng.uniform(0.5, 0.62) * request.size_wh[1])
        half = 0.42 * ahead * request.size_wh[0] / camera.focal_px
        if index < 2:
            sides = (-half, half) if index == 0 else (half, -half)
            way = [ground_place(camera, side, ahead + 0.9 * index) for side in sides]
            movers.append(_walker(rng, looks, way, request.seconds))
            continue
        aside = half * float(rng.uniform(-0.8, 0.8))
        kind = IN_PLACE[(index - 2) % len(IN_PLACE)]
        heading = -camera.yaw_degrees + float(rng.uniform(-30, 30))
        place = ground_place(camera, aside, 1.25 * ahead)
        movers.append(Mover(looks, kind, place, np.zeros(3), heading, float(rng.random())))
    return movers


def _walker(rng: np.random.Generator, looks: Looks, way: Sequence[Vector], seconds: float) -> Mover:
    """A person who walks from one side to the other at an easy pace, and on."""
    start, stop = way
    length = float(np.linalg.norm(stop - start))
    direction, speed = (stop - start) / length, min(length / seconds, 1.6)
    # Both are in the middle half-way through the clip.
    begin = (start + stop) / 2 - direction * speed * seconds / 2
    heading = float(np.degrees(np.arctan2(direction[0], direction[2])))
    return Mover(looks, "walking", begin, direction * speed, heading, float(rng.random()))


def _sample_camera(rng: np.random.Generator, size_wh: tuple[int, int]) -> Camera:
    focal = size_wh[1] / 2 / np.tan(np.radians(rng.uniform(38, 50) / 2))
    height = float(rng.uniform(1.1, 1.6))
    yaw, pitch = float(rng.uniform(-180, 180)), float(rng.uniform(4, 8))
    return Camera(size_wh, float(focal), np.array([0, height, 0]), yaw, pitch)


def write_clip(folder: Path, request: ClipRequest) -> SyntheticClip:
    """Writes ``clip.mp4`` and ``clip.json``; both appear whole or not at all.

    Raises:
        ConfigError: The request cannot be filmed, the folder holds a clip or cannot be written.
        MissingDependencyError: This OpenCV cannot write MPEG-4 video.
    """
    check_clip(request)
    video, labels = folder / CLIP_NAME, folder / LABELS_NAME
    for path in (video, labels):
        if path.exists():
            raise ConfigError(f"{path} exists already.", "Choose a new folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # FFmpeg opens by name and follows links: in a folder of mode 0700 no other user can lay one.
        with TemporaryDirectory(prefix=f".{CLIP_NAME}.", dir=folder) as work:
            temporary = Path(work) / CLIP_NAME
            temporary.touch(PRIVATE, exist_ok=False)
            frames = _write_video(temporary, request)
            if not temporary.stat().st_size:
                raise ConfigError(f"Cannot write {video}: the encoder wrote nothing; the disk may be full.")
            record = SyntheticClip(
                video=CLIP_NAME, fps=request.fps, width_px=request.size_wh[0], height_px=request.size_wh[1],
                seed=request.seed, command=request.command, frames=tuple(frames),
            )  # fmt: skip
            write_whole(labels, [to_json(record).encode()])
            temporary.replace(video)
    except OSError as problem:
        raise ConfigError(f"Cannot write {folder}: {problem.strerror}.") from problem
    return record


def _write_video(path: Path, request: ClipRequest) -> list[ClipFrame]:
    codec = cv2.VideoWriter.fourcc(*_CODEC)
    writer = cv2.VideoWriter(os.fspath(path), cv2.CAP_FFMPEG, codec, request.fps, request.size_wh)
    try:
        if not writer.isOpened():
            raise MissingDependencyError(
                f"This OpenCV cannot write MPEG-4 video ({_CODEC}).",
                "Run: pip install opencv-python-headless",
            )
        frames = []
        for number, scene in enumerate(film(request)):
            writer.write(cv2.cvtColor(scene.image, cv2.COLOR_RGB2BGR))
            frames.append(_frame_record(number, scene))
            request.progress(number + 1, request.frames)
        return frames
    finally:
        writer.release()


def _frame_record(number: int, scene: Scene) -> ClipFrame:
    persons = []
    for index, person_id in enumerate(scene.person_ids.tolist()):
        x0, y0, x1, y1 = scene.boxes_xyxy_px[index].tolist()
        area_px2 = float(scene.areas_px2[index])
        points = np.column_stack([scene.keypoints_px[index], scene.visibility[index]])
        persons.append(
            ClipPerson(
                person_id=person_id,
                activity=scene.activities[index],
                box_xyxy_px=(x0, y0, x1, y1) if area_px2 > 0 else None,
                area_px2=area_px2,
                keypoints=tuple((round(x, 2), round(y, 2), int(v)) for x, y, v in points.tolist()),
            )
        )
    return ClipFrame(frame=number, persons=tuple(persons))
