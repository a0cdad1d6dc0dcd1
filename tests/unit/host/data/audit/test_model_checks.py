"""Preprocessing against the oracle, stability of ranges, and a teacher's opinion."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from edgepose.errors import ConfigError
from edgepose.host.data.audit.audited_person import AuditedPerson, labelled_persons
from edgepose.host.data.audit.label_teacher import ask_teacher
from edgepose.host.data.audit.model_findings import check_parity, expected_levels, range_stability
from edgepose.host.data.calibration_set import CropSample
from edgepose.host.data.coco import read_coco
from edgepose.host.synthetic.composition import draw_scene
from edgepose.records.model_spec import InputSpec
from edgepose.runtime.backend import TensorInfo
from edgepose.runtime.open_model import open_backend
from edgepose.runtime.preprocess import Preprocessor, expected_shape
from tests.support.planted_data import swapped
from tests.support.tiny_networks import tiny_spec, write_tiny_onnx

# The aspect of the tiny network's input, so that no border is added.
PORTRAIT = (64, 48, 3)
EVERY_PART = ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")


def device_levels(spec: InputSpec, box: tuple[float, ...] | None) -> NDArray[np.float32]:
    image = draw_scene(2, (200, 150)).image
    info = TensorInfo("image", expected_shape(spec), np.dtype(np.float32))
    tensor = np.zeros(info.shape, np.float32)
    preprocessor = Preprocessor(spec, info)
    preprocessor.write(image, preprocessor.transform_for(image, box), tensor)
    levels = tensor[0].transpose(1, 2, 0) if spec.layout == "NCHW" else tensor[0]
    return np.asarray(levels)


def specs() -> list[InputSpec]:
    return [
        InputSpec(width_px=72, height_px=96, layout="NCHW", color_order="RGB", resize="crop"),
        InputSpec(width_px=72, height_px=96, layout="NHWC", color_order="BGR", resize="crop", pad_value=114),
        InputSpec(
            width_px=128, height_px=96, layout="NCHW", color_order="BGR", resize="letterbox", pad_value=114
        ),
        InputSpec(
            width_px=128,
            height_px=96,
            layout="NHWC",
            color_order="RGB",
            resize="letterbox",
            anchor="top_left",
        ),
        InputSpec(width_px=300, height_px=96, layout="NHWC", color_order="RGB", resize="stretch"),
    ]


@pytest.mark.parametrize("spec", specs())
def test_device_and_oracle_agree_and_half_a_pixel_does_not(spec: InputSpec) -> None:
    image = draw_scene(2, (200, 150)).image
    box = np.array([40.0, 20.0, 110.0, 140.0])
    actual = device_levels(spec, tuple(box) if spec.resize == "crop" else None)
    right = np.abs(actual - expected_levels(image, spec, box)).mean()
    shifted = np.roll(image, 1, axis=1)
    wrong = np.abs(actual - expected_levels(shifted, spec, box)).mean()
    assert right < 0.5
    assert wrong > 2 * right
    assert wrong > 1


def _samples(folder: Path, pictures: list[NDArray[np.uint8]]) -> list[CropSample]:
    folder.mkdir(exist_ok=True)
    samples = []
    for index, picture in enumerate(pictures):
        path = folder / f"{index}.png"
        cv2.imwrite(str(path), picture)
        samples.append(CropSample(path, str(index), None))
    return samples


def test_normalisation_for_the_wrong_unit_is_noticed(tmp_path: Path) -> None:
    model, spec = write_tiny_onnx(tmp_path / "tiny.onnx"), tiny_spec("NCHW").input
    backend = open_backend(model)
    samples = _samples(tmp_path / "pictures", [draw_scene(seed, (80, 60)).image for seed in range(3)])
    good = check_parity(backend, spec, samples, "0" * 64)
    assert good.agrees
    assert good.normalisation_as_expected
    assert good.samples == 3
    unit = msgspec.structs.replace(spec, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    assert not check_parity(backend, unit, samples, "0" * 64).normalisation_as_expected


def test_even_pictures_have_stable_ranges_and_one_odd_picture_does_not(tmp_path: Path) -> None:
    model, spec = write_tiny_onnx(tmp_path / "tiny.onnx"), tiny_spec("NCHW").input
    backend = open_backend(model)
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, PORTRAIT, dtype=np.uint8) for _ in range(20)]
    even = range_stability(model, backend, spec, _samples(tmp_path / "even", noise), seed=0)
    grey = [np.full(PORTRAIT, 127, np.uint8) for _ in range(19)]
    odd = range_stability(model, backend, spec, _samples(tmp_path / "odd", [*grey, noise[0]]), seed=0)
    assert even is not None
    assert odd is not None
    assert (even.crops_each, even.tensors) == (10, 3)
    assert even.worst_ratio < 1.3
    assert odd.worst_ratio > 1.5
    assert odd.worst[0].ratio == odd.worst_ratio
    assert range_stability(model, backend, spec, _samples(tmp_path / "one", noise[:1]), seed=0) is None


@pytest.fixture(scope="module")
def marker_persons(marker_set: Path) -> list[AuditedPerson]:
    return labelled_persons(read_coco(marker_set / "person_keypoints.json", marker_set / "images"))


def test_teacher_agrees_with_true_labels_and_names_swapped_and_shifted_ones(
    marker_persons: list[AuditedPerson], marker_set: Path, marker_onnx: Path, marker_spec: Path
) -> None:
    paths = {path.name: path for path in (marker_set / "images").iterdir()}
    clean = ask_teacher(marker_persons, paths, marker_onnx, marker_spec)
    assert clean.agreement.persons == len(marker_persons) == 24
    assert clean.agreement.mean_oks is not None
    assert clean.agreement.mean_oks > 0.9
    assert clean.errors == ()
    planted = [
        swapped(person, EVERY_PART)
        if index < 6
        else replace(person, keypoints_px=person.keypoints_px + 40)
        if index < 12
        else person
        for index, person in enumerate(marker_persons)
    ]
    errors = ask_teacher(planted, paths, marker_onnx, marker_spec).errors
    swaps = {error.file for error in errors if error.kind == "left_right_swapped"}
    shifts = {error.file for error in errors if error.kind == "teacher_disagrees"}
    assert swaps == {person.file for person in marker_persons[:6]}
    assert shifts == {person.file for person in marker_persons[6:12]}


def test_teacher_of_another_body_is_refused(
    marker_persons: list[AuditedPerson], marker_set: Path, marker_onnx: Path, marker_spec: Path
) -> None:
    paths = {path.name: path for path in (marker_set / "images").iterdir()}
    dogs = [replace(person, names=tuple(f"paw_{index}" for index in range(17))) for person in marker_persons]
    with pytest.raises(ConfigError, match="knows none of the labelled keypoints"):
        ask_teacher(dogs, paths, marker_onnx, marker_spec)
