"""``python -m tests.support.proofs_ran RESULTS.xml...``: did every test that SECURITY.md names run and pass?

RESULTS are what pytest wrote with ``--junitxml``, of one run or of several: a test that was skipped in one
may have run in another. ``--vm`` asks for the tests of the virtual machine, else the others are asked for.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.support.security_table import PROJECT, Promise, read_table


def outcomes(results: Iterable[Path]) -> dict[str, list[str]]:
    """Of each test (its cases together): ``passed``, or why it did not pass."""
    found: dict[str, list[str]] = {}
    for path in results:
        for case in ET.parse(path).iter("testcase"):  # noqa: S314 (pytest wrote it a moment ago)
            name = re.sub(r"\[.*", "", case.get("name", ""))
            key = f"{case.get('classname', '').replace('.', '/')}.py::{name}"
            bad = [f"{child.tag}: {child.get('message', '')}" for child in case if child.tag != "properties"]
            bad = [text for text in bad if text.split(":")[0] in ("skipped", "failure", "error")]
            found.setdefault(key, []).append(bad[0] if bad else "passed")
    return found


def not_proved(rows: Sequence[Promise], ran: dict[str, list[str]], *, in_vm: bool) -> list[str]:
    """The named tests without a case that passed, or with one that failed."""
    missing = []
    for proof in sorted({proof for row in rows for proof in row.proofs if proof.in_vm == in_vm}, key=str):
        cases = ran.get(str(proof), ["it did not run"])
        bad = [case for case in cases if not case.startswith(("passed", "skipped"))]
        if bad or "passed" not in cases:
            missing.append(f"{proof}: {(bad or cases)[0]}")
    return missing


def main() -> int:
    """Prints what is not proved; how many there are is in the exit code."""
    parser = argparse.ArgumentParser(description="Did every test that SECURITY.md names run and pass?")
    parser.add_argument("results", type=Path, nargs="+", metavar="RESULTS.xml")
    parser.add_argument("--vm", action="store_true", help="Ask for the tests of the virtual machine.")
    given = parser.parse_args()
    rows = read_table((PROJECT / "SECURITY.md").read_text(encoding="utf-8"))
    missing = not_proved(rows, outcomes(given.results), in_vm=given.vm)
    for line in missing:
        sys.stderr.write(f"SECURITY.md: not proved here: {line}\n")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
