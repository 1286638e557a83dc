"""The structure that everyone lives in: what may import what, what is pinned, what is promised."""

import ast
import json
import re
import subprocess
import sys
import tomllib

import pytest
from conftest import ROOT

# Each line may import from the lines before it.
LAYERS = [
    ["errors"],
    ["config", "files", "quiet", "exif", "pixels", "color", "background"],
    ["png", "jpeg", "webp", "tiff_tags", "resize"],
    ["tiff"],
    ["photo"],
    ["pictures"],
    ["utils", "metrics", "optimizer", "startup"],
    ["datasets", "forward", "pairs", "model", "rounding"],
    ["checkpoint", "expansion", "fetch", "infer"],
    ["report", "board", "progress", "step"],
    ["recovery", "schedule"],
    ["train", "evaluate", "upscale"],
]
MODULES = [name for layer in LAYERS for name in layer]


def imported(path):
    """The modules of ours that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "srcnn_tf":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("srcnn_tf."):
            found.add(node.module.split(".")[1])
    return found


def test_every_module_has_its_place():
    files = {path.stem for path in (ROOT / "srcnn_tf").glob("*.py")} - {"__init__"}
    assert files == set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_imports_run_one_way(name):
    number = next(number for number, layer in enumerate(LAYERS) if name in layer)
    before = {module for layer in LAYERS[:number] for module in layer}
    assert imported(ROOT / "srcnn_tf" / f"{name}.py") <= before


@pytest.mark.parametrize("name", [name for name in MODULES if name != "startup"])
def test_the_library_sees_no_flags(name):
    text = (ROOT / "srcnn_tf" / f"{name}.py").read_text()
    assert "absl" not in text
    assert "sys.argv" not in text


@pytest.mark.parametrize(
    "name", ["", ".utils", ".config", ".metrics", ".datasets", ".report", ".pairs", ".pictures", ".photo", ".fetch"]
)
def test_what_needs_no_tensorflow_loads_none(name):
    program = f"import sys, srcnn_tf{name}; assert not {{'tensorflow', 'keras'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_requirements_are_exact_and_are_those_of_the_package():
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and line[0] != "#"]
    pinned = [re.fullmatch(r"([a-z0-9-]+)==[0-9.]+", line)[1] for line in lines]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert pinned == [re.match(r"[a-z0-9-]+", requirement)[0] for requirement in project["dependencies"]]
    assert {"tensorflow", "numpy", "h5py", "scipy", "imageio", "absl-py", "tensorboard"} <= set(pinned)


def test_types_are_part_of_the_package():
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["srcnn_tf"]
    assert "py.typed" in data
    assert (ROOT / "srcnn_tf" / "py.typed").is_file()


def test_readme_begins_with_the_two_commands():
    commands = re.findall(r"^```(?:sh|bash)\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    assert commands[0] == "pip install -r requirements.txt && python main.py --is_train=False --image_index=all\n"
    assert commands[1] == "pip install -r requirements-dev.txt && python -m pytest\n"


def test_readme_names_every_flag():
    from srcnn_tf.config import Config

    text = (ROOT / "README.md").read_text()
    assert [name for name in Config.__dataclass_fields__ if f"`{name}`" not in text] == []


def test_every_link_in_the_documents_leads_somewhere():
    for document in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), (document.name, target)


@pytest.mark.parametrize("path", sorted((ROOT / "srcnn_tf" / "weights").glob("*.h5")), ids=lambda path: path.name)
def test_shipped_weights_say_how_they_were_made(path):
    sidecar = json.loads(path.with_name(path.name.replace(".weights.h5", ".json")).read_text())
    assert sidecar["command"].startswith("python main.py --is_train=True")
    assert sidecar["data"]["name"] == "T91"
    assert "--train_dir=Train/T91" in sidecar["command"]  # where --fetch puts it
    assert sidecar["epochs"] > 0
    assert re.fullmatch("[0-9a-f]{40}", sidecar["commit"])
    assert {"recipe", "seed", "versions", "seconds"} <= sidecar.keys()
    assert {"Set5", "Set14"} <= sidecar["scores"].keys()
    assert path.stat().st_size < 300_000


def test_shipped_weights_were_trained_on_these_pictures(shared):
    from srcnn_tf import utils
    from srcnn_tf.images import read

    sidecars = [json.loads(path.read_text()) for path in (ROOT / "srcnn_tf" / "weights").glob("*.json")]
    folder = shared / "data" / "T91"
    digest = read.fingerprint(utils.prepare_data(folder), folder)
    assert {sidecar["data"]["sha256"] for sidecar in sidecars} == {digest}


def test_readme_has_the_scores_of_the_shipped_weights():
    """Those that benchmarks.reproduce put there: a new weights file needs it to be run again."""
    text = (ROOT / "README.md").read_text()
    for path in (ROOT / "srcnn_tf" / "weights").glob("*.json"):
        for scores in json.loads(path.read_text())["scores"].values():
            assert f"{scores['psnr_srcnn']:.2f} ({scores['ssim_srcnn']:.4f})" in text, path.name


def test_readme_shows_where_every_module_is():
    text = (ROOT / "README.md").read_text().split("## Layout")[1]
    for name in [*MODULES, *(path.stem for path in (ROOT / "benchmarks").glob("[a-z]*.py"))]:
        assert f"{name}.py" in text, name
