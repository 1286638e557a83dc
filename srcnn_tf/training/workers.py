"""Training on several GPUs or machines: which patches each computes, and what all of them agree on.

Each worker is a process that holds the whole state. Of a batch, it computes the gradients of its own patches; their sum
over all workers is what each one's optimizer gets, so that all make the same update. Per step, this sends as many
numbers as the network has weights. Several GPUs of one worker share its patches in the same way, and its state.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import tensorflow as tf

from srcnn_tf.errors import RunError
from srcnn_tf.system.devices import training_strategy, worker_number


@dataclass(frozen=True)
class Workers:
    """The workers that train together, as one of them sees them.

    Attributes:
        strategy: TensorFlow's; it has a replica for each GPU of each worker, or one per worker without GPUs.
        number: of this worker; number 0 is the chief, which alone writes checkpoints, logs and weights.
        count: number of workers.
    """

    strategy: tf.distribute.Strategy
    number: int = 0
    count: int = 1

    @property
    def is_chief(self) -> bool:
        """Whether this worker writes the files."""
        return self.number == 0

    def share(self, batch_size: int) -> slice:
        """Returns which patches of a batch this worker computes."""
        return slice(*(batch_size * number // self.count for number in (self.number, self.number + 1)))

    def sum_over_replicas(self, function: Callable[..., list[tf.Tensor]], *batches: tf.Tensor) -> Sequence[tf.Tensor]:
        """Calls a function on the share of each replica, and sums its results over the replicas of all workers.

        Args:
            function: of as many tensors as there are `batches`, of fewer patches.
            batches: tensors of this worker's patches.
        """
        if self.strategy.num_replicas_in_sync == 1:
            return function(*batches)
        replicas, size = self.strategy.num_replicas_in_sync // self.count, batches[0].shape[0]

        def share(context: tf.distribute.experimental.ValueContext) -> tuple[tf.Tensor, ...]:
            number = context.replica_id_in_sync_group % replicas
            return tuple(batch[size * number // replicas : size * (number + 1) // replicas] for batch in batches)

        def summed(*shares: tf.Tensor) -> list[tf.Tensor]:
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, function(*shares))

        shares = self.strategy.experimental_distribute_values_from_function(share)
        return [self._local(result) for result in self.strategy.run(summed, shares)]

    def from_chief(self, values: Sequence[Any]) -> list[tf.Tensor]:
        """Returns the chief's values to all workers; those of the others matter by shape and dtype only."""
        tensors = [tf.convert_to_tensor(value) for value in values]
        return tensors if self.count == 1 else self._sum(tensors, self.is_chief)

    def any_worker(self, flag: bool) -> bool:
        """Returns whether the flag is set on at least one worker; waits for all of them."""
        return flag if self.count == 1 else int(self._sum([tf.constant(int(flag))], True)[0]) > 0

    def barrier(self) -> None:
        """Waits until all workers are here."""
        self.any_worker(False)

    def synchronize(self, variables: Sequence[Any]) -> None:
        """Gives variables the chief's values on all workers."""
        if self.count > 1:
            for variable, value in zip(variables, self.from_chief(variables), strict=True):
                variable.assign(value)

    @contextmanager
    def chief_first(self) -> Iterator[None]:
        """Runs the block on the chief alone, and then on the others."""
        if not self.is_chief:
            self.barrier()
        yield
        if self.is_chief:
            self.barrier()

    def _sum(self, tensors: list[tf.Tensor], contributes: bool) -> list[tf.Tensor]:
        """Sums tensors over those workers that contribute."""
        return [self._local(result) for result in self._summed(tensors, tf.constant(contributes))]

    @cached_property
    def _summed(self) -> Callable[[list[tf.Tensor], tf.Tensor], list[Any]]:
        replicas = self.strategy.num_replicas_in_sync // self.count

        def of_replica(tensors: list[tf.Tensor], contributes: tf.Tensor) -> list[tf.Tensor]:
            context = tf.distribute.get_replica_context()
            contributes &= context.replica_id_in_sync_group % replicas == 0  # of a worker's replicas, the first one
            own = [tf.where(contributes, tensor, tf.zeros_like(tensor)) for tensor in tensors]
            # One by one, as they differ in dtype.
            return [context.all_reduce(tf.distribute.ReduceOp.SUM, tensor) for tensor in own]

        return tf.function(lambda *values: self.strategy.run(of_replica, values), autograph=False)

    def _local(self, value: Any) -> tf.Tensor:
        return self.strategy.experimental_local_results(value)[0]

    def check_same(self, description: Any) -> None:
        """Checks that all workers are about to do the same.

        Args:
            description: what must not differ, of values that JSON can hold.

        Raises:
            RunError: this worker's description is not the chief's.
        """
        own = zlib.crc32(json.dumps(description).encode())
        if own != int(self.from_chief([tf.constant(own, tf.int64)])[0]):
            raise RunError(
                f"Worker {self.number} of {self.count} has other flags, other files of srcnn_tf, or other training "
                "images than worker 0: give the same command and the same images to all."
            )

    @contextmanager
    def report_lost(self) -> Iterator[None]:
        """Turns what TensorFlow raises when another worker has ended, or hangs, into an error that says so.

        Raises:
            RunError: another worker is lost.
        """
        try:
            yield
        except tf.errors.OpError as error:
            if self.count == 1:
                raise
            reason = re.sub(r"{{.*}} *", "", error.message.splitlines()[0])  # without the name of a node
            raise RunError(
                f"Worker {self.number} of {self.count} stops, as another one ended or does not answer "
                f"({reason}). Give the same command to all workers again: training "
                "resumes from the last checkpoint."
            ) from error


def find_workers() -> Workers:
    """Returns the workers that TF_CONFIG lists, or this process alone, with all of its GPUs."""
    return Workers(training_strategy(), *worker_number())
