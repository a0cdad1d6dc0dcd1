"""Drift from end to end: an installed bundle runs as a service, its pictures change."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from edgepose.device.install.installed import installed_model, read_status
from edgepose.device.install.installer import install_bundle
from edgepose.device.monitor.drift_files import DriftFiles
from edgepose.device.monitor.reading import read_telemetry
from edgepose.host.bundle.builder import build_bundle
from edgepose.host.deploy.deployment import drift_reference
from edgepose.records.drift_record import DriftEvent, DriftReference, RetrainingRequest
from edgepose.records.record import from_json, read_json
from edgepose.runtime.open_model import open_pipeline
from edgepose.trust.digests import sha256_of_path
from tests.support.bundled_models import MatchedFilters, request_for

FPS = 10.0
WINDOW_FRAMES = 30
USUAL_WINDOWS = 5
DARK_WINDOWS = 5


def scene(index: int) -> NDArray[np.uint8]:
    """A lit place in which something moves."""
    rng = np.random.default_rng(0)
    texture = cv2.resize(rng.normal(150, 30, (24, 32, 3)), (320, 240), interpolation=cv2.INTER_CUBIC)
    return np.clip(np.roll(texture, 7 * index, axis=1), 0, 255).astype(np.uint8)


def write_clip(path: Path, windows: int, dark_windows: int) -> Path:
    """A video that becomes dark."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), FPS, (320, 240))
    assert writer.isOpened()
    for index in range((windows + dark_windows) * WINDOW_FRAMES + 1):
        light = 1.0 if index < windows * WINDOW_FRAMES else 0.3
        writer.write((scene(index) * light).astype(np.uint8))
    writer.release()
    return path


@pytest.fixture(name="root")
def _root(tmp_path: Path) -> Path:
    model = MatchedFilters().write(tmp_path / "model.onnx")
    # Judged on frames of the same camera; its codec takes fine detail away.
    judged = cv2.VideoCapture(str(write_clip(tmp_path / "judged.mp4", 2, 0)))
    pictures = [tmp_path / f"{index:02}.png" for index in range(2 * WINDOW_FRAMES)]
    for picture in pictures:
        assert cv2.imwrite(str(picture), judged.read()[1])
    reference = drift_reference(open_pipeline(model), None, pictures)
    bundle = build_bundle(request_for(model, tmp_path / "bundle.epb", drift_reference=reference))
    install_bundle(bundle, tmp_path / "root")
    return tmp_path / "root"


def serve(root: Path, clip: Path, *more: object) -> subprocess.CompletedProcess[str]:
    """The service until the clip ends."""
    program = [sys.executable, "-m", "edgepose.cli.device_main", "service", clip, "--root", root]
    program += ["--drift-window", WINDOW_FRAMES / FPS, "--drift-learn", 3, *more]
    done = subprocess.run(
        [str(word) for word in program], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done


def test_the_reference_travels_in_the_bundle_and_is_verified_there(root: Path) -> None:
    installed = installed_model(root)
    assert installed.manifest.drift_reference == "drift_reference.json"
    content = (installed.folder / "drift_reference.json").read_bytes()
    reference = from_json(content, DriftReference, "the reference")
    assert reference.pictures == 2 * WINDOW_FRAMES
    assert reference.features["brightness"].samples == 2 * WINDOW_FRAMES
    # Nobody was seen twice, so nothing is claimed about unrest.
    assert "jitter" not in reference.features
    assert {file.path for file in installed.manifest.files} >= {"drift_reference.json"}


def test_a_clip_that_becomes_dark_ends_with_event_request_hook_and_status(root: Path, tmp_path: Path) -> None:
    heard = tmp_path / "heard.jsonl"
    clip = write_clip(tmp_path / "clip.mp4", USUAL_WINDOWS, DARK_WINDOWS)
    done = serve(root, clip, "--drift-hook", f"cat >> {heard}")
    assert "brightness drifted since" in done.stderr

    status = read_status(root)
    assert status.drift is not None
    assert status.drift.retrain
    assert not status.drift.learning
    # The model is less sure in the dark, which are events of their own.
    (event,) = [event for event in status.drift.going_on if event.feature == "brightness"]
    assert event.size.typical < 0.5 * event.size.reference

    # The hook gets an event when it begins; later it only grows.
    told = [from_json(line, DriftEvent, "the hook") for line in heard.read_bytes().splitlines()]
    names = [one.feature for one in status.drift.events]
    assert sorted(one.feature for one in told) == sorted(names)
    events = [event for event in read_telemetry(root).events if event.kind == "drift_started"]
    assert sorted(event.subject for event in events) == sorted(names)

    request = read_json(DriftFiles(root).request, RetrainingRequest)
    manifest = installed_model(root).manifest
    assert request.model_sha256 == manifest.model.sha256
    assert (request.model, request.profile, request.bundle_version) == ("matched_filters", "test-board", 1)
    assert request.reference_sha256 == sha256_of_path(installed_model(root).folder / "drift_reference.json")
    assert any(words.startswith("dark pictures") for words in request.pictures)


def test_a_clip_that_stays_as_it_is_raises_nothing(root: Path, tmp_path: Path) -> None:
    serve(root, write_clip(tmp_path / "clip.mp4", USUAL_WINDOWS + DARK_WINDOWS, 0))
    status = read_status(root).drift
    assert status is not None
    # Other work on this machine may well slow frames down, which is no reason to train.
    assert [event.feature for event in status.events if event.feature != "latency"] == []
    assert not status.retrain
    assert status.windows == USUAL_WINDOWS + DARK_WINDOWS
    assert not DriftFiles(root).request.exists()


def test_a_run_of_another_day_goes_on_with_what_was_learned_and_reset_forgets_it(
    root: Path, tmp_path: Path
) -> None:
    serve(root, write_clip(tmp_path / "usual.mp4", USUAL_WINDOWS, 0))
    serve(root, write_clip(tmp_path / "dark.mp4", 0, DARK_WINDOWS))
    shown = device("drift", "show", "--root", root, "--json", "-")
    status = json.loads(shown)
    assert status["windows"] == USUAL_WINDOWS + DARK_WINDOWS
    assert ("brightness", "shifted") in [(event["feature"], event["kind"]) for event in status["events"]]
    assert "edgepose distill --request" in device("drift", "show", "--root", root)
    assert "retrain" in device("status", "--root", root)
    device("drift", "reset", "--root", root)
    assert read_status(root).drift is None
    assert not DriftFiles(root).request.exists()


def test_without_drift_nothing_is_watched(root: Path, tmp_path: Path) -> None:
    serve(root, write_clip(tmp_path / "clip.mp4", 0, DARK_WINDOWS), "--no-drift")
    assert read_status(root).drift is None


def test_a_hook_that_fails_is_told_and_stops_nothing(root: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", USUAL_WINDOWS, DARK_WINDOWS)
    done = serve(root, clip, "--drift-hook", "exit 7")
    assert "The drift hook ended with exit code 7" in done.stderr
    assert read_status(root).drift is not None


def test_damaged_files_of_drift_are_learned_anew(root: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "usual.mp4", USUAL_WINDOWS, 0)
    serve(root, clip)
    for name in ("baseline.json", "status.json"):
        (root / "var" / "drift" / name).write_text("{")
    assert read_status(root).drift is None
    serve(root, clip)
    status = read_status(root).drift
    assert status is not None
    assert status.windows == USUAL_WINDOWS


def test_the_page_has_words_for_every_feature() -> None:
    from edgepose.device import live_page
    from edgepose.records.drift_record import FEATURE_NAMES

    script = (Path(live_page.__file__).parent / "assets" / "page.js").read_text()
    words = script.partition("DRIFT_WORDS")[2].partition("}")[0]
    assert [name for name in FEATURE_NAMES if f"{name}:" not in words] == []


@pytest.mark.slow
def test_distill_takes_the_request_as_its_job_and_says_what_the_pictures_lack(
    root: Path, tmp_path: Path, marker_set: Path
) -> None:
    serve(root, write_clip(tmp_path / "clip.mp4", USUAL_WINDOWS, DARK_WINDOWS))
    request = DriftFiles(root).request
    out = tmp_path / "student"
    call = [sys.executable, "-m", "edgepose", "distill", "--request", request, "--labels-only"]
    call += ["--images", marker_set, "--steps", "2", "--batch-size", "4", "--qat-steps", "0"]
    done = subprocess.run(
        [*map(str, call), "--input-size", "64x64", "--json", "-", "-o", str(out)],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    record = json.loads(done.stdout)
    assert record["options"]["student"] == "edgepose-s"
    answer = record["retraining"]
    assert answer["request_sha256"] == sha256_of_path(request)
    shares = {one["feature"]: one["share"] for one in answer["coverage"]}
    # Marker pictures are on a dark ground; how sure a model is of them, no label tells.
    assert shares["brightness"] == 1.0
    assert shares.get("confidence") is None
    assert "answers the request of matched_filters, bundle version 1" in done.stderr


def test_a_request_that_is_none_is_refused_before_anything_is_learned(
    root: Path, tmp_path: Path, marker_set: Path
) -> None:
    from edgepose.cli.distill import command
    from edgepose.errors import ConfigError

    damaged = tmp_path / "request.json"
    damaged.write_text('{"schema": "edgepose.poses/1"}')
    call = ["--labels-only", "--images", str(marker_set), "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(command, [*call, "--request", str(damaged)])
    assert isinstance(result.exception, ConfigError)
    assert not (tmp_path / "out").exists()
    result = CliRunner().invoke(command, call)
    assert "Give either --student or --request" in result.output


def device(*words: object) -> str:
    """What the device program prints."""
    done = subprocess.run(
        [sys.executable, "-m", "edgepose.cli.device_main", *map(str, words)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout
