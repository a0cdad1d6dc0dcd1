"""Does any harmed bundle get past a device, and does any crash the verifier?

Usage: python benchmarks/fuzz_bundles.py [--count N] [--seed S] [--output FILE.json]
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bundle_mutations import MUTATIONS
from bundle_workshop import NOW, Workshop, make_workshop

from edgepose.errors import TrustError
from edgepose.trust.bundle_reader import read_bundle
from edgepose.trust.signed_bundle import TrustAnchor
from edgepose.trust.verification import verify_by

_OUTPUT = Path(__file__).resolve().parent / "results" / "fuzz_bundles.json"


@dataclass
class FuzzResult:
    """What became of the harmed bundles.

    Attributes:
        mutated: Class to number of bundles.
        unchanged: Draws that changed no byte; they are not counted.
        accepted: Class and draw of those that got past.
        crashed: Class, draw and error of those that raised anything but a TrustError.
        controls: How often the unharmed bundle was tried, and accepted.
    """

    mutated: Counter[str] = field(default_factory=Counter)
    unchanged: int = 0
    accepted: list[str] = field(default_factory=list)
    crashed: list[str] = field(default_factory=list)
    controls: int = 0


def fuzz(shop: Workshop, folder: Path, count: int, seed: int) -> FuzzResult:
    """Tries ``count`` harmed bundles on each of the workshop's devices, the classes in turn.

    The unharmed one is tried with every hundredth.

    Raises:
        TrustError: The unharmed bundle was refused.
    """
    result, path = FuzzResult(), folder / "bundle.epb"
    number = 0
    while sum(result.mutated.values()) < count:
        mutate = MUTATIONS[number % len(MUTATIONS)]
        name = f"{mutate.__name__} {seed}:{number}"
        # The draw's own generator, so that one alone can be repeated.
        harmed = mutate(random.Random(f"{seed}:{number}"), shop)  # noqa: S311
        number += 1
        if harmed == shop.whole:
            result.unchanged += 1
            continue
        result.mutated[mutate.__name__] += 1
        path.write_bytes(harmed)
        for anchor in shop.anchors:
            _try(anchor, path, name, result)
        if sum(result.mutated.values()) % 100 == 1:
            path.write_bytes(shop.whole)
            for anchor in shop.anchors:
                verify(anchor, path)
                result.controls += 1
    return result


def _try(anchor: TrustAnchor, path: Path, name: str, result: FuzzResult) -> None:
    try:
        verify(anchor, path)
    except TrustError:
        return
    # Whatever else comes out is what is looked for.
    except Exception as problem:  # noqa: BLE001
        result.crashed.append(f"{name}: {problem!r}"[:300])
        return
    result.accepted.append(name)


def verify(anchor: TrustAnchor, path: Path) -> None:
    """Takes a bundle as a device would.

    Raises:
        TrustError: It is refused.
        ValueError: It was taken without a verdict.
    """
    if read_bundle(path, verify=verify_by(anchor, NOW)).signed is None:
        raise ValueError("nothing was verified")


def main() -> None:
    """Runs the fuzz, writes the record, and ends with 1 when anything got past."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=_OUTPUT)
    options = parser.parse_args()
    start_ns = time.monotonic_ns()
    with tempfile.TemporaryDirectory() as name:
        result = fuzz(make_workshop(Path(name)), Path(name), options.count, options.seed)
    record: dict[str, Any] = {
        "schema": "edgepose.fuzz/1",
        "name": "fuzz_bundles",
        "seed": options.seed,
        "mutated": sum(result.mutated.values()),
        "by_class": dict(sorted(result.mutated.items())),
        "devices": ["skipped two rotations", "took the bundle before"],
        "draws_that_changed_nothing": result.unchanged,
        "accepted": result.accepted,
        "crashed": result.crashed,
        "unharmed_tried_and_accepted": result.controls,
        "seconds": round((time.monotonic_ns() - start_ns) / 1e9, 1),
        "versions": {package: version(package) for package in ("tuf", "securesystemslib", "cryptography")},
        "command": f"python benchmarks/fuzz_bundles.py --count {options.count} --seed {options.seed}",
    }
    options.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))
    sys.exit(bool(result.accepted or result.crashed))


if __name__ == "__main__":
    main()
