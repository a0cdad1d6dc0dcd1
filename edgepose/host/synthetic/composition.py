"""Composes an image: which persons are there, what they do, where the camera stands."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgepose.errors import ConfigError
from edgepose.host.synthetic.camera import Camera
from edgepose.host.synthetic.canvas import Light
from edgepose.host.synthetic.figure import Figure, Looks, stand
from edgepose.host.synthetic.repertoire import sample_activity, sample_posture
from edgepose.host.synthetic.skeleton import Vector, sample_build
from edgepose.host.synthetic.stage import Scene, Stage
from edgepose.host.synthetic.style import STYLES, Style, StyleName, sample_exposure, sample_outfit
from edgepose.host.synthetic.surfaces import Solid
from edgepose.host.synthetic.surroundings import (
    ground_place,
    sample_surroundings,
    sample_things,
    thing_in_front,
)

SMALLEST_SIDE_PX = 32
# Free share of the image on each side where no person is to be cut.
_MARGIN = 0.012
_FIT_STEPS, _PLACE_TRIES = 80, 12
# A person may be hidden by nearer ones up to this share of the box.
_MOST_HIDDEN = 0.55


def draw_scene(seed: int, size_wh: tuple[int, int], persons: int = 1, style: StyleName = "clear") -> Scene:
    """Draws persons who do not exist; the same arguments give the same bytes.

    Args:
        seed: Chooses everything: postures, clothes, light, camera, surroundings.
        size_wh: In pixels, each at least 32.
        persons: Their number.
        style: ``clear``: all whole, apart from each other, in good light, no acrobatics. ``varied``:
            everything that cameras see.
    """
    check_scene(size_wh, persons)
    rng = np.random.default_rng(seed)
    rules = STYLES[style]
    camera, figures = _placed(rng, rules, size_wh, [sample_figure(rng, rules) for _ in range(persons)])
    stage = sample_stage(rng, rules, camera, figures)
    return stage.render(figures, rng)


def check_scene(size_wh: tuple[int, int], persons: int) -> None:
    """Refuses what cannot be drawn.

    Raises:
        ConfigError: A size is too small or ``persons`` is below 0.
    """
    if min(size_wh) < SMALLEST_SIDE_PX or persons < 0:
        raise ConfigError(
            f"A scene needs sides of at least {SMALLEST_SIDE_PX} px and 0 or more persons; "
            f"found {size_wh[0]}x{size_wh[1]} px and {persons} persons."
        )


def sample_figure(rng: np.random.Generator, style: Style) -> Figure:
    """Draws a person at the origin."""
    looks = Looks(sample_build(rng, children=style.children), sample_outfit(rng))
    activity = sample_activity(rng, style.acrobatic_share, lying=style.lying)
    return stand(looks, sample_posture(rng, activity), _sample_heading(rng), activity)


def sample_stage(rng: np.random.Generator, style: Style, camera: Camera, figures: list[Figure]) -> Stage:
    """Draws everything but camera and persons."""
    ahead = [float(camera.to_camera(figure.keypoints_m)[:, 2].max()) for figure in figures]
    behind = max(ahead, default=4.0) + 0.4
    surroundings = sample_surroundings(rng, behind)
    things: list[Solid] = sample_things(rng, camera, behind, outdoors=surroundings.outdoors)
    for figure in figures:
        if rng.random() < style.hidden_share:
            things += thing_in_front(rng, camera, figure)
    lamp = _sample_lamp(rng, camera, outdoors=surroundings.outdoors)
    return Stage(camera, surroundings, tuple(things), lamp, sample_exposure(rng, style, camera.size_wh[1]))


def _sample_heading(rng: np.random.Generator) -> float:
    """Mostly towards the camera, sometimes aside or away."""
    side = rng.choice([-1.0, 1.0])
    kind = rng.random()
    if kind < 0.62:
        return float(rng.uniform(-45, 45))
    return float(side * rng.uniform(45, 100) if kind < 0.84 else 180 + rng.uniform(-60, 60))


def _sample_lamp(rng: np.random.Generator, camera: Camera, *, outdoors: bool) -> Light:
    """Light from above and mostly from the photographer's side."""
    azimuth = np.radians(camera.yaw_degrees + rng.normal(0, 55))
    height = np.radians(rng.uniform(28, 68))
    towards = np.array([np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height)])
    direct = float(
        rng.choice([rng.uniform(0.2, 0.4), rng.uniform(0.45, 0.7)]) if outdoors else rng.uniform(0.25, 0.55)
    )
    return Light(towards, 1.05 - 0.85 * direct, direct)


def _sample_camera(rng: np.random.Generator, style: Style, size_wh: tuple[int, int]) -> Camera:
    """A camera that looks level; where it looks up or down is decided by what it is to see."""
    focal = size_wh[1] / 2 / np.tan(np.radians(rng.uniform(30, 58) / 2))
    height, roll = float(rng.uniform(0.9, 1.6)), 0.0
    if style.camera:
        kind = rng.random()
        lowest, highest = (2.0, 3.4) if kind < 0.15 else (0.3, 0.8) if kind < 0.25 else (0.9, 1.8)
        height = float(rng.uniform(lowest, highest))
        roll = float(np.clip(rng.normal(0, 4), -15, 15))
    yaw = float(rng.uniform(-180, 180))
    return Camera(size_wh, float(focal), np.array([0.0, height, 0.0]), yaw, 0.0, roll)


def _placed(
    rng: np.random.Generator, style: Style, size_wh: tuple[int, int], figures: list[Figure]
) -> tuple[Camera, list[Figure]]:
    """Puts persons before a camera so that enough of each is to be seen."""
    camera, placed = _place_once(rng, style, size_wh, figures)
    for _ in range(_PLACE_TRIES):
        if style.apart or _all_seen(camera, placed):
            return camera, placed
        camera, placed = _place_once(rng, style, size_wh, figures)
    return _place_once(rng, replace(style, apart=True, cut_share=0.0), size_wh, figures)


def _place_once(
    rng: np.random.Generator, style: Style, size_wh: tuple[int, int], figures: list[Figure]
) -> tuple[Camera, list[Figure]]:
    camera, count = _sample_camera(rng, style, size_wh), len(figures)
    if not figures:
        return replace(camera, pitch_degrees=float(rng.uniform(-3, 12))), []
    cut = rng.random() < style.cut_share
    tall = rng.uniform(*((1.0, 1.8) if cut else (0.6, 0.92) if style.apart else (0.34, 0.92)))
    sizes = np.array([max(f.extent()[1][1] - f.extent()[0][1], 0.45 * f.height_m) for f in figures])
    ahead = camera.focal_px * sizes / (tall * size_wh[1])
    if count > 1:
        ahead = ahead.max() * rng.uniform(0.9, 1.15 if style.apart else 1.7, count)
    if style.apart:
        slots = (rng.permutation(count) + rng.uniform(0.3, 0.7, count)) / count
    else:
        slots = rng.uniform(0.12, 0.88, count)
    columns = slots * size_wh[0] - camera.centre_px[0]
    middle = np.mean([(f.extent()[0][1] + f.extent()[1][1]) / 2 for f in figures])
    aim = middle + (rng.uniform(0.0, 0.35) * sizes.mean() if cut else 0.0)
    pitch = np.degrees(np.arctan2(camera.position[1] - aim, ahead.mean())) + float(rng.normal(0, 2))
    camera = replace(camera, pitch_degrees=float(np.clip(pitch, -35, 55)))
    if cut:
        return camera, _at(camera, figures, (ahead, columns))
    return _fitted(rng, camera, figures, (ahead, columns))


def _at(camera: Camera, figures: list[Figure], where: tuple[Vector, Vector]) -> list[Figure]:
    """Persons so far ahead, metres, and so far right of the middle, pixels."""
    placed = []
    for figure, ahead, column in zip(figures, *where, strict=True):
        low, high = figure.extent()
        centre = (low + high) / 2 * (1, 0, 1)
        placed.append(figure.at(ground_place(camera, ahead * column / camera.focal_px, ahead) - centre))
    return placed


def _fitted(
    rng: np.random.Generator, camera: Camera, figures: list[Figure], where: tuple[Vector, Vector]
) -> tuple[Camera, list[Figure]]:
    """Steps back and turns the camera until all are wholly in the image."""
    ahead, columns = where
    size = np.array(camera.size_wh)
    low, high = _MARGIN * size, (1 - _MARGIN) * size - 1
    wanted = float(rng.uniform(0.46, 0.56)) * size[1]
    for _ in range(_FIT_STEPS):
        placed = _at(camera, figures, (ahead, columns))
        extents = np.array([figure.extent_px(camera) for figure in placed])
        inside = (extents[:, 0] >= low).all(axis=1) & (extents[:, 1] <= high).all(axis=1)
        if inside.all():
            break
        if np.isfinite(extents).all():
            columns = columns + np.maximum(low[0] - extents[:, 0, 0], 0)
            columns -= np.maximum(extents[:, 1, 0] - high[0], 0)
            middle = (extents[:, 0, 1].min() + extents[:, 1, 1].max()) / 2
            pitch = camera.pitch_degrees + np.degrees(np.arctan2(middle - wanted, camera.focal_px))
            camera = replace(camera, pitch_degrees=float(np.clip(pitch, -50, 70)))
        ahead = ahead * np.where(inside, 1.02, 1.05)
    return camera, placed


def _all_seen(camera: Camera, figures: list[Figure]) -> bool:
    """Whether nearer persons and the border leave enough of each person, by their boxes."""
    width, height = camera.size_wh
    boxes = np.array([np.concatenate(figure.extent_px(camera)) for figure in figures]).reshape(-1, 4)
    if not np.isfinite(boxes).all():
        return False
    cut = np.clip(boxes, 0, [width - 1, height - 1, width - 1, height - 1])
    area, left = _areas(boxes), _areas(cut)
    ahead = np.array([camera.to_camera(figure.keypoints_m)[:, 2].mean() for figure in figures])
    for person, box in enumerate(cut):
        nearer = cut[ahead < ahead[person]]
        low, high = np.maximum(nearer[:, :2], box[:2]), np.minimum(nearer[:, 2:], box[2:])
        hidden = _areas(np.hstack([low, np.maximum(high, low)])).sum()
        if left[person] < 0.45 * area[person] or hidden > _MOST_HIDDEN * left[person]:
            return False
    return True


def _areas(boxes: Vector) -> Vector:
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
