"""The same picture is found again however it was saved; other pictures are not."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgepose.host.data.audit.near_copies import (
    COPY_CORRELATION,
    HASH_BITS,
    ImageFacts,
    NearPair,
    grouped,
    hash_distances,
    measure_image,
    pairs_between,
    pairs_within,
    perceptual_hash,
)
from edgepose.host.synthetic.composition import draw_scene
from tests.support.planted_data import Picture, resaved

PICTURES = 12


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    return [draw_scene(seed, (256, 192)).image for seed in range(PICTURES)]


def facts(folder: Path, pictures: list[Picture], suffix: str = ".png") -> list[ImageFacts]:
    folder.mkdir()
    found = []
    for index, picture in enumerate(pictures):
        path = folder / f"{index}{suffix}"
        cv2.imwrite(str(path), picture[..., ::-1])
        found.append(measure_image(path, str(path)))
    return found


@pytest.mark.parametrize("how", ["half", "jpeg30", "bright", "dark", "crop5", "mixed"])
def test_resaved_copies_are_found_and_only_they(tmp_path: Path, pictures: list[Picture], how: str) -> None:
    rng = np.random.default_rng(0)
    mine = facts(tmp_path / "mine", [resaved(picture, how, rng) for picture in pictures])
    pairs = list(pairs_between(mine, facts(tmp_path / "other", pictures)))
    assert all(pair.first == pair.second for pair in pairs)
    # Halved, cut, relit and compressed at once, a dark and plain picture may look like another one.
    assert len({pair.first for pair in pairs}) >= PICTURES - (how == "mixed")
    assert min(pair.correlation for pair in pairs) >= COPY_CORRELATION


@pytest.mark.parametrize(("how", "same"), [("half", True), ("jpeg30", True), ("crop5", False)])
def test_the_same_picture_is_told_from_a_cut_one(
    tmp_path: Path, pictures: list[Picture], how: str, same: bool
) -> None:
    copies = facts(tmp_path / "copies", [resaved(pictures[0], how, np.random.default_rng(0))])
    (pair,) = pairs_between(copies, facts(tmp_path / "other", pictures[:1]))
    assert pair.same_picture == same


def test_different_pictures_are_no_pair(tmp_path: Path, pictures: list[Picture]) -> None:
    assert list(pairs_within(facts(tmp_path / "all", pictures))) == []


def test_flat_pictures_are_no_copies_of_each_other(tmp_path: Path) -> None:
    flat = facts(tmp_path / "flat", [np.full((60, 80, 3), level, np.uint8) for level in (0, 90, 255)])
    assert all(picture.is_flat for picture in flat)
    assert list(pairs_within(flat)) == []


def test_pairs_join_into_groups() -> None:
    pairs = [NearPair(first, second, 1.0, 0, True) for first, second in ((3, 4), (0, 4), (1, 5))]
    assert grouped(6, pairs) == [[0, 3, 4], [1, 5], [2]]
    assert grouped(2, []) == [[0], [1]]


def test_hash_distance_counts_bits(pictures: list[Picture]) -> None:
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 1 << HASH_BITS, 50, dtype=np.uint64)
    expected = [(int(codes[0]) ^ int(code)).bit_count() for code in codes]
    assert hash_distances(codes[0], codes).tolist() == expected
    assert all(
        perceptual_hash(first[..., 1]) != perceptual_hash(second[..., 1])
        for first, second in pairwise(pictures)
    )
