"""Drawn figures: the same seed gives the same bytes, and the labels are true."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from edgepose.errors import ConfigError
from edgepose.host.data.coco import read_coco
from edgepose.host.data.figure_pose import FOREARM, SHANK, THIGH, UPPER_ARM, sample_pose
from edgepose.host.data.figure_scene import draw_scene
from edgepose.host.data.figures import write_figure_set
from edgepose.host.data.scene import Scene
from edgepose.inference.image_file import read_image_rgb
from edgepose.inference.open_model import open_detector, open_pipeline
from edgepose.pose.boxes import iou_matrix
from edgepose.spec.packaged_data import packaged_folder
from edgepose.trust.digests import sha256_of_file

SIZE_WH = (160, 120)


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("persons", [0, 1, 3])
def test_same_seed_gives_the_same_scene(persons: int) -> None:
    first, again = (draw_scene(5, SIZE_WH, persons) for _ in range(2))
    assert first.image.tobytes() == again.image.tobytes()
    np.testing.assert_array_equal(first.keypoints_px, again.keypoints_px)
    assert first.image.shape == (120, 160, 3)
    assert first.persons == persons


def test_other_seed_gives_another_scene() -> None:
    first, other = draw_scene(5, SIZE_WH), draw_scene(6, SIZE_WH)
    assert first.image.tobytes() != other.image.tobytes()
    assert np.abs(first.keypoints_px - other.keypoints_px).max() > 2


@pytest.mark.parametrize("seed", range(8))
def test_keypoints_lie_in_their_box_and_the_box_in_the_picture(seed: int) -> None:
    scene = draw_scene(seed, SIZE_WH, persons=2)
    low, high = scene.boxes_xyxy_px[:, None, :2], scene.boxes_xyxy_px[:, None, 2:]
    assert (scene.keypoints_px > low - 0.5).all()
    assert (scene.keypoints_px < high + 0.5).all()
    assert (low >= 0).all()
    assert (high <= SIZE_WH).all()
    sides = (high - low)[:, 0]
    assert (scene.areas_px2 < sides.prod(axis=1)).all()
    assert (scene.areas_px2 > 0.1 * sides.prod(axis=1)).all()


def test_a_figure_in_front_hides_keypoints_of_the_one_behind() -> None:
    """Five figures in a narrow picture overlap; alone, a figure hides only what it hides itself."""
    crowded = np.mean([draw_scene(seed, SIZE_WH, persons=5).visible.mean() for seed in range(6)])
    alone = np.mean([draw_scene(seed, SIZE_WH).visible.mean() for seed in range(6)])
    assert crowded < alone < 1


def test_limbs_have_human_lengths_in_every_pose() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        points = sample_pose(rng).keypoints
        for side in range(2):
            chain = points[[5 + side, 7 + side, 9 + side]], points[[11 + side, 13 + side, 15 + side]]
            lengths = [np.linalg.norm(np.diff(part, axis=0), axis=1) for part in chain]
            np.testing.assert_allclose(lengths, [[UPPER_ARM, FOREARM], [THIGH, SHANK]])


@pytest.mark.parametrize(("size_wh", "persons"), [((31, 100), 1), ((100, 31), 1), ((100, 100), -1)])
def test_a_scene_that_cannot_be_drawn_is_refused(size_wh: tuple[int, int], persons: int) -> None:
    with pytest.raises(ConfigError, match="at least 32 px"):
        draw_scene(0, size_wh, persons)


def test_set_is_the_same_for_the_same_seed_and_another_for_another(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 90)):
        write_figure_set(tmp_path / name, count=2, seed=seed, size_wh=SIZE_WH)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    pictures = [{data for name, data in files_of(tmp_path / f).items() if "images" in name} for f in "ac"]
    assert pictures[0].isdisjoint(pictures[1])


def test_pycocotools_reads_the_labels_of_a_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_figure_set(tmp_path / "set", count=4, seed=0, size_wh=SIZE_WH)
    labels = COCO(str(tmp_path / "set" / "person_keypoints.json"))
    assert "index created" in capsys.readouterr().out
    truth = [
        draw_scene(0, SIZE_WH),
        draw_scene(1, SIZE_WH),
        draw_scene(2, SIZE_WH),
        draw_scene(3, SIZE_WH, 2),
    ]
    for image_id, scene in zip(labels.getImgIds(), truth, strict=True):
        persons = labels.loadAnns(labels.getAnnIds(imgIds=[image_id]))
        assert len(persons) == scene.persons
        for row, person in enumerate(persons):
            rows = np.array(person["keypoints"]).reshape(17, 3)
            np.testing.assert_allclose(rows[:, :2], scene.keypoints_px[row], atol=0.006)
            np.testing.assert_array_equal(rows[:, 2] == 2, scene.visible[row])
            assert person["num_keypoints"] == np.count_nonzero(rows[:, 2])


def test_a_folder_with_pictures_is_left_alone(tmp_path: Path) -> None:
    write_figure_set(tmp_path, count=1, seed=0, size_wh=SIZE_WH)
    before = files_of(tmp_path)
    with pytest.raises(ConfigError, match="not empty"):
        write_figure_set(tmp_path, count=1, seed=1, size_wh=SIZE_WH)
    assert files_of(tmp_path) == before


def test_shipped_set_is_what_its_manifest_says_and_what_the_generator_draws() -> None:
    folder = packaged_folder("calibration_data") / "figures"
    files = json.loads((folder / "manifest.json").read_text())["files"]
    assert {entry["file"] for entry in files} == {f"images/{p.name}" for p in (folder / "images").iterdir()}
    assert sum((folder / entry["file"]).stat().st_size for entry in files) < 1_000_000
    for entry in files:
        assert sha256_of_file(folder / entry["file"]) == entry["sha256"]
        assert entry["licence"] == "Apache-2.0"
        assert "not a person" in entry["consent"]
    dataset = read_coco(folder / "person_keypoints.json", folder / "images")
    # JPEG encoders differ between OpenCV versions, so the picture is compared, not its bytes.
    for number in (0, 7):
        scene = draw_scene(number, (320, 240), persons=2 if number % 4 == 3 else 1)
        labelled = dataset.images[number]
        found = np.stack([person.keypoints_px for person in labelled.persons])
        np.testing.assert_allclose(found, scene.keypoints_px, atol=0.02)
        difference = np.abs(read_image_rgb(labelled.path).astype(int) - scene.image)
        assert difference.mean() < 6


@pytest.mark.shared_data
@pytest.mark.slow
def test_real_models_find_the_figures(shared_data: Path) -> None:
    specs = packaged_folder("model_specs")
    models = shared_data / "models"
    pose = open_pipeline(models / "tinypose_256x192.onnx", specs / "tinypose_256x192.toml")
    detector = open_detector(models / "yolox_nano.onnx", specs / "yolox_nano.toml")
    close, overlaps, scores = [], [], []
    for seed in range(500, 520):
        scene = draw_scene(seed, (320, 240))
        found = pose.estimate(scene.image, scene.boxes_xyxy_px.astype(np.float64))
        close.append(_limbs_within_a_fifth_of_the_torso(scene, found.keypoints_px[0]))
        scores.append(float(found.keypoint_scores.mean()))
        boxes, _ = detector.detect(scene.image)
        overlaps.append(iou_matrix(scene.boxes_xyxy_px, boxes).max(initial=0.0))
    # Measured: 0.984 on 100 figures, 0.946 on these 20, where left and right of one back view are swapped.
    assert np.concatenate(close).mean() > 0.9
    assert np.mean(scores) > 0.75
    assert np.mean(np.array(overlaps) > 0.7) > 0.9


def _limbs_within_a_fifth_of_the_torso(scene: Scene, found_px: np.ndarray) -> np.ndarray:
    truth = scene.keypoints_px[0]
    torso_px = np.linalg.norm(truth[5:7].mean(axis=0) - truth[11:13].mean(axis=0))
    limbs = np.arange(17) >= 5
    counted = limbs & scene.visible[0]
    return np.linalg.norm(found_px - truth, axis=1)[counted] < 0.2 * torso_px
