"""``edgepose benchmark`` from the command line: short, said to be short, with files for people."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.dom.minidom
from pathlib import Path

import cv2
import numpy as np

from tests.support.bundled_models import MatchedFilters


def benchmark(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgepose", "benchmark", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def video(path: Path, frames: int) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 50.0, (96, 64))
    for index in range(frames):
        writer.write(np.full((64, 96, 3), index % 200, np.uint8))
    writer.release()
    return path


def test_a_short_benchmark_says_so_and_draws_its_time(tmp_path: Path) -> None:
    model = MatchedFilters().write(tmp_path / "m.onnx")
    page, plot, record = tmp_path / "b.md", tmp_path / "b.svg", tmp_path / "b.json"
    done = benchmark(model, "--duration-s", 6, "--markdown", page, "--plot", plot, "--json", record)
    assert done.returncode == 0, done.stderr
    assert "not a figure to publish" in done.stdout
    report = json.loads(record.read_text())
    assert report["schema"] == "edgepose.benchmark/1"
    assert report["complete"] is False
    assert len(report["timeline"]) >= 5
    drawing = xml.dom.minidom.parse(str(plot))  # noqa: S318 (our own file)
    assert drawing.getElementsByTagName("polyline")
    assert "no figure to publish" in page.read_text()
    assert "(b.svg)" in page.read_text()


def test_too_short_a_time_has_no_plot_and_the_figures_are_not_lost(tmp_path: Path) -> None:
    model = MatchedFilters().write(tmp_path / "m.onnx")
    plot, record = tmp_path / "b.svg", tmp_path / "b.json"
    done = benchmark(model, "--samples", 5, "--plot", plot, "--json", record)
    assert done.returncode == 3
    assert "no course of time" in done.stderr
    assert not plot.exists()
    assert json.loads(record.read_text())["samples"] == 5


def test_the_age_of_frames_is_measured_through_the_runtime(tmp_path: Path) -> None:
    model = MatchedFilters().write(tmp_path / "m.onnx")
    record = tmp_path / "b.json"
    done = benchmark(model, "--duration-s", 1, "--source", video(tmp_path / "v.mp4", 60), "--json", record)
    assert done.returncode == 0, done.stderr
    age = json.loads(record.read_text())["frame_age"]
    assert age["source"] == "v.mp4"
    assert age["played"] is True
    assert 1 <= age["frames"] + age["dropped"] <= 50
    assert 0 < age["age_ms"]["p50"] < 1000


def test_a_folder_as_source_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    model = MatchedFilters().write(tmp_path / "m.onnx")
    cv2.imwrite(str(tmp_path / "picture.png"), np.zeros((8, 8, 3), np.uint8))
    done = benchmark(model, "--source", tmp_path)
    assert done.returncode == 3
    assert "no rate" in done.stderr


def test_no_model_and_no_host_is_a_wrong_call() -> None:
    assert benchmark().returncode == 2
