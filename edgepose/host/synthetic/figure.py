"""A person in the world: rounded cones of skin, cloth and hair around a pose, standing on the ground."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from edgepose.host.synthetic.camera import Camera
from edgepose.host.synthetic.repertoire import ACTIVITIES
from edgepose.host.synthetic.skeleton import INDEX, BodyPose, Build, Matrix, Vector, body_pose, rotation
from edgepose.host.synthetic.style import Hair, Outfit
from edgepose.host.synthetic.surfaces import Box, Color, Pattern, RoundedCone

_Point = tuple[float, float, float]
# A head's part in the head's frame and at its size: two ends, their radii, a colour's name, the stretch.
_Part = tuple[_Point, _Point, tuple[float, float], str, _Point]
_ROUND, _NARROW = (1, 1, 1), (0.94, 1, 1)


def _both_sides(*parts: _Part) -> tuple[_Part, ...]:
    """Parts of the left half, then the same of the right one."""
    return tuple(
        ((sign * first[0], *first[1:]), (sign * second[0], *second[1:]), radii, color, stretch)
        for sign in (1, -1)
        for first, second, radii, color, stretch in parts
    )


def _curls() -> tuple[_Part, ...]:
    turns = np.radians(np.arange(0, 360, 40))
    places = [(0.038 * float(np.sin(turn)), 0.034 * float(np.cos(turn)) - 0.012) for turn in turns]
    return tuple(((x, 0.142, z), (1.1 * x, 0.13, 1.1 * z), (0.026, 0.024), "hair", _ROUND) for x, z in places)


# fmt: off
_SKULL: tuple[_Part, ...] = (
    ((0, -0.045, -0.012), (0, 0.06, -0.004), (0.034, 0.03), "skin", _ROUND),
    ((0, 0.074, 0.013), (0, 0.118, 0), (0.0345, 0.0495), "skin", _NARROW),
    ((0, 0.118, -0.012), (0, 0.112, 0.004), (0.052, 0.048), "skin", _NARROW),
    ((0, 0.05, 0.03), (0, 0.056, 0.026), (0.0135, 0.02), "skin", _ROUND),
    *_both_sides(((0.047, 0.103, -0.001), (0.0455, 0.089, 0.002), (0.0115, 0.0085), "skin", (0.6, 1, 1))),
    # Nose and mouth.
    ((0, 0.1, 0.0475), (0, 0.086, 0.0555), (0.0045, 0.0078), "skin", _ROUND),
    ((-0.0035, 0.0795, 0.0545), (0.0035, 0.0795, 0.0545), (0.0036, 0.0036), "shade", _ROUND),
    ((-0.0125, 0.0655, 0.0445), (0.0125, 0.0655, 0.0445), (0.0046, 0.0046), "lips", _ROUND),
)
_EYE: tuple[_Part, ...] = (
    ((0.018, 0.1065, 0.0372), (0.018, 0.1065, 0.0372), (0.0115, 0.0115), "shade", (1.1, 0.75, 1)),
    ((0.018, 0.1065, 0.0393), (0.018, 0.1065, 0.0393), (0.0095, 0.0095), "white", (1.1, 0.65, 1)),
    ((0.018, 0.1068, 0.0443), (0.018, 0.1068, 0.0443), (0.0058, 0.0058), "iris", _ROUND),
    ((0.009, 0.1205, 0.0442), (0.0275, 0.121, 0.0405), (0.0038, 0.0028), "hair", _ROUND),
)
_GLASSES: tuple[_Part, ...] = (
    ((0.0085, 0.1135, 0.051), (0.0285, 0.1135, 0.047), (0.0018, 0.0018), "rim", _ROUND),
    ((0.0285, 0.1135, 0.047), (0.048, 0.11, 0.006), (0.0018, 0.0018), "rim", _ROUND),
)
_SHORT: tuple[_Part, ...] = (
    ((0, 0.128, -0.014), (0, 0.128, -0.004), (0.053, 0.0515), "hair", (0.99, 0.92, 1)),
    ((0, 0.112, -0.023), (0, 0.075, -0.026), (0.052, 0.037), "hair", _ROUND),
    ((-0.02, 0.152, 0.032), (0.024, 0.15, 0.03), (0.017, 0.014), "hair", _ROUND),
)
_HAIR: dict[Hair, tuple[_Part, ...]] = {
    "bald": (),
    "cap": (
        ((0, 0.128, -0.006), (0, 0.133, -0.004), (0.053, 0.05), "hat", (1, 0.85, 1.02)),
        ((0, 0.134, 0.03), (0, 0.129, 0.072), (0.03, 0.027), "hat", (1, 0.2, 1)),
        ((0, 0.11, -0.022), (0, 0.075, -0.026), (0.0525, 0.038), "hair", _ROUND),
    ),
    "short": _SHORT,
    "long": (
        *_SHORT,
        ((0, 0.115, -0.022), (0, 0.0, -0.045), (0.054, 0.042), "hair", (1, 1, 0.75)),
        *_both_sides(((0.042, 0.12, -0.01), (0.046, 0.03, -0.012), (0.018, 0.016), "hair", _ROUND)),
    ),
    "bun": (*_SHORT, ((0, 0.16, -0.05), (0, 0.164, -0.052), (0.026, 0.026), "hair", _ROUND)),
    "curly": (*_SHORT, *_curls()),
}
# fmt: on


def _head(pose: BodyPose, outfit: Outfit) -> list[RoundedCone]:
    """Neck, skull, face and hair."""
    red, green, blue = outfit.skin
    colors: dict[str, Color] = {
        "skin": outfit.skin,
        "shade": (0.82 * red, 0.74 * green, 0.7 * blue),
        "lips": (0.74 * red, 0.5 * green, 0.5 * blue),
        "hair": outfit.hair,
        "hat": outfit.hat,
        "white": (236, 234, 230),
        "iris": (38, 28, 24),
        "rim": (20, 20, 22),
    }
    eyes = _both_sides(*_EYE, *_GLASSES) if outfit.glasses else _both_sides(*_EYE)
    size = float(np.linalg.norm(pose.head[:, 1]))
    frame = pose.head / size
    cones = []
    for first, second, radii, color, stretch in (*_SKULL, *eyes, *_HAIR[outfit.hair_style]):
        ends: Vector = pose.neck + np.array([first, second]) @ pose.head.T
        cones.append(RoundedCone(ends, (size * radii[0], size * radii[1]), colors[color], frame, stretch))
    return cones


_SOLE: Color = (205, 205, 200)


def _body(pose: BodyPose, build: Build, outfit: Outfit) -> list[RoundedCone]:
    """The whole figure, units of body height, the pose's space."""
    parts = [*_head(pose, outfit), *_torso(pose, build, outfit)]
    for side in range(2):
        parts += [*_arm(pose, build, outfit, side), *_leg(pose, build, outfit, side)]
        parts += _foot(pose, outfit, side)
    if outfit.legwear == "skirt":
        parts += _skirt(pose, build, outfit)
    return parts


def _limb(
    start: Vector, end: Vector, radii: tuple[float, float], color: Color, pattern: Pattern | None = None
) -> RoundedCone:
    return RoundedCone(np.stack([start, end]), radii, color, pattern=pattern)


def _torso(pose: BodyPose, build: Build, outfit: Outfit) -> Iterator[RoundedCone]:
    girth, chest, pelvis = build.girth, pose.chest, pose.pelvis
    wide, hips = build.shoulder_half / 0.112, build.hip_half / 0.076
    shirt, pattern = outfit.shirt, outfit.shirt_pattern
    upper = pose.neck + np.array([[0, -0.075, 0.004], [0, -0.17, 0.006]]) @ chest.T
    yield RoundedCone(upper, (0.104 * wide, 0.09 * girth), shirt, chest, (1, 0.55, 0.66), pattern)
    low = np.stack([upper[1], 0.055 * pelvis[:, 1]])
    yield RoundedCone(low, (0.09 * girth, 0.09 * girth), shirt, chest, (1, 0.6, 0.7), pattern)
    seat = np.array([[0, 0.045, 0], [0, -0.005, -0.008]]) @ pelvis.T
    radii, cloth = (0.088 * girth, 0.098 * hips * girth), outfit.trousers
    yield RoundedCone(seat, radii, cloth, pelvis, (1, 0.6, 0.74), outfit.trousers_pattern)
    for side, sign in enumerate((1, -1)):
        shoulder = pose.keypoints[5 + side]
        root = pose.neck + np.array([sign * 0.028, 0.004, -0.012]) @ chest.T
        yield _limb(root, shoulder, (0.032, 0.039), shirt)
    if outfit.jacket_lining is not None:
        low, high = chest @ [0, -0.2, 0.048 * girth], chest @ [0, -0.03, 0.038]
        front = np.stack([pose.neck + high, pose.neck + low])
        yield RoundedCone(front, (0.03, 0.02), outfit.jacket_lining, chest, (1, 1, 0.75))


def _arm(pose: BodyPose, build: Build, outfit: Outfit, side: int) -> Iterator[RoundedCone]:
    skin, shirt, girth = outfit.skin, outfit.shirt, 0.5 + 0.5 * build.girth
    shoulder, elbow, wrist = pose.keypoints[[5 + side, 7 + side, 9 + side]]
    belly = elbow + 0.3 * (wrist - elbow)
    yield _limb(shoulder, elbow, (0.035 * girth, 0.025), skin)
    yield _limb(elbow, belly, (0.025, 0.0265 * girth), skin)
    yield _limb(belly, wrist, (0.0265 * girth, 0.0165), skin)
    yield from _hand(pose, skin, side)
    # A sleeve covers that share of the whole arm, shoulder to wrist.
    if outfit.sleeve >= 1:
        yield _limb(shoulder, elbow, (0.041 * girth, 0.032), shirt, outfit.shirt_pattern)
        yield _limb(elbow, elbow + 0.95 * (wrist - elbow), (0.032, 0.0245), shirt, outfit.shirt_pattern)
    elif outfit.sleeve > 0:
        hem = shoulder + 2 * outfit.sleeve * (elbow - shoulder)
        yield _limb(shoulder, hem, (0.041 * girth, 0.038), shirt)


def _hand(pose: BodyPose, skin: Color, side: int) -> Iterator[RoundedCone]:
    wrist, tip, frame = pose.keypoints[9 + side], pose.hands[side], pose.forearms[side]
    inward = -1.0 if side == 0 else 1.0
    palm = wrist + 0.5 * (tip - wrist)
    flat = (0.6, 1.0, 1.1)
    yield RoundedCone(np.stack([wrist, palm]), (0.016, 0.0215), skin, frame, flat)
    yield RoundedCone(np.stack([palm, tip - 0.1 * (tip - wrist)]), (0.0205, 0.011), skin, frame, flat)
    thumb = palm + frame @ np.array([0.004 * inward, 0.004, 0.026])
    yield _limb(wrist + 0.2 * (tip - wrist), thumb, (0.01, 0.0075), skin)


def _leg(pose: BodyPose, build: Build, outfit: Outfit, side: int) -> Iterator[RoundedCone]:
    skin, cloth, girth = outfit.skin, outfit.trousers, build.girth
    hip, knee, ankle = pose.keypoints[[11 + side, 13 + side, 15 + side]]
    hip = 0.86 * hip
    calf = knee + 0.28 * (ankle - knee)
    calf_back = calf - 0.008 * pose.thighs[side][:, 2]
    yield _limb(hip, knee, (0.056 * girth, 0.036), skin)
    yield _limb(knee, calf_back, (0.034, 0.0365 * girth), skin)
    yield _limb(calf_back, ankle, (0.0365 * girth, 0.0215), skin)
    yield _limb(knee, ankle, (0.034, 0.021), skin)
    if outfit.legwear == "skirt":
        return
    if outfit.leg >= 1:
        pattern = outfit.trousers_pattern
        yield _limb(hip, knee, (0.066 * girth, 0.045), cloth, pattern)
        yield _limb(knee, calf_back, (0.0455, 0.044 * girth), cloth, pattern)
        yield _limb(calf_back, knee + 0.95 * (ankle - knee), (0.044 * girth, 0.035), cloth, pattern)
    else:
        yield _limb(hip, hip + 2 * outfit.leg * (knee - hip), (0.066 * girth, 0.055), cloth)


def _foot(pose: BodyPose, outfit: Outfit, side: int) -> Iterator[RoundedCone]:
    ankle, frame, shoe = pose.keypoints[15 + side], pose.feet[side], outfit.shoes
    heel, upper, sole = (
        ankle + np.array(points) @ frame.T
        for points in (
            ((0, 0.01, 0), (0, -0.014, -0.006)),
            ((0, -0.018, -0.02), (0, -0.023, 0.078)),
            ((0, -0.034, -0.022), (0, -0.034, 0.08)),
        )
    )
    yield RoundedCone(heel, (0.025, 0.027), shoe)
    yield RoundedCone(upper, (0.0245, 0.0205), shoe, frame, (1, 0.85, 1))
    yield RoundedCone(sole, (0.0245, 0.022), _SOLE, frame, (1, 0.3, 1.05))


def _skirt(pose: BodyPose, build: Build, outfit: Outfit) -> list[RoundedCone]:
    """A cone from the waist to between the thighs, one around each thigh under it."""
    cloth, girth, pattern = outfit.trousers, build.girth, outfit.trousers_pattern
    hips, knees = 0.6 * pose.keypoints[11:13], pose.keypoints[13:15]
    hems = hips + 2 * outfit.leg * (knees - hips)
    middle = np.asarray(hems.mean(axis=0))
    parts = [_limb(*ends, (0.08 * girth, 0.078), cloth, pattern) for ends in zip(hips, hems, strict=True)]
    waist_to_hem = np.stack([0.03 * pose.pelvis[:, 1], 0.9 * middle])
    frame = _along(pose.pelvis, middle)
    around = RoundedCone(waist_to_hem, (0.085 * girth, 0.115), cloth, frame, (1, 0.5, 0.75), pattern)
    return [*parts, around]


def _along(pelvis: Matrix, downwards: Vector) -> Matrix:
    """A frame whose y axis runs against a direction, as much like the pelvis' as can be."""
    up = -downwards / max(float(np.linalg.norm(downwards)), 1e-9)
    right = pelvis[:, 0] - (pelvis[:, 0] @ up) * up
    right /= max(float(np.linalg.norm(right)), 1e-9)
    return np.stack([right, up, np.cross(right, up)], axis=1)


@dataclass(frozen=True)
class Looks:
    """What stays the same about a person: body and clothes."""

    build: Build
    outfit: Outfit


@dataclass(frozen=True)
class Figure:
    """A person in the world: ``keypoints_m`` (17, 3) in COCO order, ``activity`` a key of ``ACTIVITIES``."""

    cones: tuple[RoundedCone, ...]
    keypoints_m: Vector
    seat: tuple[Box, ...]
    height_m: float
    activity: str

    def at(self, place_m: Vector) -> Figure:
        """Moved by (3,)."""
        still = np.eye(3)
        return replace(
            self,
            cones=tuple(replace(cone, ends=cone.ends + place_m) for cone in self.cones),
            keypoints_m=self.keypoints_m + place_m,
            seat=tuple(box.moved(still, place_m) for box in self.seat),
        )

    def extent(self) -> tuple[Vector, Vector]:
        """Lowest and highest corner, each (3,), metres."""
        ends, reach = self._balls()
        return (ends - reach[..., None]).min(axis=(0, 1)), (ends + reach[..., None]).max(axis=(0, 1))

    def extent_px(self, camera: Camera) -> tuple[Vector, Vector]:
        """Lowest and highest corner in the image, each (2,); infinite where it is not all ahead."""
        ends, reach = self._balls()
        ahead = camera.to_camera(ends)[..., 2] - reach
        if ahead.min() < 0.2:
            return np.full(2, -np.inf), np.full(2, np.inf)
        points, radius = camera.project(ends), (camera.focal_px * reach / ahead)[..., None]
        return (points - radius).min(axis=(0, 1)), (points + radius).max(axis=(0, 1))

    def _balls(self) -> tuple[Vector, Vector]:
        ends = np.stack([cone.ends for cone in self.cones])
        # Flattened parts are counted by their thinner half: the image's edge is no place for millimetres.
        reach = np.array([[radius * max(cone.stretch) for radius in cone.radii] for cone in self.cones])
        return ends, reach


def stand(looks: Looks, posture: Vector, heading_degrees: float, activity: str) -> Figure:
    """A person at the origin, its lowest point on the ground or lifted above it.

    Args:
        looks: Body and clothes.
        posture: (27,), degrees, in the order of ``skeleton.NAMES``.
        heading_degrees: Where it looks: 0 along z, towards a camera that is not turned.
        activity: Key of ``ACTIVITIES``.
    """
    build = looks.build
    pose = body_pose(posture, build, heading_degrees)
    parts = _body(pose, build, looks.outfit)
    lowest = min(_lowest(cone) for cone in parts)
    shift = np.array([0.0, build.height_m * (float(posture[INDEX["lift"]]) - lowest), 0.0])
    still = np.eye(3)
    seat: tuple[Box, ...] = ()
    if ACTIVITIES[activity].support == "seat":
        seat = _seat(shift[1] - 0.055 * build.height_m, build.height_m, heading_degrees)
    return Figure(
        cones=tuple(cone.moved(still, shift, build.height_m) for cone in parts),
        keypoints_m=build.height_m * pose.keypoints + shift,
        seat=seat,
        height_m=build.height_m,
        activity=activity,
    )


def _lowest(cone: RoundedCone) -> float:
    # How far a ball of radius 1 reaches down once it is flattened.
    thick = 1.0 if cone.frame is None else float(np.linalg.norm(cone.frame[1] * np.asarray(cone.stretch)))
    return float((cone.ends[:, 1] - np.asarray(cone.radii) * thick).min())


def _seat(top_m: float, height_m: float, heading_degrees: float) -> tuple[Box, ...]:
    """A chair or a stool under hips at the origin; its colour follows from its size."""
    if top_m < 0.1:
        return ()
    frame = rotation(1, heading_degrees)
    tone = 60 + 120 * ((1000 * height_m) % 1)
    color = (tone, 0.85 * tone, 0.68 * tone)
    half, back = 0.13 * height_m, -0.05 * height_m

    def box(x: float, y: float, z: float, half_sizes: tuple[float, float, float]) -> Box:
        return Box(frame @ np.array([x, y, z]), frame, half_sizes, color)

    parts = [box(0, top_m - 0.03, back, (half, 0.03, half))]
    leg = (0.02, top_m / 2 - 0.03, 0.02)
    sides = (-0.85 * half, 0.85 * half)
    parts += [box(x, top_m / 2 - 0.03, back + z, leg) for x in sides for z in sides]
    if int(10 * tone) % 2:
        parts.append(box(0, top_m + 0.24 * height_m, back - half - 0.03, (half, 0.1 * height_m, 0.02)))
    return tuple(parts)
