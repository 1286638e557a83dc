import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from conftest import ROOT, program_environment, synthetic_image

import srcnn_tf

PROGRAM = """
from srcnn_tf.images import formats
formats.__path__.append("formats")
from srcnn_tf import cli
raise SystemExit(cli.run(["main.py", "--input=in", "--output=out"]))
"""


def test_the_format_that_the_document_adds_is_one_file():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    (module,) = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    for folder in ("formats", "in"):
        Path(folder).mkdir()
    Path("formats/numpy_array.py").write_text(module, encoding="utf-8")
    Path("program.py").write_text(PROGRAM, encoding="utf-8")
    image = synthetic_image(12, 16)
    np.save("in/a.npy", image)
    Path("in/b.npy").write_bytes(Path("in/a.npy").read_bytes()[:-50])
    environment = program_environment() | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "program.py"], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 2)
    assert "Problem: in/b.npy: cannot be read as an image (" in done.stderr
    np.testing.assert_array_equal(np.load("out/a_x3.npy"), srcnn_tf.upscale_image(image))
