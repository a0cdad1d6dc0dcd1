"""A training of its own process that a test may kill.

Usage: python -m tests.support.distill_worker FOLDER STEPS CHECKPOINT_EVERY
"""

from __future__ import annotations

import sys
from pathlib import Path

from edgepose.host.distill.batches import BatchSettings, BatchSource
from edgepose.host.distill.trainer import OptimizerSettings, Trainer, configure_backend
from edgepose.host.distill.training import LoopSettings, TrainingLoop, Watchers
from tests.support.distill_samples import TINY, sample_cache


def main() -> None:
    folder, steps, every = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    folder.mkdir(parents=True, exist_ok=True)
    configure_backend(5, 1)
    trainer = Trainer(TINY, OptimizerSettings())
    batches = BatchSource(sample_cache(), TINY, BatchSettings(4, 5))
    settings = LoopSettings(steps, 2e-3, checkpoint_every=every)
    TrainingLoop(trainer, batches, settings, {"steps": steps}, folder, Watchers()).run()


if __name__ == "__main__":
    main()
