"""Several processes on the JAX engine: one program over all devices (docs/adr/0020-several-machines.md).

Keras's data parallelism compiles the step for the devices of all processes at once. Therefore batch
statistics, loss and the norm of the gradient are those of the whole batch, as with one process.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import keras
import numpy as np
from jax.experimental import multihost_utils

from edgepose.errors import ConfigError
from edgepose.host.distill.peers import Arrays

HEARTBEAT_TIMEOUT_S = 20


@dataclass(frozen=True)
class JaxPeers:
    """The processes that ``join`` brought together."""

    rank: int
    count: int

    def of_leader(self, value: float) -> float:
        """See ``Peers``."""
        # As bytes: JAX would round a float64.
        (data,) = self.arrays_of_leader([np.frombuffer(np.float64(value).tobytes(), np.uint8)])
        return float(np.frombuffer(np.asarray(data).tobytes(), np.float64)[0])

    def arrays_of_leader(self, arrays: Arrays) -> Arrays:
        """See ``Peers``."""
        sent = multihost_utils.broadcast_one_to_all(tuple(arrays), is_source=self.rank == 0)
        return [np.asarray(array) for array in sent]

    def require_agreement(self, digest: str) -> None:
        """See ``Peers``."""
        own = np.frombuffer(bytes.fromhex(digest), np.uint8)
        digests = np.asarray(multihost_utils.process_allgather(own)).reshape(self.count, -1)
        others = [rank for rank in range(self.count) if not np.array_equal(digests[rank], digests[0])]
        if others:
            raise ConfigError(
                f"Worker {others[0]} was started with other data or options than worker 0.",
                "Give all workers the same command but for --rank, and the same pictures and labels.",
            )

    def part(self) -> None:
        """See ``Peers``. Waits for all to be done."""
        keras.distribution.set_distribution(None)
        jax.distributed.shutdown()


def join(coordinator: str, count: int, rank: int, timeout_s: int) -> JaxPeers:
    """Meets the others and spreads all that Keras builds from now on over the devices of all.

    The coordinator is HOST:PORT of rank 0. JAX ends the process when ``timeout_s`` is over.
    """
    jax.distributed.initialize(
        coordinator,
        count,
        rank,
        cluster_detection_method="deactivate",
        initialization_timeout=timeout_s,
        heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT_S,
    )
    # At once, while all are here: gloo gives the last one 30 s to come to the first exchange.
    multihost_utils.sync_global_devices("met")
    devices = keras.distribution.list_devices()
    keras.distribution.set_distribution(
        keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False)
    )
    return JaxPeers(rank, count)


def require_fitting_batch(batch_size: int) -> None:
    """Checks that every device of all processes gets equally many samples."""
    devices = jax.device_count()
    if batch_size % devices:
        raise ConfigError(
            f"A batch of {batch_size} samples cannot be dealt out evenly to the {devices} devices of "
            f"{jax.process_count()} workers.",
            f"Give --batch-size a multiple of {devices}.",
        )
