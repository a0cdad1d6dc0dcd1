"""``edgepose deploy`` through the command line, on a model that is constructed and pictures that are drawn.

The profile is the Jetson's: its models stay ONNX, so no conversion tool is needed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.support.marker_models import nan_weights, shuffle_weights

Done = subprocess.CompletedProcess[str]
Deploy = Callable[..., Done]


def edgepose(*arguments: object) -> Done:
    """Runs the program as a user does."""
    call = [sys.executable, "-m", "edgepose", *map(str, arguments)]
    return subprocess.run(call, capture_output=True, text=True, check=False)


@pytest.fixture(name="deploy")
def _deploy(marker_onnx: Path, marker_spec: Path, marker_set: Path, tmp_path: Path) -> Deploy:
    """Deploys the marker model; keyword arguments replace or drop (None) options."""

    def call(*flags: str, **changed: object) -> Done:
        options: dict[str, object] = {
            "profile": "jetson",
            "model": marker_onnx,
            "spec": marker_spec,
            "calibration": marker_set,
            "root": tmp_path / "root",
        }
        options |= changed
        words = [
            word for name, value in options.items() if value is not None for word in (f"--{name}", value)
        ]
        return edgepose("deploy", *words, *flags)

    return call


def _labels(folder: Path) -> dict[str, object]:
    return {"annotations": folder / "person_keypoints.json", "images": folder / "images"}


def test_int8_is_deployed_judged_on_labels_and_runs(
    deploy: Deploy, marker_pairs: Path, tmp_path: Path
) -> None:
    done = deploy("--json", str(tmp_path / "report.json"), **_labels(marker_pairs))
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["gate"]["accuracy"] == "measured"
    assert [step["name"] for step in report["steps"]] == [
        "convert", "quantize", "evaluate", "gate", "bundle", "install",
    ]  # fmt: skip
    picture = next((marker_pairs / "images").iterdir())
    output = tmp_path / "poses.jsonl"
    ran = edgepose("run", picture, "--root", tmp_path / "root", "--output", output)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(output.read_text())["schema"] == "edgepose.poses/1"


def test_accuracy_is_not_measured_on_the_pictures_that_set_the_ranges(
    deploy: Deploy, marker_set: Path, tmp_path: Path
) -> None:
    done = deploy(**_labels(marker_set))
    assert done.returncode == 3, done.stderr
    assert "would be no measurement: marker_00000.png" in done.stderr
    assert not (tmp_path / "root").exists()


def test_float16_takes_no_ranges_so_both_folders_may_be_the_same(deploy: Deploy, marker_set: Path) -> None:
    done = deploy(precision="float16", **_labels(marker_set))
    assert done.returncode == 0, done.stderr


def test_without_labels_the_record_says_that_accuracy_was_not_measured(
    deploy: Deploy, tmp_path: Path
) -> None:
    done = deploy("--json", str(tmp_path / "report.json"))
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "report.json").read_text())["gate"]["accuracy"] == "not measured"


def test_second_deploy_takes_the_other_slot_and_rollback_returns(deploy: Deploy, tmp_path: Path) -> None:
    root = tmp_path / "root"
    assert deploy(precision="float32").returncode == 0
    done = deploy(precision="float16")
    assert done.returncode == 0, done.stderr
    status = json.loads(edgepose("status", "--root", root, "--json", "-").stdout)
    assert (status["bundle_version"], status["active_slot"]) == (2, "b")
    assert edgepose("rollback", "--root", root).returncode == 0
    status = json.loads(edgepose("status", "--root", root, "--json", "-").stdout)
    assert (status["bundle_version"], status["active_slot"]) == (1, "a")


def test_deploy_signs_pins_and_refuses_to_begin_without_the_pinned_keys(
    deploy: Deploy, tmp_path: Path
) -> None:
    home, root = tmp_path / "keys", tmp_path / "root"
    assert edgepose("keys", "init", "--no-passphrase", "--home", home).returncode == 0
    signed = deploy(precision="float32", keys=home)
    assert signed.returncode == 0, signed.stderr
    assert "Pinning root SHA256:" in signed.stderr
    assert "Signed by SHA256:" in signed.stdout
    unsigned = deploy("--unsigned", precision="float32")
    assert unsigned.returncode == 7
    assert "evaluate" not in unsigned.stderr
    assert "--keys" in unsigned.stderr
    status = json.loads(edgepose("status", "--root", root, "--json", "-").stdout)
    assert (status["bundle_version"], status["signed"]) == (1, True)


def test_dry_run_prints_the_plan_and_changes_nothing(deploy: Deploy, tmp_path: Path) -> None:
    done = deploy("--dry-run")
    assert done.returncode == 0, done.stderr
    assert "gate against the profile's budgets" in done.stdout
    assert not (tmp_path / "root").exists()


def test_no_data_at_all_is_a_failed_gate_never_a_pass(deploy: Deploy, tmp_path: Path) -> None:
    done = deploy(calibration=None, precision="float16")
    assert done.returncode == 6
    assert "no data" in done.stderr
    assert not (tmp_path / "root").exists()


def _empty_folder(tmp_path: Path) -> dict[str, object]:
    (tmp_path / "empty").mkdir()
    return {"calibration": tmp_path / "empty"}


def _folder_of_text(tmp_path: Path) -> dict[str, object]:
    folder = tmp_path / "text"
    folder.mkdir()
    (folder / "notes.txt").write_text("no picture")
    (folder / "fake.jpg").write_text("no picture either")
    return {"calibration": folder}


def _black_pictures(tmp_path: Path) -> dict[str, object]:
    folder = tmp_path / "black"
    folder.mkdir()
    for index in range(20):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((96, 96, 3), index, np.uint8))
    return {"calibration": folder}


def _too_few(tmp_path: Path) -> dict[str, object]:
    rng = np.random.default_rng(0)
    folder = tmp_path / "few"
    folder.mkdir()
    for index in range(3):
        cv2.imwrite(str(folder / f"{index}.png"), rng.integers(0, 255, (96, 96, 3), dtype=np.uint8))
    return {"calibration": folder}


def _root_of_something_else(tmp_path: Path) -> dict[str, object]:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("ten years")
    return {"root": tmp_path / "home"}


@pytest.mark.parametrize(
    ("make", "code", "says"),
    [
        (_empty_folder, 3, "no"),
        (_folder_of_text, 3, "no"),
        (_too_few, 3, "at least"),
        (_black_pictures, 3, "not fit to calibrate on"),
        (_root_of_something_else, 3, "thesis.txt"),
        (lambda _: {"profile": "toaster"}, 3, "unknown"),
        (lambda _: {"model": "missing.onnx"}, 5, "missing.onnx"),
        (lambda _: {"precision": "int8", "calibration": None}, 3, "--calibration"),
    ],
)
def test_bad_input_ends_in_its_family_with_one_clear_sentence(
    deploy: Deploy, make: Callable[[Path], dict[str, object]], code: int, says: str, tmp_path: Path
) -> None:
    done = deploy(**make(tmp_path))
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "root").exists()


def test_folder_of_something_else_is_left_alone(deploy: Deploy, tmp_path: Path) -> None:
    deploy(**_root_of_something_else(tmp_path))
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["thesis.txt"]


def test_nan_model_is_refused(deploy: Deploy, marker_onnx: Path, tmp_path: Path) -> None:
    done = deploy(model=nan_weights(marker_onnx, tmp_path / "nan.onnx"))
    assert done.returncode == 5, done.stderr
    assert "NaN" in done.stderr


@pytest.mark.parametrize(
    ("old", "new", "code", "says"),
    [
        ("width_px = 96", "width_px = 100", 5, "(1, 3, 128, 100)"),
        ("width_px", "widht_px", 3, "widht_px"),
        ('layout = "NCHW"', 'layout = "NHWC"', 5, "NHWC"),
    ],
)
def test_wrong_spec_is_refused(
    deploy: Deploy, marker_spec: Path, tmp_path: Path, old: str, new: str, code: int, says: str
) -> None:
    text = marker_spec.read_text()
    assert old in text
    (tmp_path / "wrong.toml").write_text(text.replace(old, new))
    done = deploy(spec=tmp_path / "wrong.toml")
    assert done.returncode == code, done.stderr
    assert says in done.stderr


def test_labels_without_images_and_images_without_labels_are_counted_not_fatal(
    deploy: Deploy, marker_set: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "partly"
    shutil.copytree(marker_set, folder)
    images = sorted((folder / "images").iterdir())
    images[0].unlink()
    shutil.copy(images[1], folder / "images" / "unlabelled.png")
    done = deploy(calibration=folder)
    assert done.returncode == 0, done.stderr


def test_model_that_lost_its_mind_never_reaches_the_root(
    deploy: Deploy, marker_onnx: Path, marker_pairs: Path, tmp_path: Path
) -> None:
    """The installed model stays when the next one fails: here by the absolute floor of a profile."""
    assert deploy().returncode == 0
    root = tmp_path / "root"
    before = {p: p.read_bytes() for p in root.rglob("*") if p.is_file()}
    shuffled = shuffle_weights(marker_onnx, tmp_path / "shuffled.onnx")
    strict = tmp_path / "jetson-orin-nano.toml"
    profile = Path("device_profiles/jetson-orin-nano.toml").read_text()
    strict.write_text(profile.replace("[budgets]", "[budgets]\nmin_oks_ap = 0.5"))
    done = deploy(model=shuffled, profile=strict, **_labels(marker_pairs))
    assert done.returncode == 6, done.stderr
    assert "AP is 0.0" in done.stderr
    assert {p: p.read_bytes() for p in root.rglob("*") if p.is_file()} == before


def test_an_int8_file_is_judged_against_the_float_parent_that_is_named(
    deploy: Deploy, marker_onnx_with_spec: Path, marker_set: Path, marker_pairs: Path, tmp_path: Path
) -> None:
    """The same file with another parent fails: what it is held against decides."""
    ready, wrong = tmp_path / "int8.onnx", tmp_path / "wrong.onnx"
    made = edgepose(
        "quantize", marker_onnx_with_spec, "--profile", "jetson", "--calibration", marker_set, "-o", ready
    )
    assert made.returncode == 0, made.stderr
    shuffle_weights(marker_onnx_with_spec, wrong)
    report = tmp_path / "report.json"
    judged = {"model": ready, "spec": None, "calibration": marker_pairs}
    refused = deploy(**judged, **{"float-parent": wrong})
    assert refused.returncode == 6, refused.stderr
    assert not (tmp_path / "root").exists()
    done = deploy("--json", str(report), **judged, **{"float-parent": marker_onnx_with_spec})
    assert done.returncode == 0, done.stderr
    assert json.loads(report.read_text())["recipe"] == "as given"


def test_two_deploys_at_once_into_one_root_leave_one_whole_version(
    marker_onnx: Path, marker_spec: Path, marker_set: Path, tmp_path: Path
) -> None:
    call = [
        sys.executable, "-m", "edgepose", "deploy", "--profile", "jetson", "--model", str(marker_onnx),
        "--spec", str(marker_spec), "--calibration", str(marker_set), "--root", str(tmp_path / "root"),
    ]  # fmt: skip
    both = [
        subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    endings = [(process.communicate()[1], process.returncode) for process in both]
    assert any(code == 0 for _, code in endings), endings
    assert all(code in {0, 8} for _, code in endings), endings
    status = json.loads(edgepose("status", "--root", tmp_path / "root", "--json", "-").stdout)
    assert status["files_intact"] is True
