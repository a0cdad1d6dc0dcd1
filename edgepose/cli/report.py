"""``edgepose report``.

Gives the host's report the device's eyes and pen: how `run` reads a source, and how it draws poses.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from edgepose.cli.options import PATH, output_option
from edgepose.cli.output import say
from edgepose.device.capture.open_source import open_source
from edgepose.device.capture.source_address import SourceAddress
from edgepose.device.output.video_sink import draw_poses
from edgepose.host.report.drawn_frames import DrawRequest
from edgepose.records.files import write_whole


def draw_request(video: Path, poses: Path) -> DrawRequest:
    """What to show of a video file or a folder of images."""
    return DrawRequest(video, poses, _frames, draw_poses)


def _frames(path: Path) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    source = open_source(SourceAddress("path", str(path)))
    try:
        while not source.ended:
            frame = source.read(0.0)
            if frame is not None:
                yield frame.index, frame.image
    finally:
        source.close()


def _data_name(
    _ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]
) -> list[tuple[str, str]]:
    pairs = [(digest.strip(), name.strip()) for digest, _, name in (value.partition("=") for value in values)]
    for value, pair in zip(values, pairs, strict=True):
        if not all(pair):
            raise click.BadParameter(f"'{value}' is not DIGEST=NAME.")
    return pairs


@click.command(
    name="report",
    epilog="Example: edgepose report int8.json bench.json deploy.json --poses poses.jsonl --video clip.mp4 "
    "-o report.html",
)
@click.argument("records", type=PATH, nargs=-1, metavar="RECORD.json...")
@click.option("--poses", type=PATH, metavar="POSES.jsonl", help="What run --output wrote; needs --video.")
@click.option("--video", type=PATH, metavar="VIDEO", help="Video or folder of images that --poses is about.")
@click.option("--title", default="edgepose report", show_default=True, metavar="TEXT", help="Of the page.")
@click.option(
    "--data",
    "data_names",
    multiple=True,
    callback=_data_name,
    metavar="DIGEST=NAME",
    help="What pictures accuracy was measured on, by dataset.digest or how it begins; repeat it.",
)
@output_option
def command(
    *,
    records: tuple[Path, ...],
    poses: Path | None,
    video: Path | None,
    title: str,
    data_names: list[tuple[str, str]],
    output: Path,
) -> None:
    """Write one HTML page from records: pictures, accuracy against latency, int8 against float, deployment.

    RECORDs are the JSON of evaluate, benchmark, deploy, quantize, status and distill. The page needs no other
    file, runs no script and loads nothing. What no record says is "not measured".
    """
    if not records and poses is None:
        raise click.UsageError("Give at least one RECORD.json, or --poses with --video.")
    if (poses is None) != (video is None):
        raise click.UsageError("--poses and --video belong together.")
    # OpenCV takes longer to import than `--help` may.
    from edgepose.host.report.drawn_frames import draw_frames
    from edgepose.host.report.page import render_page
    from edgepose.host.report.reading import ReportRequest, read_report_inputs

    request = ReportRequest(records, title, tuple(data_names))
    drawn = None if poses is None or video is None else draw_frames(draw_request(video, poses))
    page = render_page(read_report_inputs(request, drawn))
    write_whole(output, [page.encode()])
    say(f"{output}: {len(page) / 2**20:.2f} MiB, opens in any browser without a network")
