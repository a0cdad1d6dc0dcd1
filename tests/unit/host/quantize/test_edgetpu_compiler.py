"""The Edge TPU compiler's log and file, with a fake compiler that prints the known format."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgepose.errors import ModelError
from edgepose.host.quantize.delegates.check import check_delegate, describe_delegate
from edgepose.host.quantize.delegates.edgetpu import compile_for_edgetpu, parse_log
from edgepose.records.device_profile import find_profile
from tests.support.coral_models import coral_model
from tests.support.fake_edgetpu_compiler import VERSION, compiler_log, install_fake_compiler

__all__ = ["coral_model"]

KINDS = ["CONV_2D", "CONV_2D", "ADD", "ARG_MAX"]


def test_a_log_with_ops_on_the_cpu_is_read() -> None:
    log = parse_log(compiler_log(KINDS, 1))
    assert (log.version, log.ops_total, log.ops_on_delegate, log.ops_on_cpu) == (VERSION, 4, 3, 1)
    assert (log.on_chip_bytes, log.off_chip_bytes) == (80 << 10, 0)
    assert [(row.op, row.count) for row in log.rows] == [("CONV_2D", 2), ("ADD", 1), ("ARG_MAX", 1)]


def test_a_log_without_the_two_summary_lines_is_one_where_every_op_was_mapped() -> None:
    text = compiler_log(KINDS, 0)
    assert "will run on" not in text
    assert parse_log(text).ops_on_cpu == 0


GOOD = compiler_log(KINDS, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "version line"),
        (GOOD.replace("Edge TPU Compiler", "Some Compiler"), "version line"),
        (GOOD.replace("Model compiled successfully", "Model compiled"), "succeeded"),
        (GOOD.replace("Total number of operations: 4", "Total number of operations: 5"), "counts 4 ops"),
        (GOOD.replace("run on CPU: 1", "run on CPU: 0"), "1 ops on the CPU"),
        (GOOD.replace("run on Edge TPU: 3", "run on Edge TPU: 4"), "3 ops on the Edge TPU"),
        (
            "\n".join(line for line in GOOD.splitlines() if "will run on" not in line),
            "3 ops on the Edge TPU",
        ),
        (GOOD.replace("Operator  ", "Op  "), "table of operators is missing"),
        (GOOD.replace("80.00KiB", "80.00KB"), "is no size"),
        (GOOD + "\n" + GOOD, "2 times"),
    ],
)
def test_a_log_that_does_not_add_up_is_refused(text: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        parse_log(text)


def test_without_a_compiler_nothing_is_compiled_and_nothing_claimed(
    coral_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert compile_for_edgetpu(coral_model) is None
    report = check_delegate(find_profile("coral"), coral_model)
    assert report is not None
    assert (report.status, report.ops_on_delegate, report.ops_on_cpu) == ("not compiled", None, None)
    assert report.predicted_ops_on_cpu == 0
    assert "not compiled; its published rules predict 0 of" in describe_delegate(report)


def test_a_compiled_model_reports_what_the_log_says(
    coral_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_fake_compiler(tmp_path / "bin", ops_on_cpu=1)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    before = sorted(path.name for path in coral_model.parent.iterdir())
    report = check_delegate(find_profile("coral"), coral_model)
    assert report is not None
    assert (report.status, report.compiler_version, report.ops_on_cpu) == ("compiled", VERSION, 1)
    assert report.ops_on_delegate == report.ops_total - 1
    assert [entry.reason for entry in report.refused] == ["More than one subgraph is not supported"]
    assert sorted(path.name for path in coral_model.parent.iterdir()) == before


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("fails", "large activation tensors"),
        ("writes nothing", "wrote no file"),
        ("no version", "version line"),
        ("counts wrong", "on the Edge TPU"),
        ("file disagrees", "leaves 1 ops .* its file has 0"),
        ("renames", "changed the inputs or outputs"),
    ],
)
def test_a_compiler_that_fails_or_contradicts_itself_is_an_error(
    coral_model: Path, tmp_path: Path, behaviour: str, message: str
) -> None:
    program = install_fake_compiler(tmp_path, ops_on_cpu=1, behaviour=behaviour)
    with pytest.raises(ModelError, match=message):
        compile_for_edgetpu(coral_model, str(program))


def test_a_compiler_that_does_not_end_is_ended(coral_model: Path, tmp_path: Path) -> None:
    program = install_fake_compiler(tmp_path, behaviour="hangs")
    with pytest.raises(ModelError, match="did not end within 3 s"):
        compile_for_edgetpu(coral_model, str(program), timeout_s=3.0)


def test_profiles_without_such_a_delegate_have_no_report(coral_model: Path) -> None:
    assert check_delegate(find_profile("raspberrypi"), coral_model) is None
