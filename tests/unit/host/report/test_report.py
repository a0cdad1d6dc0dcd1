"""The page as ``edgepose report`` writes it: every figure from a record, every gap said, nothing loaded."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgepose.cli.report import command
from edgepose.errors import ConfigError
from edgepose.host.report.markup import STYLE
from edgepose.host.report.page import CONTENT_SECURITY_POLICY
from edgepose.records.benchmark_report import StageRecord, TimelinePoint
from edgepose.records.evaluation_report import EvaluatedModel, EvaluationReport
from edgepose.records.record import Record, to_builtins
from tests.support import card_records, report_records
from tests.support.card_records import DATA_DIGEST, figure
from tests.support.constant_models import write_top_down
from tests.support.report_page import LOADING, Page, by_class, figure_at
from tests.support.report_records import FLOAT, INT8, SLOW, against, of_model, timed

HOSTILE = '</title><script>alert("1")</script><img src=https://example.org/spy onerror=x>&lt;b&gt;'


@dataclass
class Folder:
    """A model file that records tell about, and where they lie."""

    path: Path
    model: Path

    def evaluation(
        self, name: str = "int8.tflite", sha256: str = INT8, ap: float = 0.519
    ) -> EvaluationReport:
        return of_model(card_records.evaluation(self.model), name, sha256, figure(ap))

    def benchmark(self, sha256: str = INT8, p50: float = 4.56, **changes: Any) -> Record:
        return timed(card_records.benchmark(self.model), sha256, p50, **changes)

    def write(self, name: str, record: Record | dict[str, Any]) -> Path:
        plain = to_builtins(record) if isinstance(record, Record) else record
        target = self.path / name
        # NaN is no JSON, but a foreign tool may write it.
        target.write_text(json.dumps(plain), encoding="utf-8")
        return target

    def run(self, *arguments: object) -> Result:
        call = [*map(str, arguments), "-o", str(self.path / "report.html"), "--force"]
        return CliRunner().invoke(command, call)

    def page(self, *arguments: object) -> Page:
        result = self.run(*arguments)
        assert result.exit_code == 0, result.exception
        return Page((self.path / "report.html").read_text(encoding="utf-8"))

    def three_models(self) -> list[Path]:
        """A fast one, one that it beats, and a good one."""
        figures = {"fast": (INT8, 0.6, 4.0), "beaten": (SLOW, 0.55, 8.0), "good": (FLOAT, 0.7, 12.0)}
        return [
            self.write(f"{name}.{kind}.json", record)
            for name, (sha256, ap, p50) in figures.items()
            for kind, record in (
                ("eval", self.evaluation(name, sha256, ap)), ("bench", self.benchmark(sha256, p50)),
            )
        ]  # fmt: skip

    def compared(self, **changes: Any) -> EvaluationReport:
        slices = {
            "size_large": report_records.part(200, 0.03, gated=True),
            "blur_blurred": report_records.part(12, 0.2, gated=False),
            "size_small": report_records.part(0, None, gated=False),
        }
        report = msgspec.structs.replace(
            self.evaluation(), baseline=against(FLOAT), slices=slices, gate=report_records.gate()
        )
        return msgspec.structs.replace(report, **changes)

    def everything(self) -> list[Path]:
        return [
            *self.three_models(),
            self.write("compared.json", self.compared()),
            self.write("deploy.json", report_records.deployment()),
            self.write("status.json", report_records.status()),
            self.write("quantize.json", report_records.quantization()),
            self.write("distillation.json", card_records.distillation(self.model, self.model)),
        ]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    peaks = np.full((17, 2), 8, np.int64)
    return write_top_down(tmp_path_factory.mktemp("report") / "model.onnx", peaks)


@pytest.fixture
def folder(tmp_path: Path, model: Path) -> Folder:
    return Folder(tmp_path, model)


def test_the_page_has_a_part_for_each_kind_of_record_and_no_other(folder: Folder) -> None:
    assert folder.page(*folder.everything()).headings == [
        "Accuracy against latency", "int8 against float", "Where the time goes", "Deployment", "Training",
        "Records",
    ]  # fmt: skip
    only = folder.page(folder.write("deploy.json", report_records.deployment()))
    assert only.headings == ["Deployment", "Records"]


def test_the_page_loads_nothing_and_runs_nothing(folder: Folder) -> None:
    page = folder.page(*folder.everything())
    assert not {tag for tag, _ in page.elements} & LOADING
    assert not re.search(r"https?:|//[a-z]|url\(|@import|<script", page.text, re.IGNORECASE)
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    policy = [m["content"] for m in page.of("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy == [CONTENT_SECURITY_POLICY]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_hostile_names_stay_text(folder: Folder) -> None:
    model = EvaluatedModel(path=HOSTILE, sha256=HOSTILE, precision=HOSTILE)
    slices = {HOSTILE: report_records.part(40, 0.1, gated=True)}
    evaluation = folder.compared(model=model, slices=slices, gate=report_records.gate(HOSTILE, passed=False))
    files = [
        folder.write("evaluation.json", evaluation),
        folder.write("benchmark.json", folder.benchmark(HOSTILE)),
        folder.write("deploy.json", report_records.deployment(profile=HOSTILE, recipe=HOSTILE)),
    ]
    page = folder.page(*files, "--title", HOSTILE, "--data", f"{DATA_DIGEST}={HOSTILE}")
    harmless = folder.page(
        *(Path(f).with_name(f.name) for f in files), "--title", "T", "--data", f"{DATA_DIGEST}=N"
    )
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in harmless.elements]
    assert not {tag for tag, _ in page.elements} & LOADING
    assert page.texts["h1"] == [HOSTILE]
    assert page.texts["title"][0] == HOSTILE
    assert HOSTILE in page.words


def test_each_model_stands_where_its_records_say(folder: Folder) -> None:
    (plot,) = folder.page(*folder.three_models()).plots("Accuracy against latency")
    found = {
        point.findtext("title"): (
            figure_at(plot, float(point.get("cx") or "nan"), "x"),
            figure_at(plot, float(point.get("cy") or "nan"), "y"),
        )
        for point in by_class(plot, "point")
    }
    assert found["fast"] == pytest.approx((4.0, 0.6), abs=0.01)
    assert found["beaten"] == pytest.approx((8.0, 0.55), abs=0.01)
    assert found["good"] == pytest.approx((12.0, 0.7), abs=0.01)
    assert sorted(one.text or "" for one in by_class(plot, "name")) == ["beaten", "fast", "good"]


def test_a_beaten_model_is_not_on_the_line(folder: Folder) -> None:
    page = folder.page(*folder.three_models())
    (plot,) = page.plots("Accuracy against latency")
    assert [point.findtext("title") for point in by_class(plot, "beaten")] == ["beaten"]
    assert "Not beaten: fast, good." in (plot.findtext("desc") or "")


def test_models_are_only_compared_on_the_same_data_and_machine(folder: Folder) -> None:
    files = folder.three_models()
    other = folder.evaluation("other", "1" * 64, 0.9)
    dataset = msgspec.structs.replace(other.dataset, digest="2" * 64)
    files += [
        folder.write("o.json", msgspec.structs.replace(other, dataset=dataset)),
        folder.write("ob.json", folder.benchmark("1" * 64, 1.0)),
        folder.write("fast4.json", folder.benchmark(INT8, 1.5, threads=4)),
    ]
    plots = folder.page(*files).plots("Accuracy against latency")
    names = [sorted(p.findtext("title") or "" for p in by_class(plot, "point")) for plot in plots]
    assert sorted(names) == [["beaten", "fast", "good"], ["fast"], ["other"]]


def test_the_baseline_is_a_model_of_the_plot_too(folder: Folder) -> None:
    files = [
        folder.write("e.json", folder.compared()),
        folder.write("b.json", folder.benchmark()),
        folder.write("bf.json", folder.benchmark(FLOAT, 9.0)),
    ]
    (plot,) = folder.page(*files).plots("Accuracy against latency")
    assert sorted(p.findtext("title") or "" for p in by_class(plot, "point")) == ["float.onnx", "int8.tflite"]


def test_the_evaluation_inside_a_training_record_is_used_once(folder: Folder) -> None:
    evaluation = folder.compared()
    trained = folder.write(
        "distillation.json", card_records.distillation(folder.model, evaluation=evaluation)
    )
    title = "Paired difference with its 95 % interval"
    assert len(folder.page(trained).plots(title)) == 1
    assert len(folder.page(trained, folder.write("e.json", evaluation)).plots(title)) == 1


def test_a_missing_benchmark_or_evaluation_is_said(folder: Folder) -> None:
    page = folder.page(folder.write("e.json", folder.evaluation()))
    assert page.plots("Accuracy against latency") == []
    assert "Latency not measured: no benchmark record of int8.tflite." in page.words
    assert "Where the time goes" not in page.headings
    page = folder.page(folder.write("b.json", folder.benchmark()))
    assert "Accuracy not measured: no evaluation record of" in page.words
    both = folder.page(folder.path / "e.json", folder.path / "b.json").words
    assert "not measured: no" not in both


def test_accuracy_names_its_data_and_unnamed_data_is_not_called_people(folder: Folder) -> None:
    file = folder.write("e.json", folder.evaluation())
    page = folder.page(file)
    assert f"data {DATA_DIGEST[:12]} without a name: 306 persons in 99 pictures, labelled boxes" in page.words
    assert "not whether they are people or drawn figures" in page.words
    named = folder.page(file, "--data", f"{DATA_DIGEST[:10]}=Drawn figures").words
    assert f"Drawn figures, data {DATA_DIGEST[:12]}: 306 persons" in named
    assert "not whether they are people" not in named


@pytest.mark.parametrize("name", ["ffffffffff=X", f"{DATA_DIGEST[:7]}=X"])
def test_a_name_for_data_that_was_not_measured_is_refused(folder: Folder, name: str) -> None:
    problem = folder.run(folder.write("e.json", folder.evaluation()), "--data", name).exception
    assert isinstance(problem, ConfigError)
    assert DATA_DIGEST in str(problem)


def test_differences_are_drawn_with_slices_and_small_ones_are_hollow(folder: Folder) -> None:
    page = folder.page(folder.write("e.json", folder.compared()))
    (plot,) = page.plots("Paired difference with its 95 % interval")
    dots = {
        dot.findtext("title"): figure_at(plot, float(dot.get("cx") or "nan"), "x")
        for dot in by_class(plot, "point")
    }
    assert dots["AP"] == pytest.approx(-0.012, abs=0.002)
    assert dots["AP size_large"] == pytest.approx(-0.03, abs=0.002)
    assert [dot.findtext("title") for dot in by_class(plot, "beaten")] == ["AP blur_blurred"]
    assert [gap.text for gap in by_class(plot, "absent")] == ["not measured"]
    assert "-0.012 (-0.022 to -0.008)" in page.words
    assert "The gate of profile raspberrypi5 passed." in page.words


def test_a_failed_gate_gives_its_reasons(folder: Folder) -> None:
    gate = report_records.gate("AP fell by 0.09, allowed is 0.01.", passed=False)
    words = folder.page(folder.write("e.json", folder.compared(gate=gate))).words
    assert "The gate of profile raspberrypi5 failed." in words
    assert "AP fell by 0.09, allowed is 0.01." in words


def test_keypoints_show_the_baseline_where_its_record_is_given(folder: Folder) -> None:
    int8 = folder.write("e.json", folder.compared())
    (plot,) = folder.page(int8).plots("PCK@0.2 of each keypoint")
    assert len(by_class(plot, "bar")) == 4
    assert by_class(plot, "other") == []
    assert "The baseline's own PCK of each keypoint: not measured" in folder.page(int8).words
    parent = folder.write("f.json", folder.evaluation("float.onnx", FLOAT))
    (plot,) = folder.page(int8, parent).plots("PCK@0.2 of each keypoint")
    assert len(by_class(plot, "other")) == 4


def test_stages_are_stacked_and_what_was_not_measured_is_said(folder: Folder) -> None:
    page = folder.page(folder.write("b.json", folder.benchmark()))
    (plot,) = page.plots("Median time of each stage")
    bar = by_class(plot, "part-1")[1]
    left, width = float(bar.get("x") or "nan"), float(bar.get("width") or "nan")
    assert figure_at(plot, left, "x") == pytest.approx(0.5, abs=0.01)
    assert figure_at(plot, left + width, "x") == pytest.approx(4.4, abs=0.01)
    assert "retention not measured; temperature not measured; throttled: not measured." in page.words
    assert "not the device of profile raspberrypi5" in page.words
    assert "Speed and temperature over the whole time of a benchmark: not measured" in page.words


def test_retention_and_temperature_are_said_where_they_were_measured(folder: Folder) -> None:
    bench = folder.benchmark(retention=0.62, temperature_celsius=71.4, throttled=True)
    words = folder.page(folder.write("b.json", bench)).words
    assert "retention 0.62" in words
    assert "temperature 71 degrees Celsius at the end; throttled: yes." in words


def test_speed_and_heat_over_the_time_are_drawn_and_slow_spans_marked(folder: Folder) -> None:
    points = tuple(
        TimelinePoint(
            start_s=2.0 * i, duration_s=2.0, samples=9, p50_ms=4.0, temperature_celsius=50.0 + i,
            cpu_mhz=None, throttled=i in {3, 4, 8},
        )
        for i in range(10)
    )  # fmt: skip
    page = folder.page(folder.write("b.json", folder.benchmark(timeline=points, throttled=True)))
    (plot,) = page.plots("Speed and heat over the time of a benchmark")
    # Two spans and the legend.
    assert len(by_class(plot, "slowed")) == 3
    assert len(by_class(plot, "curve")) == len(by_class(plot, "second-curve")) == 1
    assert by_class(plot, "third-curve") == []
    assert "the ground is marked" in page.words
    assert "over the whole time of a benchmark: not measured" not in page.words


def test_a_preview_is_never_told_as_a_device(folder: Folder) -> None:
    words = folder.page(folder.write("d.json", report_records.deployment())).words
    assert "onnx to tflite, 30 ops 3.2" in words
    assert (
        "passed on the host, a preview: nothing here was verified on a device. Accelerator: not verified."
        in words
    )
    on_device = report_records.health(verified_on="device", accelerator="verified")
    installed = report_records.deployment().installation
    assert installed is not None
    record = report_records.deployment(installation=msgspec.structs.replace(installed, health=on_device))
    words = folder.page(folder.write("d.json", record)).words
    assert "passed on the device. Accelerator: verified." in words
    assert "preview" not in words


def test_a_plan_and_a_failed_deployment_are_no_installation(folder: Folder) -> None:
    plan = report_records.deployment(dry_run=True, steps=(), gate=None, bundle=None, installation=None)
    assert "Only planned; nothing was done." in folder.page(folder.write("d.json", plan)).words
    failed = report_records.deployment(gate=None, bundle=None, installation=None, steps=())
    words = folder.page(folder.write("d.json", failed)).words
    assert "Health check: not measured; nothing was installed." in words
    nothing = report_records.status(active_slot=None, bundle_version=None, health=None, history=())
    assert "Nothing is installed." in folder.page(folder.write("s.json", nothing)).words


def test_curves_come_from_the_log_beside_the_record(folder: Folder) -> None:
    record = folder.write("distillation.json", card_records.distillation(folder.model))
    assert "no metrics.jsonl lies beside the record" in folder.page(record).words
    lines = [{"step": 50 * i, "loss": 4.0 - i / 10, "learning_rate": 0.1} for i in range(1, 11)]
    lines.append({"step": 500, "validation": {"oks_ap": 0.25}})
    lines.append({"step": 550, "loss": math.nan})
    text = "\n".join(map(json.dumps, lines)) + '\n{"step": 600, "lo'
    record.with_name("metrics.jsonl").write_text(text, encoding="utf-8")
    page = folder.page(record)
    (loss,) = page.plots("Loss over steps")
    (accuracy,) = page.plots("AP on the validation pictures over steps")
    assert "From 3.900 at step 50 to 3.000 at step 500." in (loss.findtext("desc") or "")
    assert len(by_class(loss, "point")) == 10
    (point,) = by_class(accuracy, "point")
    assert figure_at(accuracy, float(point.get("cy") or "nan"), "y") == pytest.approx(0.25, abs=0.001)
    assert "1 lines of metrics.jsonl are no measurement" in page.words


def test_the_last_part_has_every_record_with_its_model(folder: Folder) -> None:
    files = folder.everything()
    records = folder.page(*files).words.rpartition(" Records ")[2]
    for file in files:
        assert file.name in records
    assert INT8 in records
    assert "keras 3.15.1, numpy 2.4.6" in records
    assert "onnxruntime 1.32.0" in records


def test_empty_and_damaged_figures_do_not_stop_the_page(folder: Folder) -> None:
    nothing = card_records.evaluation(
        folder.model, metrics={"oks_ap": figure(None)}, per_keypoint={"nose": {}}, slices={}
    )
    empty = to_builtins(nothing)
    broken = to_builtins(folder.compared())
    for place in (broken["metrics"], broken["baseline"]["delta"]):
        place["oks_ap"] = {**place["oks_ap"], "value": math.nan, "interval_95": [math.nan, math.inf]}
    broken["per_keypoint"]["nose"]["pck@0.2"] = {"value": 1e300, "interval_95": None, "sample_count": 0}
    nan = float("nan")
    bench = folder.benchmark(p50=nan, stages_ms=StageRecord(preprocess=nan, infer=-1.0, decode=0.0))
    page = folder.page(
        folder.write("empty.json", empty), folder.write("broken.json", broken), folder.write("b.json", bench)
    )
    assert page.plots("Accuracy against latency") == []
    assert not re.search(r"\bnan\b", page.words, re.IGNORECASE)
    for plot in page.plots("Paired difference with its 95 % interval"):
        assert "nan" not in {value for one in plot.iter() for value in one.attrib.values()}


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ('{"schema": "edgepose.model/1"}', "found schema 'edgepose.model/1'"),
        ("[1]", "found schema None"),
        ('{"schema": {}}', "found schema {}"),
        ("{", "is not valid JSON"),
    ],
)
def test_another_file_is_refused_with_what_is_understood(folder: Folder, content: str, found: str) -> None:
    path = folder.path / "other.json"
    path.write_text(content, encoding="utf-8")
    problem = folder.run(path).exception
    assert isinstance(problem, ConfigError)
    assert "other.json" in str(problem)
    assert found in str(problem)
    assert not (folder.path / "report.html").exists()
    if "schema" in content:
        assert "edgepose.status/1" in str(problem)


def test_a_deployment_with_a_damaged_gate_is_refused(folder: Folder) -> None:
    record = report_records.deployment(gate={"passed": "yes"})
    problem = folder.run(folder.write("d.json", record)).exception
    assert isinstance(problem, ConfigError)
    assert "d.json, gate" in str(problem)


def test_the_same_records_give_the_same_page_and_twice_the_same_file_counts_once(folder: Folder) -> None:
    files = folder.everything()
    first = folder.page(*files).text
    assert folder.page(*files, files[0]).text == first
    assert folder.page(*files, "--title", "Another").text != first


def test_nothing_to_report_is_a_usage_error(folder: Folder) -> None:
    assert folder.run().exit_code == 2
    assert folder.run("--poses", "p.jsonl").exit_code == 2
    assert folder.run("e.json", "--data", "nodigest").exit_code == 2


def test_the_look_has_both_schemes_and_enough_contrast() -> None:
    light, dark = (
        dict(re.findall(r"--(\w+): (#\w+)", part)) for part in re.findall(r":root \{(.*?)\}", STYLE)
    )
    assert "@media (prefers-color-scheme: dark)" in STYLE
    for colours in (light, dark):
        for name, least in (("ink", 7.0), ("quiet", 4.5), ("first", 3.0), ("second", 3.0), ("third", 3.0)):
            assert contrast(colours[name], colours["ground"]) >= least, name


def contrast(first: str, second: str) -> float:
    """WCAG 2.2, relative luminance."""
    low, high = sorted(map(luminance, (first, second)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
