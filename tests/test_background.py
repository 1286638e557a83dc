import threading

import pytest

from srcnn_tf.background import in_threads


def test_results_come_in_order():
    waiting = [threading.Event() for _ in range(5)]

    def made(number):
        # The second is ready before the first.
        if number == 0:
            assert waiting[1].wait(10)
        waiting[number].set()
        return number * number

    assert list(in_threads(made, range(5), threads=2)) == [0, 1, 4, 9, 16]


def test_work_is_done_ahead_but_not_far():
    begun, all_begun = [], threading.Event()

    def made(number):
        begun.append(number)
        if len(begun) == 4:
            all_begun.set()
        return number

    results = in_threads(made, range(100), threads=3)
    assert next(results) == 0
    assert all_begun.wait(10)
    results.close()
    assert begun == [0, 1, 2, 3]


def test_what_goes_wrong_is_raised_in_its_place():
    results = in_threads(lambda number: 1 // (number - 1), [0, 1, 2], threads=1)
    assert next(results) == -1
    with pytest.raises(ZeroDivisionError):
        next(results)
