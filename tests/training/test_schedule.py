import dataclasses

import numpy as np
import pytest

from srcnn_tf.training.schedule import Schedule, learning_rate

PEAK = 3e-3
TEN_EPOCHS = Schedule(PEAK, cosine_decay=True, steps_per_epoch=200, total_steps=2000)


def cosine(step, steps):
    return PEAK * (1 + np.cos(np.pi * np.asarray(step) / steps)) / 2


def changed(schedule, step, epochs):
    """The schedule of a run that is resumed at `step` with another number of epochs."""
    rate = float(learning_rate(schedule, step))
    return dataclasses.replace(schedule, total_steps=200 * epochs, start_step=step, start_rate=rate)


def test_a_new_run_warms_up_and_decays_to_zero():
    steps = np.arange(2000)
    rates = learning_rate(TEN_EPOCHS, steps)
    # A tenth of 2,000 steps is an epoch.
    np.testing.assert_allclose(rates[:200], cosine(steps[:200], 2000) * (steps[:200] + 1) / 200)
    np.testing.assert_allclose(rates[200:], cosine(steps[200:], 2000))
    assert rates[-1] < 1e-5 * PEAK
    assert float(learning_rate(TEN_EPOCHS, 300)) == rates[300]


@pytest.mark.parametrize(("steps_per_epoch", "epochs", "warm_up"), [(1, 30, 3), (1, 2000, 100), (1000, 30, 1000)])
def test_warm_up_is_a_tenth_of_the_run_but_at_most_an_epoch_or_100_steps(steps_per_epoch, epochs, warm_up):
    total = steps_per_epoch * epochs
    rates = learning_rate(Schedule(PEAK, True, steps_per_epoch, total), np.arange(total))
    below = np.flatnonzero(rates < cosine(np.arange(total), total) * (1 - 1e-9))
    assert below.tolist() == list(range(warm_up - 1))


def test_a_longer_run_is_led_to_the_rate_of_one_of_that_length():
    steps = np.arange(2000, 4000)
    rates = learning_rate(changed(TEN_EPOCHS, 2000, epochs=20), steps)
    # The warm-up is a tenth of the 2,000 steps to come.
    np.testing.assert_allclose(rates[:200], cosine(steps[:200], 4000) * np.arange(1, 201) / 200, atol=1e-12)
    np.testing.assert_allclose(rates[200:], cosine(steps[200:], 4000))


def test_the_length_may_change_at_any_step_and_more_than_once():
    longer = learning_rate(changed(TEN_EPOCHS, 1000, epochs=100), np.arange(1000, 20000))
    assert longer[0] == pytest.approx(cosine(1000, 2000), rel=0.01)
    assert longer[300] == pytest.approx(cosine(1300, 20000))
    assert learning_rate(changed(TEN_EPOCHS, 1000, epochs=6), 1199) < 1e-3 * PEAK
    # During the warm-up, which then continues.
    longer = learning_rate(changed(TEN_EPOCHS, 20, epochs=60), np.arange(20, 320))
    before = float(learning_rate(TEN_EPOCHS, 19))
    assert before < longer[0] < 1.3 * before
    assert max(longer) == pytest.approx(PEAK, rel=0.01)
    # During the warm-up of another change.
    once = changed(TEN_EPOCHS, 2000, epochs=20)
    again = changed(once, 2050, epochs=40)
    assert float(learning_rate(again, 2050)) == pytest.approx(float(learning_rate(once, 2050)), rel=0.05)


def test_without_decay_the_rate_is_constant():
    schedule = Schedule(1e-4, cosine_decay=False, steps_per_epoch=200, total_steps=200)
    np.testing.assert_array_equal(learning_rate(schedule, np.arange(7, 10)), [1e-4] * 3)
    np.testing.assert_array_equal(learning_rate(changed(schedule, 200, epochs=2), np.arange(200, 203)), [1e-4] * 3)
