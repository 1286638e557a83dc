import subprocess
import sys

from conftest import ROOT, program_environment


def test_tensorflow_loads_silently_and_multiplies_float32_exactly():
    program = (
        "from srcnn_tf.system.devices import load_tensorflow; print(load_tensorflow())\n"
        "import tensorflow as tf; assert not tf.config.experimental.tensor_float_32_execution_enabled()\n"
    )
    command, options = [sys.executable, "-c", program], {"cwd": ROOT, "env": program_environment()}
    done = subprocess.run(command, **options, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1
