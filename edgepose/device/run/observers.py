"""Who looks on while a run goes on: telemetry, a socket, a page, drift. Opened before the lock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgepose.device.events import EventBus
from edgepose.device.install.layout import Layout, default_preview_root, is_own_var, require_own_var
from edgepose.device.install.owner import require_state
from edgepose.device.output.pose_sink import PoseSink
from edgepose.device.run.estimator_choice import EstimatorChoice
from edgepose.errors import ConfigError

if TYPE_CHECKING:
    from types import TracebackType

    from edgepose.device.monitor.drift_sink import DriftChoice


@dataclass(frozen=True)
class ObserverChoice:
    """Which ones.

    Attributes:
        telemetry_root: The device root that keeps telemetry; None keeps none.
        socket: Where poses are streamed; None streams none.
        page_port: Port of the live page on 127.0.0.1, 0 takes a free one; None shows none.
        drift: What is watched for drift; None watches nothing.
    """

    telemetry_root: Path | None = None
    socket: Path | None = None
    page_port: int | None = None
    drift: DriftChoice | None = None


def telemetry_root(models: EstimatorChoice, *, wanted: bool | None) -> Path | None:
    """The root in which a run keeps telemetry.

    Args:
        models: What runs.
        wanted: What the user said; where nothing was said, a run of an installed model keeps telemetry in its
            root, and a run of a model file or a bundle keeps none. Nor does a run by another user than the
            one whose telemetry it is.

    Raises:
        ConfigError: Telemetry is wanted, and nothing is installed in the root, or it is another user's.
    """
    root = models.root or default_preview_root()
    if wanted is None:
        installed_runs = models.model is None and models.bundle is None
        return root if installed_runs and Layout(root).state.is_file() and is_own_var(root) else None
    if wanted:
        require_state(Layout(root))
        require_own_var(root)
        return root
    return None


def drift_choice(models: EstimatorChoice) -> DriftChoice:
    """Drift of the installed model that a run uses.

    Raises:
        ConfigError: A model file or a bundle runs, or nothing is installed, or it is another user's.
    """
    from edgepose.device.monitor.drift_sink import DriftChoice

    if models.model is not None or models.bundle is not None:
        raise ConfigError(
            "Drift is watched for an installed model, not for a file.",
            "Leave out --drift, or install the model with edgepose deploy.",
        )
    root = models.root or default_preview_root()
    require_state(Layout(root))
    require_own_var(root)
    return DriftChoice(root)


@contextmanager
def open_observers(
    choice: ObserverChoice, say: Callable[[str], None], events: EventBus
) -> Iterator[tuple[PoseSink, ...]]:
    """Opens them and closes them at the end; telemetry and page subscribe to ``events``, drift publishes.

    Raises:
        ConfigError: The socket or the port is taken.
        DeviceError: SQLite is too old for telemetry, or a process does not start.
    """
    with ExitStack() as opened:
        sinks: list[PoseSink] = []

        def add(sink: PoseSink) -> None:
            def close(
                error_type: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
            ) -> None:
                sink.close(complete=error_type is None)

            opened.push(close)
            sinks.append(sink)

        # Imported where they are wanted: each costs a start some milliseconds.
        if choice.telemetry_root is not None:
            from edgepose.device.monitor.telemetry_sink import TelemetrySink

            telemetry = TelemetrySink(choice.telemetry_root, say)
            events.subscribe(telemetry.note)
            add(telemetry)
        if choice.socket is not None:
            from edgepose.device.output.streams import SocketSink

            add(SocketSink(choice.socket, say))
        if choice.page_port is not None:
            from edgepose.device.output.streams import LivePageSink

            page = LivePageSink(choice.page_port, say)
            events.subscribe(page.note)
            add(page)
        if choice.drift is not None:
            from edgepose.device.monitor.drift_sink import open_drift

            add(open_drift(choice.drift, events, say, opened))
        yield tuple(sinks)
