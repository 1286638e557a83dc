import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from srcnn_tf.system import threads
from srcnn_tf.system.threads import map_in_threads, one_blas_thread


@pytest.mark.parametrize(("value", "expected"), [("1", 1), ("9999", None), ("", None), ("many", None), ("0", None)])
def test_omp_num_threads_limits_the_cores(value, expected, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    available = threads.cores()
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert threads.cores() == (expected or available)


def test_results_of_threads_come_in_order_and_not_far_ahead():
    begun = [threading.Event() for _ in range(9)]

    def work(number):
        begun[number].set()
        if number == 0:  # the first takes longer than the others
            assert begun[2].wait(10)
        return number * number

    results = map_in_threads(work, range(9), threads=3)
    assert next(results) == 0
    assert begun[3].wait(10)
    assert not begun[4].is_set()
    assert list(results) == [1, 4, 9, 16, 25, 36, 49, 64]


def test_an_error_in_a_thread_is_raised_in_its_place():
    results = map_in_threads(lambda number: 1 // (number - 1), [0, 1, 2], threads=1)
    assert next(results) == -1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_running_calls_see_that_no_more_results_are_needed():
    stopped, seen = threading.Event(), []
    results = map_in_threads(lambda number: number and seen.append(stopped.wait(60)), range(9), 2, stopped)
    assert next(results) == 0
    results.close()
    assert seen == [True] * len(seen)
    assert len(seen) <= 3


@pytest.mark.parametrize(("text", "expected"), [("50000 100000", 1), ("max 100000", None), ("", None)])
def test_the_quota_of_a_container_limits_the_cores(text, expected, monkeypatch, tmp_path):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "CPU_QUOTA", tmp_path / "none")
    available = threads.cores()
    (tmp_path / "cpu.max").write_text(text)
    monkeypatch.setattr(threads, "CPU_QUOTA", tmp_path / "cpu.max")
    assert threads.cores() == (expected or available)


def blas_threads():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_blas_has_one_thread_until_the_last_user_ends():
    before = blas_threads()
    assert np.ones(3) @ np.ones(3) == 3
    first, second = one_blas_thread(), one_blas_thread()
    # Each begins in a thread and ends in another one, as a generator does that another thread reads to its end.
    for call in (first.__enter__, second.__enter__):
        in_a_thread(call)
        assert blas_threads() == {1}
    first.__exit__(None, None, None)
    assert blas_threads() == {1}
    in_a_thread(second.__exit__, None, None, None)
    assert blas_threads() == before
    with one_blas_thread():
        assert blas_threads() == {1}
    assert blas_threads() == before


def in_a_thread(function, *arguments):
    thread = threading.Thread(target=function, args=arguments)
    thread.start()
    thread.join()
