"""Specs of models: the documented example, and every way to get one wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepose.errors import ConfigError, ModelError
from edgepose.pose.skeletons import COCO17
from edgepose.records.model_spec import (
    HeatmapCodecSpec,
    InputSpec,
    ModelSpec,
    SimccCodecSpec,
    SkeletonRecord,
    YoloxCodecSpec,
    find_spec,
    known_spec_for,
    read_spec,
    shipped_spec_paths,
    spec_from_json,
    spec_to_json,
)
from edgepose.records.record import from_builtins, parse_toml

# The example of the documentation.
EXAMPLE = """
name = "tinypose"
version = "256x192"
skeleton = "coco17"             # or an inline [skeleton] table: keypoint_names, edges, flip_pairs, oks_sigmas
paradigm = "top_down"           # top_down | one_stage | single_person | detector
licence = "Apache-2.0"
source = "PaddleDetection PP-TinyPose"
min_pose_score = 0.2            # optional
[input]
name = "image"                  # optional where the model has one input
width_px = 192
height_px = 256
layout = "NCHW"                 # NCHW | NHWC
color_order = "RGB"             # RGB | BGR
resize = "crop"                 # crop (person box) | letterbox | stretch
anchor = "center"               # letterbox: center (default) | top_left
pad_value = 0                   # 0..255, default 0
box_scale = 1.25                # crop only, default 1.25
mean = [123.675, 116.28, 103.53]  # on 0..255, default 0; then divided by std, default 1
std = [58.395, 57.12, 57.375]
[codec]
kind = "heatmap"                # heatmap | simcc | movenet | yolo_pose | ... | yolox
output = "heatmaps"             # or outputs = ["simcc_x", "simcc_y"]
subpixel = "dark"               # none | quarter | dark
"""


def example() -> dict[str, Any]:
    return parse_toml(EXAMPLE, "example")


def changed(path: str, value: object) -> dict[str, Any]:
    """The example with one field set, by its dotted path; None removes it."""
    data = example()
    *parents, last = path.split(".")
    table = data
    for parent in parents:
        table = table[parent]
    if value is None:
        del table[last]
    else:
        table[last] = value
    return data


def test_the_documented_example_is_read(tmp_path: Path) -> None:
    file = tmp_path / "spec.toml"
    file.write_text(EXAMPLE)
    spec = read_spec(file)
    assert spec.input == InputSpec(
        name="image",
        width_px=192,
        height_px=256,
        layout="NCHW",
        color_order="RGB",
        resize="crop",
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375),
    )
    assert spec.codec == HeatmapCodecSpec(output="heatmaps", subpixel="dark")
    assert spec.pose_skeleton is COCO17
    assert spec.uses_person_boxes


@pytest.mark.parametrize(
    ("field", "where"),
    [("licences", "`licences`"), ("input.widht_px", "$.input"), ("codec.sub_pixel", "$.codec")],
)
def test_an_unknown_key_is_refused_with_its_path(field: str, where: str) -> None:
    with pytest.raises(ConfigError, match="unknown field") as refused:
        from_builtins(changed(field, 1), ModelSpec, "spec.toml")
    assert where in refused.value.message
    assert "spec.toml" in refused.value.message


def test_an_unknown_key_of_an_inline_skeleton_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown field.*\$\.skeleton"):
        from_builtins(changed("skeleton", {"sigmas": []}), ModelSpec, "spec.toml")


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("name", None, "missing"),
        ("input.layout", None, "missing in a section"),
        ("codec.kind", None, "a codec without kind"),
        ("skeleton", None, "a pose model without skeleton"),
        ("skeleton", "coco18", "an unknown skeleton"),
        ("input.width_px", 0, "no width"),
        ("input.width_px", 192.0, "a size that is no integer"),
        ("input.width_px", "192", "a number as text: strict"),
        ("input.height_px", 10**30, "beyond 64 bits"),
        ("input.layout", "nchw", "letters matter"),
        ("input.pad_value", 256, "above a byte"),
        ("input.mean", 0, "one number instead of three"),
        ("input.mean", [0, 0], "two numbers"),
        ("input.mean", [0, 0, float("nan")], "nan would reach every pixel"),
        ("input.std", [1, 1, 0], "division by zero"),
        ("input.std", [1, 1, -1], "negative"),
        ("input.std", [1, 1, float("nan")], "nan passes a plain comparison"),
        ("input.std", [1, 1, float("inf")], "infinity makes every pixel 0"),
        ("input.box_scale", 0, "an empty crop"),
        ("input.box_scale", float("nan"), "nan"),
        ("min_pose_score", 1.5, "above 1"),
        ("min_pose_score", True, "a boolean is no number"),
        ("min_pose_score", float("nan"), "nan"),
        ("codec.kind", "heatmaps", "an unknown kind"),
        ("codec.subpixel", "udp", "an unknown refinement"),
        ("paradigm", "bottom_up", "an unknown paradigm"),
    ],
)
def test_a_wrong_value_is_refused(field: str, value: object, reason: str) -> None:
    with pytest.raises(ConfigError) as refused:
        from_builtins(changed(field, value), ModelSpec, "spec.toml")
    assert refused.value.message, reason


YOLO = {"kind": "yolo_pose"}
YOLOX = {"kind": "yolox"}
HEATMAP = {"kind": "heatmap"}


@pytest.mark.parametrize(
    ("paradigm", "resize", "codec", "fits"),
    [
        ("top_down", "crop", HEATMAP, True),
        ("top_down", "letterbox", HEATMAP, False),
        ("top_down", "crop", YOLO, False),
        ("top_down", "crop", YOLOX, False),
        ("one_stage", "letterbox", YOLO, True),
        ("one_stage", "stretch", YOLO, True),
        ("one_stage", "crop", YOLO, False),
        ("one_stage", "letterbox", HEATMAP, False),
        ("single_person", "crop", {"kind": "movenet"}, True),
        ("single_person", "letterbox", HEATMAP, True),
        ("single_person", "letterbox", YOLO, False),
        ("detector", "letterbox", YOLOX, True),
        ("detector", "crop", YOLOX, False),
        ("detector", "letterbox", HEATMAP, False),
    ],
)
def test_paradigm_resize_and_codec_must_fit(
    paradigm: str, resize: str, codec: dict[str, str], *, fits: bool
) -> None:
    data = example() | {"paradigm": paradigm, "codec": codec}
    data["input"]["resize"] = resize
    if fits:
        assert from_builtins(data, ModelSpec, "spec").paradigm == paradigm
    else:
        with pytest.raises(ConfigError):
            from_builtins(data, ModelSpec, "spec")


@pytest.mark.parametrize("class_ids", [[], [-1]], ids=["no class", "-1 would read the objectness"])
def test_a_detector_without_a_real_class_is_refused(class_ids: list[int]) -> None:
    data = changed("paradigm", "detector") | {"codec": {"kind": "yolox", "class_ids": class_ids}}
    data["input"]["resize"] = "letterbox"
    with pytest.raises(ConfigError, match="class_ids"):
        from_builtins(data, ModelSpec, "spec")


INLINE = {
    "keypoint_names": ["left_hand", "right_hand"],
    "edges": [[0, 1]],
    "flip_pairs": [[0, 1]],
    "oks_sigmas": [0.06, 0.06],
}


def test_an_inline_skeleton_is_read() -> None:
    skeleton = from_builtins(changed("skeleton", INLINE), ModelSpec, "spec").pose_skeleton
    assert skeleton.keypoint_names == ("left_hand", "right_hand")
    assert skeleton.flip_permutation.tolist() == [1, 0]


@pytest.mark.parametrize(
    "change",
    [
        {"oks_sigmas": [0.06]},
        {"oks_sigmas": [0.06, float("nan")]},
        {"edges": [[0, 2]]},
        {"flip_pairs": [[1, 1]]},
    ],
)
def test_a_wrong_inline_skeleton_is_refused_when_the_spec_is_read(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="Skeleton 'custom'"):
        from_builtins(changed("skeleton", INLINE | change), ModelSpec, "spec")


text = st.text(max_size=12)
number = st.floats(-1e6, 1e6)
positive = st.floats(1e-6, 1e6)
inputs = st.builds(
    InputSpec,
    width_px=st.integers(1, 8192),
    height_px=st.integers(1, 8192),
    layout=st.sampled_from(["NCHW", "NHWC"]),
    color_order=st.sampled_from(["RGB", "BGR"]),
    resize=st.just("crop"),
    name=st.none() | text,
    anchor=st.sampled_from(["center", "top_left"]),
    pad_value=st.integers(0, 255),
    box_scale=st.floats(0.1, 10),
    mean=st.tuples(number, number, number),
    std=st.tuples(positive, positive, positive),
)
codecs = st.builds(
    HeatmapCodecSpec, output=st.none() | text, subpixel=st.sampled_from(["none", "quarter", "dark"])
) | st.builds(SimccCodecSpec, outputs=st.none() | st.tuples(text, text), split_ratio=st.floats(0.5, 8))
skeletons = st.sampled_from(["coco17", "mpii16", "blazepose33"]) | st.builds(
    SkeletonRecord,
    keypoint_names=st.just(("a", "b")),
    edges=st.just(((0, 1),)),
    flip_pairs=st.just(()),
    oks_sigmas=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)),
    name=text,
)
specs = st.builds(
    ModelSpec,
    name=text,
    version=text,
    paradigm=st.sampled_from(["top_down", "single_person"]),
    licence=text,
    source=text,
    input=inputs,
    codec=codecs,
    skeleton=skeletons,
    min_pose_score=st.floats(0, 1),
)


@settings(max_examples=100, deadline=None)
@given(spec=specs)
def test_a_spec_comes_back_from_json_as_it_was(spec: ModelSpec) -> None:
    assert spec_from_json(spec_to_json(spec), "a model") == spec


@pytest.mark.parametrize(
    "damaged",
    ["", "{", "[]", "null", '{"name": 1}', "[" * 100_000, '{"a":' + "9" * 5000 + "}"],
    ids=["empty", "cut", "a list", "null", "wrong type", "nested without end", "a number without end"],
)
def test_a_damaged_embedded_spec_is_a_model_error(damaged: str) -> None:
    with pytest.raises(ModelError, match=r"The spec inside pose\.onnx"):
        spec_from_json(damaged, "pose.onnx")


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"\xff\xfe", "UTF-8"), (b"a = ", "TOML"), (None, "No such file")],
    ids=["not text", "not TOML", "missing"],
)
def test_a_spec_file_that_cannot_be_read_is_a_config_error(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    file = tmp_path / "spec.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=reason):
        read_spec(file)


@pytest.mark.parametrize("name", shipped_spec_paths())
def test_every_ready_spec_is_read_by_its_name(name: str) -> None:
    spec = find_spec(Path(name))
    assert spec.paradigm == "detector" or spec.pose_skeleton.keypoint_count >= 16


def test_a_folder_of_the_same_name_does_not_hide_a_ready_spec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "yolox_nano").mkdir()
    assert isinstance(find_spec(Path("yolox_nano")).codec, YoloxCodecSpec)


def test_an_unknown_ready_spec_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="tinypose_256x192"):
        find_spec(Path("tinypose"))


def test_only_known_bytes_are_taken_for_a_known_detector() -> None:
    assert known_spec_for("0" * 64) is None
