"""The skeleton tables: a wrong index here swaps left and right in everything."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgepose.errors import ConfigError
from edgepose.pose.skeletons import (
    BLAZEPOSE33,
    COCO17,
    MPII16,
    SKELETONS,
    Skeleton,
    shared_keypoints,
    skeleton_named,
)

# The "skeleton" entry of COCO's person_keypoints_val2017.json, 1-based as published.
COCO_EDGES = json.loads(
    "[[16,14],[14,12],[17,15],[15,13],[12,13],[6,12],[7,13],[6,7],[6,8],[7,9],[8,10],[9,11],[2,3],[1,2],"
    "[1,3],[2,4],[3,5],[4,6],[5,7]]"
)


def mirrored(name: str) -> str:
    if name.startswith("left_"):
        return name.replace("left_", "right_", 1)
    return name.replace("right_", "left_", 1) if name.startswith("right_") else name


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)
def test_mirroring_swaps_left_and_right_names_and_twice_is_nothing(skeleton: Skeleton) -> None:
    order = skeleton.flip_permutation
    names = np.array(skeleton.keypoint_names)
    assert names[order].tolist() == [mirrored(name) for name in skeleton.keypoint_names]
    np.testing.assert_array_equal(order[order], np.arange(skeleton.keypoint_count))


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)
def test_edges_are_the_same_after_mirroring_and_never_double(skeleton: Skeleton) -> None:
    edges = [frozenset(edge) for edge in skeleton.edges]
    order = skeleton.flip_permutation
    flipped = {frozenset((int(order[a]), int(order[b]))) for a, b in skeleton.edges}
    assert len(set(edges)) == len(edges)
    # COCO draws nose-left_eye, nose-right_eye; BlazePose the like: the drawing itself is symmetric.
    assert flipped == set(edges)


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)
def test_mirrored_keypoints_have_equal_sigmas(skeleton: Skeleton) -> None:
    np.testing.assert_array_equal(skeleton.sigmas[skeleton.flip_permutation], skeleton.sigmas)


def test_coco_edges_are_the_published_ones() -> None:
    assert [[a + 1, b + 1] for a, b in COCO17.edges] == COCO_EDGES


def test_coco_sigmas_are_pycocotools_own() -> None:
    from pycocotools.cocoeval import Params

    np.testing.assert_allclose(COCO17.sigmas, Params("keypoints").kpt_oks_sigmas, atol=1e-12)


@pytest.mark.parametrize(
    ("source", "count"), [(BLAZEPOSE33, 17), (MPII16, 12), (COCO17, 17)], ids=lambda value: str(value)[:30]
)
def test_shared_keypoints_pair_equal_names(source: Skeleton, count: int) -> None:
    pairs = shared_keypoints(source, COCO17)
    assert len(pairs) == count
    assert [source.keypoint_names[s] for s, _ in pairs] == [COCO17.keypoint_names[t] for _, t in pairs]


def test_skeletons_without_a_common_name_share_nothing() -> None:
    other = Skeleton("other", ("tail",), (), (), (0.1,))
    assert shared_keypoints(other, COCO17).shape == (0, 2)


def test_an_unknown_skeleton_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="coco17, mpii16, blazepose33"):
        skeleton_named("coco18")


NAMES = ("left_eye", "right_eye", "nose")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"keypoint_names": ()}, "no keypoint"),
        ({"keypoint_names": ("nose", "nose", "eye")}, "a name twice"),
        ({"oks_sigmas": (0.1, 0.1)}, "a sigma missing"),
        ({"oks_sigmas": (0.1, 0.1, 0.0)}, "a sigma of zero divides by zero"),
        ({"oks_sigmas": (0.1, 0.1, float("nan"))}, "a sigma that is no number"),
        ({"edges": ((0, 3),)}, "an edge out of range, as 1-based lists have"),
        ({"flip_pairs": ((-1, 0),)}, "a negative index"),
        ({"flip_pairs": ((0, 1), (1, 2))}, "a keypoint in two pairs: mirroring twice would not restore"),
        ({"flip_pairs": ((1, 1),)}, "a keypoint paired with itself"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_skeleton_is_refused(change: dict[str, tuple[object, ...]], reason: str) -> None:
    fields = {
        "keypoint_names": NAMES,
        "edges": ((0, 2),),
        "flip_pairs": ((0, 1),),
        "oks_sigmas": (0.1, 0.1, 0.1),
    }
    Skeleton(name="ok", **fields)  # type: ignore[arg-type]
    with pytest.raises(ConfigError):
        Skeleton(name=reason, **{**fields, **change})  # type: ignore[arg-type]


def test_an_unknown_keypoint_name_is_refused() -> None:
    assert COCO17.indices_of(["left_hip", "nose"]) == [11, 0]
    with pytest.raises(ConfigError, match="tail"):
        COCO17.indices_of(["nose", "tail"])
