import numpy as np
import pytest

from benchmarks.common import run_python
from srcnn_tf.errors import RunError


def test_peak_memory_is_that_of_the_process_alone():
    images = np.ones(40_000_000)  # 320 MB of this process
    done = run_python("-c", "print('done')")
    assert done.output == "done\n"
    assert done.seconds > 0
    assert 1 < done.megabytes < images.nbytes / 1e6 / 2


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import sys; print('a'); sys.exit('the reason')", "ended with status 1: the reason"),
        ("import os; os.kill(os.getpid(), 9)", "ended with status -9: no message"),
    ],
)
def test_a_failure_has_its_reason(program, message):
    with pytest.raises(RunError, match=message):
        run_python("-c", program)
