"""Runs tests again and again beside busy processes, and says which failed how often.

``python -m tests.support.stress --rounds 20 --busy 4 -- -m timing`` is ``make stress``; what comes after
``--`` are options of pytest. Exit code 1 where any test failed in any round.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

# Pytest's own: all passed, and some failed (https://docs.pytest.org/en/stable/reference/exit-codes.html).
_PASSED, _FAILED = 0, 1


@dataclass
class Tally:
    """What all rounds together showed.

    Attributes:
        tests: How many ran in each round.
        failed: In how many rounds a test failed, by its name.
        broken: Rounds that ended in another way than with passed or failed tests.
    """

    tests: list[int] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)
    broken: int = 0

    def table(self) -> str:
        """For people."""
        rounds = len(self.tests)
        lines = [f"{count:4} of {rounds} rounds: {name}" for name, count in self.failed.most_common()]
        lines.append(
            f"{sum(self.tests)} tests in {rounds} rounds, {sum(self.failed.values())} failures of "
            f"{len(self.failed)} tests, {self.broken} rounds that did not end well"
        )
        return "\n".join(lines)

    @property
    def steady(self) -> bool:
        """Whether every round ran tests, and all of them passed."""
        return not self.failed and not self.broken and all(self.tests)


def read_round(report: Path) -> tuple[int, list[str]]:
    """How many tests a round ran, skipped ones left out, and which failed, from pytest's JUnit XML."""
    ran, failed = 0, []
    # Written by pytest a moment ago.
    for case in ET.parse(report).iter("testcase"):  # noqa: S314
        kinds = {outcome.tag for outcome in case}
        ran += "skipped" not in kinds
        if kinds & {"failure", "error"}:
            failed.append(f"{case.get('classname')}::{case.get('name')}")
    return ran, sorted(set(failed))


@contextmanager
def busy_processes(count: int) -> Iterator[list[int]]:
    """So many processes that compute without end; they end with this one."""
    code = "import os, sys\nparent = os.getppid()\nwhile os.getppid() == parent:\n    sum(range(100_000))\n"
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(count)]
    try:
        yield [process.pid for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def run_rounds(rounds: int, busy: int, options: Sequence[str]) -> Tally:
    """Runs pytest so often beside so many busy processes, and prints how each round ended."""
    tally = Tally()
    with busy_processes(busy), tempfile.TemporaryDirectory() as folder:
        for number in range(1, rounds + 1):
            report = Path(folder) / f"{number}.xml"
            command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *options]
            begun_s = time.monotonic()
            code = subprocess.run(command, check=False).returncode
            ran, failed = read_round(report) if report.exists() else (0, [])
            tally.tests.append(ran)
            tally.failed.update(failed)
            tally.broken += code not in {_PASSED, _FAILED}
            took_s = time.monotonic() - begun_s
            _say(
                f"round {number} of {rounds}, {busy} busy processes: {ran} tests, {len(failed)} failed, "
                f"exit code {code}, {took_s:.0f} s"
            )
    return tally


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 (a program's output)


def main() -> int:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--busy", type=int, default=4, help="processes that compute without end")
    parser.add_argument("options", nargs="*", help="of pytest, after --")
    arguments = parser.parse_args()
    tally = run_rounds(arguments.rounds, arguments.busy, arguments.options)
    _say(tally.table())
    return 0 if tally.steady else 1


if __name__ == "__main__":
    sys.exit(main())
