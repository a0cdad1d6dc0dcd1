"""The card as ``edgepose models card`` writes it: every figure from a record, every gap said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgepose.cli.models import command
from edgepose.errors import ConfigError, ModelError
from edgepose.host.models.artifact import write_metadata
from edgepose.records.evaluation_report import DeltaFigure, EvaluatedModel, GateFailure, GateResult
from edgepose.records.lineage import LINEAGE_METADATA_KEY, Lineage, ParentModel, lineage_to_json
from edgepose.records.record import to_json
from tests.support import card_records
from tests.support.card_records import benchmark, distillation, evaluation, figure
from tests.support.constant_models import write_top_down

HEADINGS = [
    "# Small poses", "## Model details", "## Intended use", "## Factors", "## Metrics", "## Evaluation data",
    "## Training data", "## Quantitative analyses", "### Accuracy", "### Per keypoint", "### Slices",
    "### int8 against float", "### Forms of one student", "### Latency", "## Known failures",
    "## Licences and their limits", "## How it was made", "## Records",
]  # fmt: skip
NOTES = """
title = "Small poses"
intended_use = "Trying edgepose."
not_for = ["Medicine."]
weights_licence = "LicenseRef-small"
known_failures = ["Handstands."]
command = ["edgepose distill --seed 11 -o run", "edgepose models card run/model.onnx"]
[[training_data]]
name = "Pictures of a friend"
licence = "CC-BY-4.0"
terms = "Name the friend."
[[evaluation_data]]
digest = "{digest}"
name = "Friends, second part"
"""


@dataclass
class Folder:
    """Two models and the records of both."""

    path: Path
    model: Path
    int8: Path

    def card(self, *arguments: object, models: tuple[Path, ...] | None = None, name: str = "CARD.md") -> str:
        result = self.run(*arguments, models=models, name=name)
        assert result.exit_code == 0, result.exception
        return (self.path / name).read_text(encoding="utf-8")

    def run(
        self, *arguments: object, models: tuple[Path, ...] | None = None, name: str = "CARD.md"
    ) -> Result:
        files = models or (self.model, self.int8)
        call = ["card", *files, *arguments, "-o", self.path / name, "--force"]
        return CliRunner().invoke(command, [str(argument) for argument in call])

    def write(self, name: str, record: msgspec.Struct) -> Path:
        return card_records.write(self.path / name, record)  # type: ignore[arg-type]

    def notes(self, text: str = NOTES) -> Path:
        target = self.path / "notes.toml"
        target.write_text(text.replace("{digest}", card_records.DATA_DIGEST), encoding="utf-8")
        return target

    def everything(self) -> list[object]:
        int8 = evaluation(self.int8, baseline=card_records.baseline(self.model))
        return [
            "--evaluation", self.write("float.json", evaluation(self.model)),
            "--evaluation", self.write("int8.json", int8),
            "--benchmark", self.write("bench.json", benchmark(self.model)),
            "--distillation", self.write("distillation.json", distillation(self.model, self.int8)),
            "--notes", self.notes(),
        ]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    peaks = np.full((17, 2), 4)
    return Folder(
        tmp_path,
        write_top_down(tmp_path / "pose.onnx", peaks),
        write_top_down(tmp_path / "int8.onnx", peaks + 1),
    )


def tables(card: str) -> Iterator[list[str]]:
    rows: list[str] = []
    for line in [*card.splitlines(), ""]:
        if line.startswith("|"):
            rows.append(line)
        elif rows:
            yield rows
            rows = []


def section(card: str, heading: str) -> str:
    return card.split(f"# {heading}\n", 1)[1].split("\n#", 1)[0]


def row(card: str, heading: str, start: str) -> str:
    (found,) = [line for line in section(card, heading).splitlines() if line.startswith(f"| {start} |")]
    return found


def test_the_card_has_every_section_in_order_and_whole_tables(folder: Folder) -> None:
    card = folder.card(*folder.everything())
    assert [line for line in card.splitlines() if line.startswith("#")] == HEADINGS
    found = list(tables(card))
    assert len(found) >= 12
    for rows in found:
        assert len(rows) >= 3, "a table without a row"
        assert len({line.count("|") for line in rows}) == 1


def test_every_figure_of_the_records_stands_in_its_place(folder: Folder) -> None:
    card = folder.card(*folder.everything())
    ap = "0.519 (0.469 to 0.569)"
    start = "| E1 | pose.onnx | ground truth | Friends, second part | 306 | "
    assert row(card, "Accuracy", "E1").startswith(f"{start}{ap} | 0.810 (0.760 to 0.860) | ")
    assert row(card, "Per keypoint", "nose").startswith("| nose | 0.983 (0.933 to 1.033), 229 |")
    small = "0.201 (0.151 to 0.251), 45 persons"
    assert row(card, "Slices", "size_small") == f"| size_small | {small} | {small} |"
    few = "too few (12 persons)"
    assert row(card, "Slices", "blur_blurred") == f"| blur_blurred | {few} | {few} |"
    against = section(card, "int8 against float")
    assert (
        "| int8.onnx, ground truth (float32) | pose.onnx (float32) | -0.012 (-0.016 to -0.008) |" in against
    )
    assert row(card, "Forms of one student", "plain post-training quantization").endswith(
        "| 0.482 | 0.851 | 0.9100 |"
    )
    latency = row(card, "Latency", "pose.onnx")
    assert "Board Nine, aarch64 (not the device of profile raspberrypi5)" in latency
    assert " | 1 | 4.56 | 5.43 | 0.50, 3.90, 0.11 | 88 | 500 |" in latency
    assert "| persons | 475 |" in section(card, "Training data")
    assert " | 836281 | no |" in section(card, "Model details")
    assert "| edgepose-s | seed | 11 |" in card
    assert f"`{card_records.TEACHER_DIGEST}`" in card
    assert "edgepose distill --seed 11 -o run\nedgepose models card run/model.onnx" in card
    assert "| Pictures of a friend | CC-BY-4.0 | Name the friend. |" in card
    assert "- Medicine." in section(card, "Intended use")
    assert "/elsewhere" not in card
    assert str(folder.path) not in card


@pytest.mark.parametrize(
    ("change", "heading", "before", "after"),
    [
        (
            {"metrics": {"oks_ap": figure(0.3)}},
            "Accuracy",
            "0.519 (0.469 to 0.569)",
            "0.300 (0.250 to 0.350)",
        ),
        ({"metrics": {"oks_ap": figure(None)}}, "Accuracy", "0.519 (0.469 to 0.569)", "not measured"),
        ({"per_keypoint": {}}, "Per keypoint", "left_hip", "not measured"),
        ({"slices": {}}, "Slices", "size_small", "not measured"),
        ({"slices": {}}, "Known failures", "size_small", "Worst keypoints"),
    ],
)
def test_what_differs_in_the_record_differs_in_the_card(
    folder: Folder, change: dict[str, object], heading: str, before: str, after: str
) -> None:
    first = folder.card("--evaluation", folder.write("e.json", evaluation(folder.model)))
    changed = evaluation(folder.model, **change)
    second = folder.card("--evaluation", folder.write("e.json", changed))
    assert before in section(first, heading)
    assert before not in section(second, heading)
    assert after in section(second, heading)


def test_failures_are_read_off_the_measurements(folder: Folder) -> None:
    known = section(folder.card(*folder.everything()), "Known failures")
    assert "- size_small, 45 persons: AP 0.201 (0.151 to 0.251), 0.318 under that of all.\n" in known
    worst = "left_ankle 0.655 (0.605 to 0.705), left_wrist 0.701 (0.651 to 0.751), left_hip 0.900"
    assert f"- Worst keypoints by PCK@0.2: {worst}" in known
    assert "- Loses AP against pose.onnx: -0.012 (-0.016 to -0.008)." in known
    assert "blur_blurred" not in known
    assert "size_large" not in known
    assert "- Handstands." in known


def test_a_slice_that_may_be_worse_by_chance_is_said_to_be(folder: Folder) -> None:
    report = evaluation(folder.model)
    slices = {
        "size_small": msgspec.structs.replace(report.slices["size_small"], oks_ap=figure(0.5)),
    }
    doubtful = folder.write("e.json", msgspec.structs.replace(report, slices=slices))
    assert "0.019 under that of all, which may be chance." in folder.card("--evaluation", doubtful)


def test_a_failed_gate_is_a_known_failure(folder: Folder) -> None:
    failure = GateFailure(name="min_oks_ap", message="AP 0.5 where 0.6 is asked.", value=0.5, limit=0.6)
    gate = GateResult(
        passed=False, failures=(failure,), not_measured=(), accuracy="measured", profile="raspberrypi5"
    )
    record = folder.write("e.json", evaluation(folder.model, gate=gate))
    assert "- Gate of raspberrypi5: AP 0.5 where 0.6 is asked." in folder.card("--evaluation", record)


def test_without_records_nothing_is_claimed(folder: Folder) -> None:
    card = folder.card()
    assert card.startswith("# pose.onnx, int8.onnx\n")
    for heading in ("Evaluation data", "Training data", "Per keypoint", "Slices", "Forms of one student"):
        assert "not measured" in section(card, heading), heading
    assert row(card, "Accuracy", "- | int8.onnx").count("not measured") == 8
    assert "For: not stated." in card
    others = section(card, "Latency")
    assert "Other devices, android-phone," in others
    assert "raspberrypi5 among them: not measured" in others


def test_a_device_that_was_measured_is_not_among_the_others(folder: Folder) -> None:
    record = folder.write("b.json", benchmark(folder.model, on_it=True))
    latency = section(folder.card("--benchmark", record), "Latency")
    assert "(the device of profile raspberrypi5)" in latency
    assert "raspberrypi5 among them" not in latency
    assert "raspberrypi4 among them: not measured" in latency


def test_a_short_benchmark_is_said_to_be_one(folder: Folder) -> None:
    whole = benchmark(folder.model)
    for seconds, said in ((60.5, False), (2.0, True)):
        record = folder.write("b.json", msgspec.structs.replace(whole, duration_s=seconds))
        latency = row(folder.card("--benchmark", record), "Latency", "pose.onnx")
        assert ("500 in 2 s, too short to rely on" in latency) is said


def test_the_training_records_own_evaluation_is_shown_once(folder: Folder) -> None:
    inside = folder.write("d.json", distillation(folder.model, evaluation=evaluation(folder.model)))
    alone = folder.card("--distillation", inside)
    given = folder.write("e.json", evaluation(folder.model))
    both = folder.card("--distillation", inside, "--evaluation", given)
    for card in (alone, both):
        assert "| E1 | pose.onnx |" in card
        assert "| E2 |" not in card


def test_an_evaluation_behind_a_detector_belongs_to_the_detector_too(folder: Folder) -> None:
    digest = evaluation(folder.int8).model.sha256
    report = evaluation(
        folder.model,
        detector=EvaluatedModel(path="int8.onnx", sha256=digest, precision="float32"),
        dataset=msgspec.structs.replace(evaluation(folder.model).dataset, boxes_from="detector"),
    )
    record = folder.write("e.json", report)
    card = folder.card("--evaluation", record, models=(folder.int8,))
    assert "| E1 | pose.onnx (not in this card) | detector int8.onnx |" in card


def test_the_same_records_give_the_same_bytes_in_any_order(folder: Folder) -> None:
    given = folder.everything()
    pairs = [given[i : i + 2] for i in range(0, len(given), 2)]
    turned = [argument for pair in reversed(pairs) for argument in pair]
    assert folder.card(*given) == folder.card(*turned, name="other.md")


def test_the_last_line_is_the_command(folder: Folder) -> None:
    last = folder.card(*folder.everything()).splitlines()[-1]
    assert last.startswith("Generated from the records above by edgepose ")
    assert last.endswith(
        ": `edgepose models card pose.onnx int8.onnx --evaluation float.json --evaluation int8.json "
        "--benchmark bench.json --distillation distillation.json --notes notes.toml -o CARD.md`"
    )


def test_a_slice_that_int8_harms_is_a_known_failure(folder: Folder) -> None:
    report = evaluation(folder.int8, baseline=card_records.baseline(folder.model))
    harmed = DeltaFigure(value=-0.03, interval_95=(-0.05, -0.01))
    maybe = DeltaFigure(value=-0.03, interval_95=(-0.1, 0.1))
    slices = {
        name: msgspec.structs.replace(part, delta={"oks_ap": maybe if name == "size_small" else harmed})
        for name, part in report.slices.items()
    }
    record = folder.write("e.json", msgspec.structs.replace(report, slices=slices))
    known = section(folder.card("--evaluation", record), "Known failures")
    assert "- Loses AP in size_large, 200 persons: -0.030 (-0.050 to -0.010)." in known
    assert known.count("Loses AP in") == 1


@pytest.mark.parametrize(
    ("option", "make"),
    [("--evaluation", evaluation), ("--benchmark", benchmark), ("--distillation", distillation)],
)
def test_a_record_of_another_model_is_refused_by_name_and_digest(
    folder: Folder, option: str, make: object
) -> None:
    record = folder.write("foreign.json", make(folder.model))  # type: ignore[operator]
    digest = evaluation(folder.model).model.sha256
    folder.card(option, record)  # with its own model it is taken
    result = folder.run(option, record, models=(folder.int8,), name="none.md")
    assert isinstance(result.exception, ConfigError)
    assert f"foreign.json tells about the model with sha256 {digest}, which is none" in str(result.exception)
    assert "Name that model file too, or measure again" in str(result.exception)
    assert not (folder.path / "none.md").exists()


def test_a_record_of_another_kind_is_refused(folder: Folder) -> None:
    record = folder.write("bench.json", benchmark(folder.model))
    result = folder.run("--evaluation", record)
    assert isinstance(result.exception, ConfigError)
    expected = "expected a record of edgepose.evaluation/1, found schema 'edgepose.benchmark/1'"
    assert expected in str(result.exception)


def set_lineage(model: Path, *parents: tuple[str, str]) -> None:
    found = tuple(ParentModel(file_name="parent", sha256=digest, step=step) for step, digest in parents)
    lineage = Lineage(parents=found, tools={}, precision="int8")
    write_metadata(model, {LINEAGE_METADATA_KEY: lineage_to_json(lineage)})


def test_a_training_record_belongs_to_what_was_made_of_its_model_not_to_its_student(folder: Folder) -> None:
    record = folder.write("d.json", distillation(folder.model))
    digest = evaluation(folder.model).model.sha256
    for step, taken in (("quantize", True), ("distil: teacher", False)):
        set_lineage(folder.int8, (step, digest))
        result = folder.run("--distillation", record, models=(folder.int8,))
        assert (result.exit_code == 0) is taken, result.exception


@pytest.mark.parametrize(("step", "known"), [("convert", 2), ("distil: teacher", 1)])
def test_the_other_form_of_one_student_has_its_parameters(folder: Folder, step: str, known: int) -> None:
    for model in (folder.model, folder.int8):
        set_lineage(model, (step, "e" * 64))
    record = folder.write("d.json", distillation(folder.int8))
    assert folder.card("--distillation", record).count(" | 836281 | no |") == known


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (NOTES + 'ap = "0.9"\n', "unknown field"),
        (NOTES.replace('title = "Small poses"', "ap = 0.9"), "unknown field"),
        (NOTES.replace("Small poses", ""), "length >= 1"),
        (NOTES, "names the evaluation data dddd"),
    ],
)
def test_notes_with_a_mistake_are_refused(folder: Folder, text: str, message: str) -> None:
    result = folder.run("--notes", folder.notes(text))
    assert isinstance(result.exception, ConfigError)
    assert message in str(result.exception)


def test_two_files_that_cannot_be_told_apart_are_refused(folder: Folder) -> None:
    copy = folder.path / "copy.onnx"
    copy.write_bytes(folder.model.read_bytes())
    result = folder.run(models=(folder.model, copy))
    assert isinstance(result.exception, ConfigError)
    assert "Two of the model files have the content" in str(result.exception)


def test_a_damaged_model_is_refused(folder: Folder) -> None:
    folder.model.write_bytes(b"no model")
    assert isinstance(folder.run().exception, ModelError)


def test_a_hostile_record_cannot_break_the_card(folder: Folder) -> None:
    hostile = "nose | 1.000 |\n## Injected\n<img src=x>"
    clean = evaluation(folder.model)
    text = to_json(clean, indent=1).replace('"nose"', msgspec.json.encode(hostile).decode())
    target = folder.path / "hostile.json"
    target.write_text(text, encoding="utf-8")
    card = folder.card("--evaluation", target)
    assert "## Injected" not in card.replace("\\#\\# Injected", "")
    assert "<img" not in card
    assert all(len({line.count("|") for line in rows}) == 1 for rows in tables(card))
