import subprocess
import sys

from conftest import ROOT, program_environment


def test_tensorflow_loads_silently_multiplies_float32_exactly_and_ignores_the_settings_of_other_programs(tmp_path):
    (tmp_path / "keras.json").write_text(
        '{"floatx": "float16", "image_data_format": "channels_first", "epsilon": 1e-3, "dtype_policy": "mixed_float16"}'
    )
    program = (
        "from srcnn_tf.system.devices import load_tensorflow; print(load_tensorflow())\n"
        "import tensorflow as tf; assert not tf.config.experimental.tensor_float_32_execution_enabled()\n"
        "from keras import config; assert config.dtype_policy().name == config.floatx() == 'float32'\n"
        "assert (config.image_data_format(), config.epsilon()) == ('channels_last', 1e-7)\n"
    )
    environment = program_environment() | {"KERAS_HOME": str(tmp_path)}
    command, options = [sys.executable, "-c", program], {"cwd": ROOT, "env": environment}
    done = subprocess.run(command, **options, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1
