"""One process that trains for a few steps on the backend that KERAS_BACKEND names, and writes its losses.

Usage: python -m tests.support.distill_curve FOLDER STEPS FILE. Goes on from the checkpoint in FOLDER; where
there is none, it trains for two steps and leaves one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from edgepose.host.distill.checkpoints import Checkpoint, CheckpointFolder

FINGERPRINT = {"data": 0}
FIRST_STEPS = 2
RATE = 2e-3


def main() -> None:
    # Keras is not for those who read the constants above: every process of the tests collects every file.
    from edgepose.host.distill.batches import BatchSettings, BatchSource
    from edgepose.host.distill.trainer import OptimizerSettings, Trainer, configure_backend
    from tests.support.distill_samples import TINY, sample_cache

    folder, steps, target = CheckpointFolder(Path(sys.argv[1])), int(sys.argv[2]), Path(sys.argv[3])
    configure_backend(5, None)
    trainer = Trainer(TINY, OptimizerSettings())
    batches = BatchSource(sample_cache(), TINY, BatchSettings(4, 5))
    found, _ = folder.load_latest(FINGERPRINT)
    if found is None:
        for step in range(FIRST_STEPS):
            trainer.step(batches.batch(step), RATE)
        folder.save(Checkpoint(FIRST_STEPS, 1.0, FINGERPRINT, trainer.arrays()))
    else:
        trainer.restore(found.arrays)
    losses = [trainer.step(batches.batch(step), RATE) for step in range(FIRST_STEPS, FIRST_STEPS + steps)]
    target.write_text(json.dumps(losses))


if __name__ == "__main__":
    main()
