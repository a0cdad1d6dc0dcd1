"""What ``edgepose benchmark`` and ``edgepose-device benchmark`` have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgepose.cli.camera import camera_file_option, camera_of

if TYPE_CHECKING:
    from edgepose.device.capture.source_address import SourceAddress
    from edgepose.device.estimator_choice import EstimatorChoice
    from edgepose.spec.benchmark_report import BenchmarkReport
    from edgepose.spec.device_profile import DeviceProfile

_duration_option = click.option(
    "--duration-s",
    type=click.FloatRange(0.1, 86400),
    metavar="S",
    help="Shortest time; 60 s as MLPerf Mobile asks. From 600 s on, the speed kept over 10 minutes.",
)
_samples_option = click.option(
    "--samples",
    type=click.IntRange(min=1),
    metavar="N",
    help="Fewest timed frames; 1,024 as MLPerf Mobile asks.",
)
_source_option = click.option(
    "--source", metavar="SOURCE", help="Also the age of frames, end to end: a camera, or a video as one."
)
_unlocked_option = click.option(
    "--allow-unlocked",
    "unlocked",
    is_flag=True,
    help="Look at a camera even where the kernel cannot lock frames in.",
)


def length_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--duration-s`` and ``--samples``."""
    decorated: Callable[..., Any] = _duration_option(_samples_option(command))
    return decorated


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--source``, ``--camera-file`` and ``--allow-unlocked``."""
    decorated: Callable[..., Any] = _source_option(camera_file_option(_unlocked_option(command)))
    return decorated


def source_of(source: str | None, camera_file: Path | None) -> SourceAddress | None:
    """What ``--source`` and ``--camera-file`` name; None where neither was given.

    Raises:
        ConfigError: It is of no use.
    """
    return None if source is None and camera_file is None else camera_of(source, camera_file, "--source")


def benchmark_here(
    models: EstimatorChoice,
    profile: DeviceProfile | None,
    length: tuple[float | None, int | None],
    source: SourceAddress | None,
    *,
    unlocked: bool,
    json_target: str | None,
) -> BenchmarkReport:
    """Measures on this machine.

    Args:
        models: What.
        profile: Whose device; None where it has its own.
        length: ``--duration-s`` and ``--samples``.
        source: Of the age of frames; None measures none.
        unlocked: ``--allow-unlocked``.
        json_target: ``--json``, which is written in the end.

    Raises:
        EdgeposeError: As ``benchmark_chosen``.
    """
    if models.detector is not None and source is None:
        raise click.UsageError("--detector is measured with --source alone; give it as MODEL otherwise.")
    from edgepose.cli.output import progress_bar, say
    from edgepose.device.benchmark.model_benchmark import ModelBenchmark, benchmark_chosen
    from edgepose.device.capture.supervised.kept_process import CaptureOptions
    from edgepose.device.sandbox.live_lock import folders_of_outputs, live_lock
    from edgepose.inference.benchmark_rule import length_asked

    writable = folders_of_outputs([json_target])
    lock = None if source is None else live_lock(source, say, unlocked=unlocked, writable=writable)
    with progress_bar("benchmark") as progress:
        return benchmark_chosen(
            ModelBenchmark(
                models,
                profile,
                length_asked(*length),
                source,
                lock,
                CaptureOptions(lock=not unlocked, say=say),
                progress,
            )
        )
