"""The learning rate of each step, also where a run is made longer than it was to be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from srcnn_tf.config import RECIPES, Config
from srcnn_tf.training.step import State

WARM_UP = 0.1  # of all steps, and at most one epoch, or 100 steps


class Schedule:
    """A fixed rate, or a warm-up and half a cosine down to 0 with the last step.

    A run that goes on with another number of epochs takes up the cosine of the new length where that would be by now:
    the warm-up leads there from the rate it had.
    """

    def __init__(self, config: Config, epoch_steps: int, state: State) -> None:
        """Args: what to do, steps in an epoch, and the state, which keeps since when the length is what it is."""
        self._rate, self._cosine = config.learning_rate, RECIPES[config.recipe].cosine_decay
        self._steps = config.epoch * epoch_steps
        self._epoch_steps, self._state = epoch_steps, state
        self._notice = self._change(int(state.length), int(state.step))

    def _change(self, before: int, step: int) -> str:
        """Takes up the new length, and says what that means."""
        if self._steps == before:
            return ""
        rate = float(self._rates(np.array([step]), before)[0]) if before else 0.0
        self._state.since.assign(step)
        self._state.since_rate.assign(rate)
        self._state.length.assign(self._steps)
        if not before:
            return ""
        return (
            f"The run was to end after {before // self._epoch_steps} epochs, now after "
            f"{self._steps // self._epoch_steps}: "
        ) + self._way_on(step)

    def _way_on(self, step: int) -> str:
        if not self._cosine:
            return "the rate stays."
        return (
            f"the rate goes from {float(self._state.since_rate):.1e} to {self._full(step, self._steps):.1e}, where a "
            "run of that length has it by now, and from there to 0 with the last epoch."
        )

    def announce(self) -> None:
        """Says so, if the length is another than when the run was begun."""
        if self._notice:
            print(self._notice, flush=True)

    def rates(self, step: int, count: int) -> NDArray[np.float64]:
        """The rates of `count` steps from `step` on."""
        return self._rates(step + np.arange(count), self._steps)

    def _rates(self, steps: NDArray[np.int64], length: int) -> NDArray[np.float64]:
        if not self._cosine:
            return np.full(len(steps), self._rate)
        since, before = int(self._state.since), float(self._state.since_rate)
        warm_up = max(1, min(max(self._epoch_steps, 100), WARM_UP * (length - since)))
        warmth = np.minimum(1, (steps - since + 1) / warm_up)
        return before + (self._full(steps, length) - before) * warmth

    def _full(self, step: NDArray[np.int64] | int, steps: int) -> NDArray[np.float64] | float:
        """The rate of a step in a run of so many, without the warm-up."""
        return self._rate * (1 + np.cos(np.pi * np.minimum(step, steps) / steps)) / 2
