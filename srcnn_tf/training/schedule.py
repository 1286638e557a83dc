"""The learning rate as a pure function of the step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WARM_UP = 0.1  # of the steps that remain, and at most one epoch or 100 steps, whichever is more


@dataclass(frozen=True)
class Schedule:
    """A constant learning rate; or a linear warm-up, and half a cosine down to 0 with the last step.

    Attributes:
        peak: learning rate of the constant schedule, or at the cosine's beginning.
        cosine_decay: whether the rate warms up and decays.
        steps_per_epoch: number of steps in an epoch.
        total_steps: number of steps in the run.
        start_step: the step from which the run has this length; the warm-up begins there.
        start_rate: the learning rate before that step.
    """

    peak: float
    cosine_decay: bool
    steps_per_epoch: int
    total_steps: int
    start_step: int = 0
    start_rate: float = 0.0


def learning_rate(schedule: Schedule, step: NDArray[np.int64] | int) -> NDArray[np.float64]:
    """Returns the learning rate of one step, or of many.

    When a run is resumed with another number of epochs, the warm-up leads from the rate it had to the cosine of the
    run's new length.
    """
    steps = np.asarray(step)
    if not schedule.cosine_decay:
        return np.full(steps.shape, schedule.peak)
    remaining = schedule.total_steps - schedule.start_step
    warm_up = max(1, min(max(schedule.steps_per_epoch, 100), WARM_UP * remaining))
    warmth = np.minimum(1, (steps - schedule.start_step + 1) / warm_up)
    progress = np.minimum(steps, schedule.total_steps) / schedule.total_steps
    cosine = schedule.peak * (1 + np.cos(np.pi * progress)) / 2
    return schedule.start_rate + (cosine - schedule.start_rate) * warmth
