"""Each published figure equals its record, and each record was made by the current version of its script."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

PROJECT = Path(__file__).resolve().parents[3]
RESULTS = PROJECT / "benchmarks" / "results"
RECORDS = sorted(path.stem for path in RESULTS.glob("*.json"))
# A log of training runs of four hours, drawn together once for ADR 0017: no script makes it again.
LOGS = {"builtin_learning_curve"}
PAGES = [
    path for path in PROJECT.rglob("*.md") if not {".venv", "build"} & set(path.relative_to(PROJECT).parts)
]


@pytest.fixture(autouse=True)
def _beside_the_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PROJECT / "benchmarks"))


@pytest.fixture
def bench() -> ModuleType:
    import bench

    return bench


@pytest.fixture
def digests() -> ModuleType:
    import script_digest

    return script_digest


@pytest.fixture
def figures() -> ModuleType:
    import figures

    return figures


def test_every_record_has_a_benchmark_that_makes_it_again(bench: ModuleType) -> None:
    assert set(RECORDS) <= set(bench.BENCHMARKS) | LOGS


@pytest.mark.parametrize("name", sorted(set(RECORDS) - LOGS))
def test_a_record_was_made_by_the_current_version_of_its_script(
    name: str, bench: ModuleType, digests: ModuleType
) -> None:
    made_by = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))["made_by"]
    assert made_by["script"] == bench.BENCHMARKS[name].script
    current = digests.script_sha256(made_by["script"], renamed=made_by.get("renamed_since"))
    assert made_by["script_sha256"] == current, (
        f"make bench NAME={name}: its script changed since the record was made"
    )
    assert made_by["command"].startswith(f"python benchmarks/{made_by['script']}.py")
    assert made_by["threads"] == bench.BENCHMARKS[name].threads
    assert {"edgepose", "python"} <= set(made_by["versions"])


def test_figures_of_the_pages_are_those_of_the_records(figures: ModuleType) -> None:
    for page in figures.PAGES:
        text = page.read_text(encoding="utf-8")
        assert figures.with_current_figures(text) == text, (
            f"{page.name}: python benchmarks/figures.py --write"
        )


@pytest.mark.parametrize("page", ["README.md", "docs/index.md", "docs/models.md", "docs/measurements.md"])
def test_no_measured_figure_stands_without_its_record(page: str, figures: ModuleType) -> None:
    assert figures.loose_figures((PROJECT / page).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_a_page_cites_only_results_that_exist(page: Path) -> None:
    cited = re.findall(r"results/(\w+)\.json", page.read_text(encoding="utf-8"))
    assert set(cited) <= set(RECORDS)


def test_another_record_makes_a_page_old(figures: ModuleType, tmp_path: Path) -> None:
    page = (
        "half: <!--= one a/0/b .2f -->0.50<!--/-->, <!--= one c 1000*.0f -->4<!--/--> ms, "
        "<!--= one d .0% -->9 %<!--/-->"
    )
    record = tmp_path / "one.json"
    record.write_text('{"a": [{"b": 0.5}], "c": 0.004, "d": 0.09}', encoding="utf-8")
    assert figures.with_current_figures(page, tmp_path) == page
    record.write_text('{"a": [{"b": 0.51}], "c": 0.0041, "d": 0.1}', encoding="utf-8")
    changed = figures.with_current_figures(page, tmp_path)
    assert [old in changed for old in (">0.50<", ">4<", ">9 %<")] == [False, True, False]
    record.write_text('{"a": [], "c": 1, "d": 0}', encoding="utf-8")
    with pytest.raises(KeyError, match="a/0/b"):
        figures.with_current_figures(page, tmp_path)
    record.unlink()
    with pytest.raises(KeyError, match="no record"):
        figures.with_current_figures(page, tmp_path)


@pytest.mark.parametrize(
    "loose", ["it takes 0.59 of it", "peak 147 MiB", "faster by 12 %", "1.06 ms", "(-0.094)"]
)
def test_a_figure_without_a_record_is_found(loose: str, figures: ModuleType) -> None:
    assert figures.loose_figures(loose)
    assert not figures.loose_figures(f"<!--= r p .2f -->{loose}<!--/-->")


def test_versions_names_and_settings_are_no_figures(figures: ModuleType) -> None:
    assert not figures.loose_figures(
        "mediapipe 0.10.21, Python 3.11 to 3.13, `min_oks=0.1`, [ADR](docs/1.5.md), 306 persons, int8"
    )


_SCRIPT = '''"""Words."""
import os
from edgepose.pose import boxes

# A comment.
ROUNDS = 3


def main() -> None:
    """More words."""
    from numpy import array
    print(array(ROUNDS))
'''


def test_a_digest_changes_with_the_measurement_and_not_with_words(digests: ModuleType) -> None:
    def of(text: str, beside: str | None = None) -> str:
        return digests.script_sha256("one", {"one": text, "other": beside}.get)

    was = of(_SCRIPT)
    assert of(_SCRIPT.replace("ROUNDS = 3", "ROUNDS = 4")) != was
    for same in ("Words", "More words", "A comment", "from edgepose.pose import boxes", "import os"):
        assert of(_SCRIPT.replace(same, "" if "import" in same else "Other")) == was
    renamed = _SCRIPT.replace("array", "asarray")
    assert of(renamed) != was
    assert digests.script_sha256("one", {"one": renamed}.get, {"asarray": "array"}) == was
    with pytest.raises(ValueError, match="no name"):
        digests.script_sha256("one", {"one": _SCRIPT}.get, {"3": "4"})
    joined = _SCRIPT.replace("import os", "from other import x")
    assert of(joined, "x = 1\n") != of(joined, "x = 2\n") != was


def test_memory_is_that_of_all_processes(tmp_path: Path) -> None:
    from process_memory import peak_pss_mib

    script = tmp_path / "family.py"
    script.write_text(
        "import subprocess, sys, time\nheld = bytearray(40 << 20)\n"
        "held[::4096] = b'x' * len(held[::4096])\n"
        "if len(sys.argv) < 2:\n    subprocess.run([sys.executable, sys.argv[0], 'child'], check=True)\n"
        "else:\n    time.sleep(0.3)\n",
        encoding="utf-8",
    )
    alone_mib, alone = peak_pss_mib([sys.executable, str(script), "child"])
    both_mib, both = peak_pss_mib([sys.executable, str(script)])
    assert (alone, both) == (1, 2)
    assert 40 < alone_mib < 80
    assert both_mib > 80


def test_a_record_stands_only_where_nothing_but_names_changed(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    record = json.loads((RESULTS / "tracking.json").read_text(encoding="utf-8"))
    record["made_by"].pop("renamed_since", None)
    was = record["made_by"]["script_sha256"]
    (tmp_path / "tracking.json").write_text(json.dumps(record), encoding="utf-8")
    monkeypatch.setattr(bench, "RESULTS", tmp_path)
    real = bench.script_sha256
    monkeypatch.setattr(bench, "script_sha256", lambda name, renamed=None: was if renamed else real(name))
    bench._rename("tracking", {"new_name": "old_name"})
    kept = json.loads((tmp_path / "tracking.json").read_text(encoding="utf-8"))
    assert kept["made_by"]["renamed_since"] == {"new_name": "old_name"}
    assert kept["edgepose"] == record["edgepose"]
    monkeypatch.setattr(bench, "script_sha256", lambda *_names, **_options: "another digest")
    with pytest.raises(SystemExit, match="more than names"):
        bench._rename("tracking", {"third": "fourth"})
    assert json.loads((tmp_path / "tracking.json").read_text(encoding="utf-8")) == kept
