"""The runtime as a service: decides which version runs, runs it, and tells systemd."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgepose.device.estimator_choice import EstimatorChoice
from edgepose.device.install.service_start import begin_service, prove_service
from edgepose.device.run_summary import RunSummary
from edgepose.device.runtime import RunRequest, run
from edgepose.device.units.notice import ServiceNotice
from edgepose.errors import DeployError


def run_service(
    source: str, root: Path, output: Path | None, stop: Callable[[], bool], say: Callable[[str], None]
) -> RunSummary:
    """Runs until it is stopped or the source ends.

    Args:
        source: SOURCE as typed.
        root: The device root.
        output: JSON lines; None writes none.
        stop: Asked after each frame.
        say: Takes one line of progress.

    Raises:
        EdgeposeError: As ``begin_service`` and ``run`` raise.
    """

    def steady() -> None:
        try:
            prove_service(root)
        except DeployError as problem:
            # A full disk must not stop poses; the version stays on probation.
            say(f"Running steadily, which could not be noted: {problem.message}")

    begin_service(root, say)
    notice = ServiceNotice(steady=steady)
    try:
        models = EstimatorChoice(root=root)
        return run(RunRequest(source, models, output=output, observers=(notice,)), stop)
    finally:
        notice.close(complete=True)
