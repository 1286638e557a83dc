import numpy as np
import pytest

from srcnn_tf.config import Config
from srcnn_tf.training.schedule import Schedule
from srcnn_tf.training.step import State

TOP = Config().learning_rate


def cosine(step, steps):
    return TOP * (1 + np.cos(np.pi * np.asarray(step) / steps)) / 2


def test_a_new_run_warms_up_and_falls_to_nothing():
    schedule = Schedule(Config(epoch=10), 200, State(Config()))
    rates = schedule.rates(0, 2000)
    # A tenth of 2,000 steps is an epoch.
    np.testing.assert_allclose(rates[:200], cosine(np.arange(200), 2000) * np.arange(1, 201) / 200)
    np.testing.assert_allclose(rates[200:], cosine(np.arange(200, 2000), 2000))
    assert rates[-1] < 1e-5 * TOP
    np.testing.assert_array_equal(schedule.rates(300, 5), rates[300:305])


def test_a_longer_run_is_led_to_where_one_of_that_length_would_be(capsys):
    state = State(Config())
    Schedule(Config(epoch=10), 200, state)
    state.step.assign(2000)
    longer = Schedule(Config(epoch=20), 200, state)
    longer.announce()
    assert "to end after 10 epochs, now after 20: the rate goes from 0.0e+00 to 1.5e-03" in capsys.readouterr().out
    rates = longer.rates(2000, 2000)
    # A tenth of the 2,000 steps to come are the way there.
    np.testing.assert_allclose(rates[:200], cosine(np.arange(2000, 2200), 4000) * np.arange(1, 201) / 200, atol=1e-12)
    np.testing.assert_allclose(rates[200:], cosine(np.arange(2200, 4000), 4000))


def test_an_unfinished_run_begins_at_the_rate_it_had():
    state = State(Config())
    Schedule(Config(epoch=10), 200, state)
    state.step.assign(1000)
    longer = Schedule(Config(epoch=100), 200, state).rates(1000, 19000)
    assert longer[0] == pytest.approx(cosine(1000, 2000), rel=0.01)
    assert longer[300] == pytest.approx(cosine(1300, 20000))
    state.step.assign(1000)
    shorter = Schedule(Config(epoch=6), 200, state).rates(1000, 200)
    assert shorter[-1] < 1e-3 * TOP


def test_a_run_stopped_while_it_warms_up_goes_on_warming_up():
    state = State(Config())
    before = Schedule(Config(epoch=10), 200, state).rates(0, 21)
    state.step.assign(20)
    longer = Schedule(Config(epoch=60), 200, state).rates(20, 300)
    assert before[19] < longer[0] < 1.3 * before[19]
    assert max(longer) == pytest.approx(TOP, rel=0.01)


def test_a_second_change_begins_at_the_rate_of_the_first(capsys):
    state = State(Config())
    Schedule(Config(epoch=10), 200, state)
    state.step.assign(2000)
    rate = Schedule(Config(epoch=20), 200, state).rates(2050, 1)[0]
    state.step.assign(2050)
    again = Schedule(Config(epoch=40), 200, state)
    assert again.rates(2050, 1)[0] == pytest.approx(rate, rel=0.05)
    again.announce()
    assert f"the rate goes from {rate:.1e} to" in capsys.readouterr().out


def test_going_on_with_the_same_length_changes_nothing(capsys):
    state = State(Config())
    expected = Schedule(Config(epoch=10), 200, state).rates(0, 2000)
    state.step.assign(50)
    again = Schedule(Config(epoch=10), 200, state)
    again.announce()
    np.testing.assert_array_equal(again.rates(0, 2000), expected)
    assert capsys.readouterr().out == ""


def test_a_longer_run_that_was_stopped_keeps_its_way():
    state = State(Config())
    Schedule(Config(epoch=10), 200, state)
    state.step.assign(2000)
    expected = Schedule(Config(epoch=20), 200, state).rates(2000, 2000)
    state.step.assign(2100)
    np.testing.assert_array_equal(Schedule(Config(epoch=20), 200, state).rates(2000, 2000), expected)


def test_the_references_rate_is_fixed(capsys):
    state = State(Config())
    config = Config(recipe="reference", epoch=1)
    np.testing.assert_array_equal(Schedule(config, 200, state).rates(7, 3), [1e-4] * 3)
    state.step.assign(200)
    longer = Schedule(Config(recipe="reference", epoch=2), 200, state)
    longer.announce()
    assert capsys.readouterr().out == "The run was to end after 1 epochs, now after 2: the rate stays.\n"
    np.testing.assert_array_equal(longer.rates(200, 3), [1e-4] * 3)
