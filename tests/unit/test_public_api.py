"""The door: names and signatures that users may rely on, instant to import, its examples true."""

from __future__ import annotations

import doctest
import inspect
import json
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import edgepose
from edgepose.api import estimation, jobs
from edgepose.device.output.pose_sink import pose_record
from edgepose.device.run import estimator_choice
from edgepose.errors import ConfigError, MissingDependencyError
from edgepose.pose.poses import Poses
from edgepose.pose.skeletons import COCO17
from edgepose.sandbox.python_child import run_python, run_words
from tests.conftest import PROJECT
from tests.support.constant_models import write_top_down
from tests.support.pictures import write_video
from tests.support.waiting import PATIENCE_S

FIGURES = PROJECT / "calibration_data" / "figures"
PEAKS = np.stack([np.arange(17) % 8 + 4, np.arange(17) // 2 + 3], axis=1)
# A change here is a change for users: it needs a decision record, and a line in the changelog.
SIGNATURES = {
    "open": "(model='edgepose-s_int8', *, spec=None, detector=None, detector_spec=None, threads=None)",
    "run": "(source, model=None, *, max_frames=None, detect_every=None, smoothing=None)",
    "evaluate": "(model, annotations, images, *, spec=None, baseline=None, detector=None, "
    "detector_spec=None, slices=False, profile=None, threads=None)",
    "quantize": "(model, output, *, profile, calibration=None, spec=None, recipe=None, precision=None, "
    "seed=0)",
    "deploy": "(profile, root, *, model=None, spec=None, detector=None, calibration=None, annotations=None, "
    "images=None, precision=None, dry_run=False)",
}
MEMBERS = {
    "Model": {"skeleton"},
    "Result": {"index", "timestamp_ns", "dropped_before", "latency_ms", "image", "poses"},
    "Poses": {
        *("keypoints_px", "keypoint_scores", "scores", "skeleton", "boxes_xyxy_px", "track_ids"),
        *("names", "keypoint", "to_dict", "to_supervision", "select", "empty"),
    },
}
EXAMPLES = [item for module in (estimation, jobs) for item in doctest.DocTestFinder().find(module)]
HEAVY = {"numpy", "cv2", "onnxruntime", "ai_edge_litert", "msgspec", "click", "tensorflow", "onnx"}


def _bare(function: Any) -> str:
    signature = inspect.signature(function)
    bare = [
        parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()
    ]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))


@pytest.fixture(scope="module", name="image")
def _image() -> NDArray[np.uint8]:
    bgr = cv2.imread(str(min((FIGURES / "images").iterdir())))
    return np.asarray(bgr[..., ::-1], np.uint8)


@pytest.fixture(name="clip")
def _clip(tmp_path: Path) -> Path:
    return write_video(tmp_path / "clip.mp4", frames=6, size_wh=(640, 480))


def test_the_names_are_these_and_no_more() -> None:
    assert sorted([*SIGNATURES, *MEMBERS, "EdgeposeError", "__version__"]) == sorted(edgepose.__all__)
    assert dir(edgepose) == sorted(edgepose.__all__)
    with pytest.raises(AttributeError, match="no attribute 'gone'"):
        _ = edgepose.gone


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_signature_is_the_promised_one(name: str) -> None:
    assert _bare(getattr(edgepose, name)) == SIGNATURES[name]


@pytest.mark.parametrize("name", MEMBERS)
def test_the_members_of_a_class_are_the_promised_ones(name: str) -> None:
    kind = getattr(edgepose, name)
    fields = getattr(kind, "__dataclass_fields__", {})
    assert {member for member in (*vars(kind), *fields) if not member.startswith("_")} == MEMBERS[name]


def test_every_name_is_documented() -> None:
    assert [name for name in edgepose.__all__ if not inspect.getdoc(getattr(edgepose, name))] == []


def test_it_is_typed() -> None:
    assert (PROJECT / "edgepose" / "py.typed").is_file()


def test_the_import_loads_nothing_but_itself() -> None:
    code = "import json, sys; import edgepose; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(run_words([sys.executable, "-c", code], cwd=PROJECT).stdout)
    assert [name for name in loaded if name.startswith("edgepose")] == ["edgepose"]
    assert HEAVY.isdisjoint(name.partition(".")[0] for name in loaded)


def test_the_first_use_of_a_name_loads_what_it_needs() -> None:
    """The control of the test before."""
    code = "import sys; import edgepose; edgepose.open; print('numpy' in sys.modules)"
    assert run_words([sys.executable, "-c", code], cwd=PROJECT).stdout.strip() == "True"


@pytest.mark.slow
@pytest.mark.parametrize("item", EXAMPLES, ids=lambda item: item.name)
def test_the_examples_are_true(
    item: doctest.DocTest,
    image: NDArray[np.uint8],
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    item.globs |= {"edgepose": edgepose, "image": image, "clip": clip, "figures": FIGURES}
    said: list[str] = []
    doctest.DocTestRunner(verbose=False).run(item, out=said.append)
    assert said == []


def test_every_function_has_an_example() -> None:
    with_examples = {item.name.rpartition(".")[2] for item in EXAMPLES if item.examples}
    assert set(SIGNATURES) <= with_examples


def test_an_image_is_judged_by_itself_whatever_came_before(image: NDArray[np.uint8]) -> None:
    """A model that follows a person in a run does not follow it from one call to the next."""
    model = edgepose.open()
    first = model(image)
    model(np.roll(image, 80, axis=1))
    np.testing.assert_array_equal(model(image).keypoints_px, first.keypoints_px)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(np.zeros((8, 8, 3), np.float32), id="floats"),
        pytest.param(np.zeros((8, 8), np.uint8), id="grey"),
        pytest.param(np.zeros((8, 8, 4), np.uint8), id="with alpha"),
        pytest.param(np.zeros((0, 8, 3), np.uint8), id="empty"),
    ],
)
def test_what_is_no_image_is_refused(wrong: NDArray[Any]) -> None:
    with pytest.raises(ConfigError, match=r"uint8 \(H, W, 3\), RGB"):
        edgepose.open()(wrong)


def test_a_name_that_is_nothing_is_refused_with_what_there_is() -> None:
    with pytest.raises(ConfigError, match=r"no file, folder or built-in model 'blazepos'.*edgepose-s"):
        edgepose.open("blazepos")


def test_a_run_gives_what_the_command_writes(clip: Path, tmp_path: Path) -> None:
    model = write_top_down(tmp_path / "one.onnx", PEAKS)
    written = tmp_path / "poses.jsonl"
    done = run_python(
        "edgepose.cli.main", ["run", str(clip), "--model", str(model), "--output", str(written)]
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in written.read_text().splitlines()]
    results = list(edgepose.run(clip, edgepose.open(model)))
    assert [result.index for result in results] == [line["frame"] for line in lines] == list(range(6))
    for result, line in zip(results, lines, strict=True):
        frame = SimpleNamespace(
            index=0, timestamp_ns=0, dropped_before=0, size_wh=(result.image.shape[1], result.image.shape[0])
        )
        same: Any = SimpleNamespace(frame=frame, poses=result.poses, latency_ms=0.0)
        assert pose_record(same)["poses"] == line["poses"]


def test_a_run_leaves_the_programs_own_opencv_as_it_was(clip: Path) -> None:
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        results = edgepose.run(clip)
        next(results)
        assert cv2.getNumThreads() == 1
        assert len(list(results)) == 5
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)


def test_a_result_keeps_its_image(clip: Path) -> None:
    """The memory of a frame is filled again; that of a result is not."""
    images = [result.image for result in edgepose.run(clip)]
    kept = [image.copy() for image in images]
    assert not any(np.shares_memory(one, other) for one, other in pairwise(images))
    assert not np.array_equal(kept[0], kept[-1])


def test_models_are_opened_once_for_call_and_run(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    real = estimator_choice.open_backend
    monkeypatch.setattr(estimator_choice, "open_backend", lambda *a: opened.append(a) or real(*a))
    model = edgepose.open()
    list(edgepose.run(clip, model, max_frames=2))
    list(edgepose.run(clip, model, max_frames=2))
    assert len(opened) == 1


def test_leaving_the_loop_ends_the_run(clip: Path) -> None:
    """That no process is left is what the whole suite asks at its end."""
    for _ in edgepose.run(clip):
        break
    results = edgepose.run(clip)
    next(results)
    results.close()
    assert list(results) == []


def test_a_program_that_ends_between_two_results_ends(clip: Path) -> None:
    code = f"import edgepose; results = edgepose.run({str(clip)!r}); print(next(results).index)"
    done = run_words([sys.executable, "-c", code], cwd=PROJECT, timeout_s=PATIENCE_S)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "0", "")


def test_a_source_that_is_not_there_raises_where_the_results_are_taken() -> None:
    with pytest.raises(ConfigError, match=r"gone\.mp4 does not exist"):
        list(edgepose.run("gone.mp4"))


def test_an_output_of_quantize_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    there = tmp_path / "model.tflite"
    there.write_bytes(b"hours of work")
    with pytest.raises(ConfigError, match=r"model\.tflite"):
        edgepose.quantize("edgepose-s", there, profile="raspberrypi", precision="float16")
    assert there.read_bytes() == b"hours of work"


@pytest.fixture(name="two")
def _two() -> Poses:
    keypoints = np.arange(2 * 17 * 2, dtype=np.float32).reshape(2, 17, 2)
    return Poses(
        keypoints_px=keypoints,
        keypoint_scores=np.full((2, 17), 0.5, np.float32),
        scores=np.array([0.9, 0.8], np.float32),
        skeleton=COCO17,
        boxes_xyxy_px=np.array([[0, 0, 9, 9], [1, 1, 8, 8]], np.float32),
        track_ids=np.array([4, 7]),
    )


def test_poses_know_their_names(two: Poses) -> None:
    assert two.names[0] == "nose"
    np.testing.assert_array_equal(two.keypoint("left_eye"), [[2, 3, 0.5], [36, 37, 0.5]])
    with pytest.raises(KeyError, match="no keypoint 'tail'"):
        two.keypoint("tail")


def test_poses_become_plain_values(two: Poses) -> None:
    plain = json.loads(json.dumps(two.to_dict()))
    assert plain["keypoint_names"] == list(COCO17.keypoint_names)
    assert [person["track_id"] for person in plain["poses"]] == [4, 7]
    assert plain["poses"][1]["keypoints"][0] == [34.0, 35.0, 0.5]
    assert plain["poses"][1]["box_xyxy_px"] == [1.0, 1.0, 8.0, 8.0]
    assert Poses.empty(COCO17).to_dict()["poses"] == []


class KeyPoints:
    """Stands in for supervision's own (0.31): the same fields by the same keywords."""

    def __init__(
        self,
        xy: NDArray[np.float32],
        class_id: NDArray[np.int_] | None = None,
        keypoint_confidence: NDArray[np.float32] | None = None,
        detection_confidence: NDArray[np.float32] | None = None,
        data: dict[str, Any] | None = None,
    ) -> None:
        self.xy, self.class_id, self.data = xy, class_id, data
        self.keypoint_confidence, self.detection_confidence = keypoint_confidence, detection_confidence


def test_poses_become_keypoints_of_supervision(two: Poses, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("supervision")
    module.KeyPoints = KeyPoints  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "supervision", module)
    there = two.to_supervision()
    np.testing.assert_array_equal(there.xy, two.keypoints_px)
    np.testing.assert_array_equal(there.keypoint_confidence, two.keypoint_scores)
    np.testing.assert_array_equal(there.detection_confidence, two.scores)
    np.testing.assert_array_equal(there.data["tracker_id"], [4, 7])


def test_without_supervision_the_message_names_the_extra(two: Poses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(MissingDependencyError, match=r"edgepose\[supervision\]"):
        two.to_supervision()
