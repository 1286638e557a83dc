import json
import subprocess
import sys

from conftest import ROOT, program_environment


def test_the_cells_of_the_notebook_run(tmp_path):
    cells = json.loads((ROOT / "docs" / "tour.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert len(code) >= 5
    script = tmp_path / "tour.py"
    script.write_text("\n\n".join(code), encoding="utf-8")
    environment = program_environment() | {"PYTHONPATH": str(ROOT)}
    finished = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
