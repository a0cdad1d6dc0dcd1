"""A worker of a team on samples made in memory; a test's supervisor starts it in place of the real one.

The task's request says where (output), how long (steps) and how often to save (checkpoint_every). A seed
above 100 gives worker 1 other data. The supervisor's line says pid, then rank and loss of every step, then
rank and digest of the weights.
"""

from __future__ import annotations

import hashlib
import os

from edgepose.host.distill.batches import Batch, BatchSettings, BatchSource
from edgepose.host.distill.jax_peers import join
from edgepose.host.distill.peers import Share
from edgepose.host.distill.team import WorkerEvent, WorkerTask
from edgepose.host.distill.trainer import OptimizerSettings, Trainer, configure_backend
from edgepose.host.distill.training import LoopSettings, TrainingLoop, Watchers
from edgepose.host.distill.worker import main, send
from tests.support.distill_curve import RATE
from tests.support.distill_samples import TINY, sample_cache


class _Telling(Trainer):
    """Tells every loss; at a rate that does not change, so that curves compare."""

    def __init__(self, task: WorkerTask) -> None:
        super().__init__(TINY, OptimizerSettings())
        self._task = task

    def step(self, batch: Batch, rate: float) -> float:
        assert rate > 0
        assert len(batch.pictures) == self._task.request.batch_size // self._task.count
        loss = super().step(batch, RATE)
        send(self._task, WorkerEvent(line=f"loss {self._task.rank} {loss:.9g}"))
        return loss


def train(task: WorkerTask) -> None:
    request = task.request
    send(task, WorkerEvent(line=f"pid {task.rank} {os.getpid()}"))
    peers = join(task.coordinator, task.count, task.rank, task.join_timeout_s)
    configure_backend(5, None)
    trainer = _Telling(task)
    share = Share(task.rank, task.count)
    batches = BatchSource(sample_cache(), TINY, BatchSettings(request.batch_size, 5, share=share))
    settings = LoopSettings(request.steps or 1, RATE, checkpoint_every=request.checkpoint_every)
    fingerprint = {"data": task.rank if request.seed > 100 else 0}
    TrainingLoop(trainer, batches, settings, fingerprint, request.output, Watchers()).run(peers=peers)
    digest = hashlib.sha256(b"".join(array.tobytes() for array in trainer.arrays())).hexdigest()
    student = trainer.averaged_student()
    peers.part()
    finite = all(abs(array).max() < 1e6 for array in student.get_weights())
    send(task, WorkerEvent(line=f"weights {task.rank} {digest if finite else 'not finite'}"))


if __name__ == "__main__":
    main(train)
