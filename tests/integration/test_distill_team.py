"""Several processes train as one does, a lost one is noticed, and JAX learns what TensorFlow learns."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from edgepose.errors import ConfigError, DeviceError, EdgeposeError
from edgepose.host.distill.checkpoints import CheckpointFolder
from edgepose.host.distill.request import DistillationRequest, Observers
from edgepose.host.distill.team import Team, requested_team
from tests.support.distill_curve import FINGERPRINT, FIRST_STEPS
from tests.support.waiting import PATIENCE_S, until

PROJECT = Path(__file__).resolve().parents[2]
MODULE = "tests.support.distill_team_worker"
STEPS = 8

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("distill_team"),
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("jax", reason="jax, the engine of several workers, is not installed")
    return tmp_path_factory.mktemp("team")


@pytest.fixture(scope="module")
def curves(base: Path) -> dict[str, list[float]]:
    """Losses of one process on each backend, from the checkpoint that the first leaves in base/start."""
    return {backend: _curve(base, backend) for backend in ("tensorflow", "jax")}


@pytest.fixture(autouse=True)
def _workers_environment(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in _environment(base).items():
        monkeypatch.setenv(name, value)


def _environment(base: Path) -> dict[str, str]:
    return {
        "PYTHONPATH": str(PROJECT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",
        "JAX_PLATFORMS": "cpu",
        # What one process compiled, the next ones load.
        "JAX_COMPILATION_CACHE_DIR": str(base / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


def _curve(base: Path, backend: str) -> list[float]:
    target = base / f"{backend}.json"
    call = [sys.executable, "-m", "tests.support.distill_curve", str(base / "start"), str(STEPS), str(target)]
    environment = {**os.environ, **_environment(base), "KERAS_BACKEND": backend}
    done = subprocess.run(call, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(target.read_text())


def _request(base: Path, name: str, steps: int, seed: int = 0) -> DistillationRequest:
    output = base / name
    output.mkdir()
    if (base / "start").is_dir():
        shutil.copytree(base / "start", output / "checkpoints")
    return DistillationRequest("tiny", (), output, steps=steps, batch_size=4, checkpoint_every=3, seed=seed)


def _heard(lines: list[str], word: str, rank: int) -> list[str]:
    found = [line.split() for line in lines]
    return [parts[2] for parts in found if parts[:2] == [word, str(rank)]]


def test_jax_learns_what_tensorflow_learns(curves: dict[str, list[float]]) -> None:
    assert len(curves["jax"]) == STEPS
    np.testing.assert_allclose(curves["jax"], curves["tensorflow"], rtol=1e-3)
    # The control: these losses differ more from step to step than the backends do.
    assert (
        np.abs(np.diff(curves["tensorflow"])).min()
        > 3 * np.abs(np.subtract(curves["jax"], curves["tensorflow"])).max()
    )


def test_two_workers_learn_what_one_does_and_go_on_from_its_checkpoint(
    base: Path, curves: dict[str, list[float]]
) -> None:
    from edgepose.host.distill.supervisor import supervise

    lines: list[str] = []
    request = _request(base, "pair", FIRST_STEPS + STEPS)
    team = requested_team(None, None, 2)
    assert team is not None
    supervise(request, team, Observers(say=lines.append), MODULE)
    for rank in (0, 1):
        losses = [float(loss) for loss in _heard(lines, "loss", rank)]
        np.testing.assert_allclose(losses, curves["jax"], rtol=1e-4)
    (first,), (second,) = _heard(lines, "weights", 0), _heard(lines, "weights", 1)
    assert first == second, "the workers applied different gradients"
    found, notes = CheckpointFolder(request.output / "checkpoints").load_latest(FINGERPRINT)
    assert (found is not None, notes) == (True, [])
    assert found is not None
    assert found.step == FIRST_STEPS + STEPS
    logged = [
        json.loads(line)["step"] for line in (request.output / "metrics.jsonl").read_text().splitlines()
    ]
    assert logged == [FIRST_STEPS + STEPS], "only worker 0 writes the log"


def test_a_killed_worker_is_noticed_on_both_hosts_and_the_checkpoint_is_whole(
    base: Path, curves: dict[str, list[float]]
) -> None:
    request = _request(base, "killed", 10_000_000)
    local = requested_team(None, None, 2)
    assert local is not None
    hosts = [_Host(request, Team(local.addresses, (rank,), 300)) for rank in (0, 1)]

    def has_begun() -> bool:
        assert all(host.is_alive() for host in hosts), [host.error for host in hosts]
        return _checkpoint_after(request.output, FIRST_STEPS)

    until(has_begun, "a checkpoint of the team", limit_s=600)
    os.kill(int(_heard(hosts[1].lines, "pid", 1)[0]), signal.SIGKILL)
    for host in hosts:
        host.join(PATIENCE_S)
        assert isinstance(host.error, DeviceError), "not noticed"
        assert "is whole" in host.error.hint
    assert "ended by SIGKILL" in str(hosts[1].error)
    assert "another worker" in str(hosts[0].error)
    found, notes = CheckpointFolder(request.output / "checkpoints").load_latest(FINGERPRINT)
    assert notes == []
    assert found is not None
    assert found.step > FIRST_STEPS
    assert len(curves) == 2


def test_workers_with_different_data_are_refused(base: Path) -> None:
    from edgepose.host.distill.supervisor import supervise

    request = _request(base, "different", 10, seed=101)
    team = requested_team(None, None, 2)
    assert team is not None
    with pytest.raises(ConfigError, match="Worker 1 was started with other data or options"):
        supervise(request, team, Observers(), MODULE)
    assert not _checkpoint_after(request.output, FIRST_STEPS)


def _checkpoint_after(output: Path, step: int) -> bool:
    return any(path.name > f"step-{step:08d}.npz" for path in (output / "checkpoints").glob("step-*.npz"))


class _Host(threading.Thread):
    """What ``edgepose distill --workers ... --rank R`` does on one host."""

    def __init__(self, request: DistillationRequest, team: Team) -> None:
        super().__init__(daemon=True)
        self._request, self._team = request, team
        self.lines: list[str] = []
        self.error: EdgeposeError | None = None
        self.start()

    def run(self) -> None:
        from edgepose.host.distill.supervisor import supervise

        try:
            supervise(self._request, self._team, Observers(say=self.lines.append), MODULE)
        except EdgeposeError as error:
            self.error = error
