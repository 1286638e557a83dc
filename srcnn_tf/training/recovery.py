"""Keeps a loss that explodes from ruining a training: good weights to go back to, and a lower rate after it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from srcnn_tf.training.step import State

EXPLODED = 2.0  # times the mean loss of the best epoch
# During the first steps a loss swings, by 20 times and more: then it is 10 times the best and half the very first.
EXPLODED_EARLY = 10.0
EARLY = 100  # steps; also, the losses of a part of an epoch that are enough to judge by
MOST = 5  # times the rate is halved before a training is given up


class Recovery:
    """Judges losses, and remembers weights that were sound for a whole epoch after they were taken."""

    def __init__(self, state: State, enabled: bool) -> None:
        """Args: what to watch, and whether to go back; if not, only a loss that is not finite is unsound."""
        self._state, self._enabled = state, enabled
        # What the last step of an epoch did shows in the losses of the next one alone: until then, it is on trial.
        self._good = self._on_trial = self._snapshot()
        self._random = self._good if int(state.step) == 0 else None

    def sound(self, losses: Sequence[float], whole_epoch: bool) -> bool:
        """Whether an epoch's losses so far, and the weights now, are those of a training that goes well."""
        if not all(np.isfinite(values).all() for values in (losses, *self._state.model.get_weights())):
            return False
        if not self._enabled or not (whole_epoch or len(losses) >= EARLY):
            return True
        if np.isinf(float(self._state.first_loss)):
            self._state.first_loss.assign(losses[0])
        best, first = float(self._state.best_loss), float(self._state.first_loss)
        # The last ones too: in a long epoch, a spike at its end hardly moves the mean.
        loss = max(float(np.mean(losses)), float(np.mean(losses[-EARLY:])))
        if int(self._state.step) > EARLY:
            return loss <= EXPLODED * min(best, first)
        return loss <= max(EXPLODED_EARLY * min(best, first), first / 2)

    def keep(self, losses: Sequence[float], whole_epoch: bool) -> None:
        """Remembers the weights after an epoch whose losses were sound."""
        if whole_epoch or len(losses) >= EARLY:  # a few losses, of the rest of an epoch, may be those of flat patches
            self._state.best_loss.assign(min(float(np.mean(losses)), float(self._state.best_loss)))
        self._good, self._on_trial = self._on_trial, self._snapshot()

    def go_back(self, last_epoch: bool) -> bool:
        """Puts the last good weights back and halves the rate; False where that is not to be, or no use any more."""
        if not self._enabled or int(self._state.recoveries) == MOST:
            return False
        if last_epoch and self._good is self._random:  # nothing would be left of the training
            return False
        for variable, value in zip(self._state.learned(), self._good, strict=True):
            variable.assign(value)
        self._on_trial = self._good
        self._state.recoveries.assign_add(1)
        return True

    def rate(self) -> float:
        """The part of the schedule's rate that is left."""
        return 0.5 ** int(self._state.recoveries)

    def _snapshot(self) -> list[NDArray]:
        return [variable.numpy() for variable in self._state.learned()] if self._enabled else []
