"""Formats by content, metadata without a framework, and damaged files that end in a model error."""

from __future__ import annotations

import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgepose.errors import ConfigError, ModelError
from edgepose.records.model_spec import ModelSpec, find_spec, spec_to_json
from edgepose.runtime.model_file import detect_format, load_spec, read_metadata
from tests.support.tiny_models import write_onnx, write_tflite

ENTRIES = {"edgepose": '{"ä": "—"}', "other": "", "long": "x" * 3000}
Write = Callable[..., Path]


def write_keras(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for member in ("metadata.json", "config.json", "model.weights.h5"):
            archive.writestr(member, b"{}")
    return path


def write_hdf5(path: Path) -> Path:
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
    return path


def write_saved_model(path: Path) -> Path:
    path.mkdir()
    (path / "saved_model.pb").write_bytes(b"\x08\x01")
    return path


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (write_onnx, "onnx"),
        (write_tflite, "tflite"),
        (write_keras, "keras"),
        (write_hdf5, "keras_h5"),
        (write_saved_model, "saved_model"),
    ],
)
def test_a_format_is_told_by_content_under_a_misleading_name(
    tmp_path: Path, write: Write, expected: str
) -> None:
    path = write(tmp_path / ("model.onnx" if expected == "tflite" else "model.tflite"))
    assert detect_format(path) == expected


def zip_of(member: str) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(member, b"content")

    return write


@pytest.mark.parametrize(
    ("write", "message"),
    [
        pytest.param(lambda _path: None, "Cannot read", id="missing"),
        pytest.param(lambda path: path.write_bytes(b""), "is empty", id="empty"),
        pytest.param(lambda path: path.mkdir(), "without saved_model.pb", id="a folder"),
        pytest.param(lambda path: path.write_text('{"a": 1}'), "no model", id="JSON"),
        pytest.param(lambda path: path.write_bytes(b"\xff\xd8\xff\xe0JFIF" * 9), "no model", id="a JPEG"),
        pytest.param(lambda path: path.write_bytes(bytes(1000)), "no model", id="zeros"),
        pytest.param(lambda path: path.write_bytes(b"\x08\x09"), "no model", id="ONNX without a graph"),
        pytest.param(zip_of("archive/data.pkl"), "no Keras model", id="a PyTorch checkpoint is a zip too"),
        pytest.param(
            lambda path: path.write_bytes(b"PK\x03\x04 cut"), "truncated or damaged", id="a zip cut off"
        ),
    ],
)
def test_what_is_no_model_is_refused_in_plain_words(
    tmp_path: Path, write: Callable[[Path], object], message: str
) -> None:
    path = tmp_path / "model"
    write(path)
    with pytest.raises(ModelError, match=message):
        detect_format(path)


def test_onnx_metadata_equal_those_that_the_onnx_package_reads(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "m", metadata=ENTRIES)
    published = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert read_metadata(path) == published == ENTRIES


def test_tflite_metadata_equal_those_that_the_schema_reads(tmp_path: Path) -> None:
    path = write_tflite(tmp_path / "m", metadata=ENTRIES | {"binary": b"\xff\xfe"})
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes()))
    published = {
        entry.name.decode(): bytes(
            model.buffers[entry.buffer].data if len(ENTRIES[entry.name.decode()]) else b""
        )
        for entry in model.metadata
        if entry.name != b"binary"
    }
    found = read_metadata(path)
    assert "binary" not in found, "what is no text is another tool's"
    assert {name: text.encode() for name, text in found.items()} | {"other": b""} == published


@pytest.mark.parametrize("write", [write_onnx, write_tflite])
def test_a_model_without_metadata_has_none(tmp_path: Path, write: Write) -> None:
    assert read_metadata(write(tmp_path / "m")) == {}


# A protobuf that ends exactly between two fields is a whole message: then the metadata may be missing.
@pytest.mark.parametrize(("write", "may_be_empty"), [(write_onnx, True), (write_tflite, False)])
def test_a_file_cut_anywhere_is_refused_or_still_says_the_same(
    tmp_path: Path, write: Write, *, may_be_empty: bool
) -> None:
    path = write(tmp_path / "m", metadata={"edgepose": "the spec"})
    whole = path.read_bytes()
    refused = 0
    for end in range(0, len(whole), max(len(whole) // 200, 1)):
        path.write_bytes(whole[:end])
        try:
            found = read_metadata(path)
            assert found == {"edgepose": "the spec"} or (may_be_empty and not found)
        except ModelError:
            refused += 1
    assert refused > 20


@pytest.mark.parametrize("write", [write_onnx, write_tflite])
def test_a_file_with_wrong_bytes_never_ends_in_another_exception(tmp_path: Path, write: Write) -> None:
    path = write(tmp_path / "m", metadata={"edgepose": "the spec", "other": "text"})
    whole = path.read_bytes()
    choose = random.Random(0)  # noqa: S311 (repeatable damage, no secret)
    refused = 0
    for _ in range(500):
        damaged = bytearray(whole)
        for _ in range(choose.choice((1, 1, 4))):
            damaged[choose.randrange(len(damaged))] = choose.randrange(256)
        path.write_bytes(damaged)
        try:
            read_metadata(path)
        except ModelError:
            refused += 1
    assert refused > 20, "the damage was not seen at all"


@pytest.mark.parametrize(
    "entry",
    [b"\x0a\xff", b"\x0a\x02\xff\xfe", b"\x0b", b"\x0a" + b"\x80" * 12],
    ids=["past the end", "not UTF-8", "a group", "a varint without end"],
)
def test_damage_inside_an_onnx_metadata_entry_is_a_model_error(tmp_path: Path, entry: bytes) -> None:
    path = write_onnx(tmp_path / "m")
    path.write_bytes(path.read_bytes() + b"\x72" + bytes([len(entry)]) + entry)
    with pytest.raises(ModelError, match="metadata"):
        read_metadata(path)


@pytest.fixture
def spec() -> ModelSpec:
    return find_spec(Path("tinypose_128x96"))


@pytest.mark.parametrize("write", [write_onnx, write_tflite])
def test_the_spec_inside_the_file_wins_over_the_one_given(
    tmp_path: Path, write: Write, spec: ModelSpec
) -> None:
    path = write(tmp_path / "m", metadata={"edgepose": spec_to_json(spec)})
    assert load_spec(path, Path("yolox_nano")) == spec


def test_without_a_spec_inside_the_given_one_is_used_and_without_any_it_is_refused(
    tmp_path: Path, spec: ModelSpec
) -> None:
    path = write_onnx(tmp_path / "m")
    assert load_spec(path, Path("tinypose_128x96")) == spec
    with pytest.raises(ConfigError, match="carries no spec"):
        load_spec(path)


def test_a_damaged_spec_inside_is_refused_even_when_another_is_given(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "m", metadata={"edgepose": "{}"})
    with pytest.raises(ModelError, match="The spec inside m"):
        load_spec(path, Path("tinypose_128x96"))


@pytest.mark.shared_data
def test_a_well_known_detector_needs_no_spec(shared_data: Path) -> None:
    assert load_spec(shared_data / "models" / "yolox_nano.onnx").paradigm == "detector"
