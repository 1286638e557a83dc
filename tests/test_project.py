"""The structure of the repository: what may import what, what is pinned, what the documents promise."""

import ast
import graphlib
import json
import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest
from clips import make
from conftest import ROOT, program_environment
from networks import find, save

import srcnn_tf
from srcnn_tf.config import Config
from srcnn_tf.images.read import fingerprint
from srcnn_tf.spec import JPEG_QUALITIES
from srcnn_tf.utils import prepare_data

PACKAGE = ROOT / "srcnn_tf"
# The modules and subpackages of the package. Each imports from itself and from the groups before its own.
GROUPS = [
    {"errors", "training.recipes"},
    {"spec"},
    {"system"},
    {"weights.search"},
    {"config"},
    {"images"},
    {"degradation", "patch_file"},
    {"utils"},
    {"model", "layers", "datasets"},
    {"weights"},
    {"upscaling"},
    {"api", "testing", "export"},
    {"training"},
    {"cli"},
]
# These test no single module.
NO_MODULE = {
    "test_project.py",
    "test_demo.py",
    "test_fuzz.py",
    "test_scaling.py",
    "test_canaries.py",
    "test_platforms.py",
}
SOURCES = [
    ROOT / "main.py",
    *(path for folder in ("srcnn_tf", "benchmarks", "examples", "tests") for path in (ROOT / folder).rglob("*.py")),
]
# What never needs TensorFlow, and must not load it.
LIGHT = ["images", "datasets", "utils", "config", "errors", "spec", "cli", "api", "system", "upscaling"]
LIGHT += ["training.recipes", "weights.search", "weights.store", "testing.report", "testing.page", "testing.evaluate"]


def module_name(path):
    """The dotted name of a file of the repository: `srcnn_tf.images.read`, and `srcnn_tf.images` of its `__init__`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in PACKAGE.rglob("*.py")}


def imports(path):
    """The modules of the package that a file imports, wherever in it: pairs of local name and dotted name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.asname or alias.name, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names)


def imported_modules(path):
    names = {name for _, name in imports(path) if name.split(".")[0] == "srcnn_tf"}
    found = {name if name in MODULES else name.rpartition(".")[0] for name in names}
    return found - {"srcnn_tf"}  # for the version


def part(name):
    """The subpackage or module of the package that a module is in; of some modules, their own name."""
    words = name.split(".")[1:]
    return next(one for one in (".".join(words), words[0]) if any(one in parts for parts in GROUPS))


def group(name):
    return next(number for number, parts in enumerate(GROUPS) if part(name) in parts)


def test_every_module_has_its_group_and_imports_are_one_directional():
    assert {part(name) for name in MODULES if "." in name and name != "srcnn_tf.__main__"} == set().union(*GROUPS)
    graph = {name: imported_modules(path) for name, path in MODULES.items() if name != "srcnn_tf"}
    upwards = [
        f"{name} imports {other}"
        for name, others in graph.items()
        for other in others
        if name != "srcnn_tf.__main__" and part(other) != part(name) and group(other) >= group(name)
    ]
    assert upwards == []
    graphlib.TopologicalSorter(graph).prepare()  # no modules import each other


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_private_names_are_used_in_their_module_only(path):
    local = {name: full for name, full in imports(path) if re.match("srcnn_tf|benchmarks", full)}
    private = [full for full in local.values() if re.search(r"\._[a-z]", full)]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in local:
            private += [ast.unparse(node)] * bool(re.match("_[a-z]", node.attr))
        elif isinstance(node, ast.Call) and any(ast.unparse(argument) in local for argument in node.args[:1]):
            private += [ast.unparse(node)] * bool(re.match("'_[a-z]", " ".join(map(ast.unparse, node.args[1:2]))))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            private += re.findall(r"^(?:srcnn_tf|benchmarks)[.\w]*\._[a-z]\w*$", node.value)
    assert private == []


def test_no_folder_has_more_than_a_dozen_entries():
    folders = [ROOT / "benchmarks", PACKAGE, *(path for path in PACKAGE.glob("[a-z]*") if path.is_dir())]
    for folder in folders:
        entries = [path for path in folder.glob("[a-z]*") if path.suffix == ".py" or path.is_dir()]
        assert len(entries) <= {PACKAGE: 18, ROOT / "benchmarks": 16}.get(folder, 13), folder


def test_tests_mirror_the_package():
    paths = [path for path in (ROOT / "tests").rglob("test_*.py") if path.name not in NO_MODULE]
    for path in paths:
        folder, name = path.parent.relative_to(ROOT / "tests"), path.name.removeprefix("test_")
        if folder.parts[:1] in {("benchmarks",), ("examples",)}:  # "benchmark" tells a test from another of its name
            assert (ROOT / folder / name.removeprefix("benchmark_")).is_file(), path
        else:
            assert (PACKAGE / folder / name).is_file(), path
    assert max(Counter(path.name for path in paths).values()) == 1


def test_what_needs_no_tensorflow_loads_none():
    names = [name for name in MODULES if any(f"{name}.".startswith(f"srcnn_tf.{light}.") for light in LIGHT)]
    assert len(names) > 15
    program = "import sys, srcnn_tf; dir(srcnn_tf); assert 'numpy' not in sys.modules\n"
    program += f"import {', '.join(names)}; assert not {{'tensorflow', 'keras', 'torch'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


UPSCALING = {
    "import": "import srcnn_tf",
    "array": "import numpy, srcnn_tf; srcnn_tf.upscale_image(numpy.zeros((9, 9, 3), numpy.uint8))",
    "file": "from srcnn_tf import cli; assert cli.run(['main.py', '--input=a.png']) == 0",
    "folder": "from srcnn_tf import cli; assert cli.run(['main.py', '--input=.', '--output=out', '--scale=2.5']) == 0",
    "weights": "from srcnn_tf import cli; assert cli.run(['main.py', '--input=a.png', '--weights=SRCNN.keras']) == 0",
    "video": "from srcnn_tf import cli; assert cli.run(['main.py', '--input=a.mp4', '--scale=2']) == 0",
    "cluster": "from srcnn_tf import cli; assert cli.run(['main.py', '--input=.', '--cluster=local']) == 0",
}


@pytest.mark.parametrize("name", UPSCALING)
def test_upscaling_loads_no_tensorflow_and_only_what_it_needs(name, make_image, tmp_path):
    make_image("a.png")
    if name == "weights":
        save(find(Config(degradation="matlab"))[0], Config(degradation="matlab"), tmp_path)
    if name == "video":
        make("-f lavfi -i testsrc2=s=32x32:d=0.2 a.mp4")
    report = "import sys; print(*sys.modules, file=open('loaded', 'w'))"
    if name == "cluster":  # what is loaded is asked on the workers
        site = tmp_path / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(
            "import atexit, os, sys\n"
            "atexit.register(lambda: print(*sys.modules, file=open(f'{os.environ[\"FOLDER\"]}/{os.getpid()}', 'w')))"
        )
    environment = program_environment() | {
        "PYTHONPATH": f"{ROOT}:{tmp_path / 'site'}",
        "FOLDER": str(tmp_path / "site"),
    }
    program = f"if __name__ == '__main__':\n    {UPSCALING[name]}\n    {report}"
    Path("program.py").write_text(program)
    subprocess.run([sys.executable, "program.py"], env=environment, capture_output=True, check=True)
    texts = [Path("loaded").read_text(), *(path.read_text() for path in (tmp_path / "site").glob("[0-9]*"))]
    assert len(texts) > 2 or name != "cluster"
    unneeded = ("tensorflow", "keras", "skimage", "tensorboard", "pooch", "matplotlib", "scipy.ndimage")
    unneeded += ("srcnn_tf.training.train", "srcnn_tf.datasets.paper", "srcnn_tf.testing", "srcnn_tf.images.metrics")
    for text in texts:
        assert [one for one in text.split() if f"{one}.".startswith(tuple(f"{module}." for module in unneeded))] == []


def test_the_library_sees_no_flags():
    for name in MODULES.keys() - {"srcnn_tf.cli", "srcnn_tf.__main__"}:
        assert not re.search(r"absl import flags|sys\.argv", MODULES[name].read_text()), name


def test_every_subpackage_says_what_it_contains():
    for init in PACKAGE.glob("*/__init__.py"):
        text = ast.get_docstring(ast.parse(init.read_text()))
        missing = {path.stem for path in init.parent.glob("*.py")} - {"__init__"} - set(re.findall(r"\w+", text))
        assert not missing, init


def test_requirements_are_exact_and_are_those_of_the_package():
    pinned = {}
    for name in ("requirements.txt", "requirements-dev.txt", "requirements-bench.txt"):
        lines = [line for line in (ROOT / name).read_text().splitlines() if line and line[0] not in "#-"]
        pinned[name] = [re.fullmatch(r"([a-z0-9-]+)==[0-9.]+", line)[1] for line in lines]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [re.match(r"[a-z0-9-]+", requirement)[0] for requirement in project["dependencies"]]
    assert pinned["requirements.txt"] == names
    assert {"pytest", "ruff", "mypy"} <= set(pinned["requirements-dev.txt"])


def test_the_newest_version_is_that_of_the_package_and_of_the_citation():
    newest = re.search(r"^## ([0-9.]+) - (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.M).groups()
    cited = re.search(r'^version: (.+)\ndate-released: "(.+)"$', (ROOT / "CITATION.cff").read_text(), re.M).groups()
    assert (srcnn_tf.__version__, newest[1]) == newest == cited


def test_types_and_data_files_are_part_of_the_package():
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    patterns = {PACKAGE.joinpath(*name.split(".")[1:]): patterns for name, patterns in data.items()}
    included = {path for folder, patterns in patterns.items() for pattern in patterns for path in folder.glob(pattern)}
    others = {path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert included == others
    assert PACKAGE / "py.typed" in included


def test_readme_begins_with_the_two_commands():
    commands = re.findall(r"^```(?:sh|bash)\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    assert commands[0] == "pip install -r requirements.txt && python main.py --is_train=False --image_index=all\n"
    assert commands[1] == "pip install -r requirements-dev.txt && python -m pytest\n"
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


def test_the_chinese_readme_has_the_commands_figures_and_links_of_the_english_one():
    english, chinese = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md"))
    for pattern in (r"^```.*?^```", r"^    .*?$"):  # commands, and what they print
        assert re.findall(pattern, chinese, re.M | re.S) == re.findall(pattern, english, re.M | re.S)
    # Words of the one may be figures in the other, as `twice`; those with a point or three digits are measured.
    figure = r"\d+\.\d+|\d{3,}"
    assert sorted(re.findall(figure, chinese)) == sorted(re.findall(figure, english))
    links = [set(re.findall(r"\]\(([^)]+)\)", text)) for text in (chinese, english)]
    assert links[0] - {"README.md", "#结果"} == links[1] - {"README.zh-CN.md", "#results"}


def test_the_documents_name_every_flag_and_module_and_their_links_lead_somewhere():
    text = (ROOT / "docs" / "flags.md").read_text()
    assert [name for name in Config.__dataclass_fields__ if f"`{name}`" not in text] == []
    text = (ROOT / "docs" / "architecture.md").read_text()
    assert [path.name for path in PACKAGE.rglob("[a-z]*.py") if path.name not in text] == []
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), (document.name, target)


@pytest.mark.parametrize("path", [ROOT / "main.py", *MODULES.values()], ids=module_name)
def test_files_and_functions_that_docstrings_and_comments_name_exist(path):
    text = path.read_text()
    missing = [name for name in re.findall(r"srcnn_tf/[\w/]+\.\w+", text) if not (ROOT / name).exists()]
    for prefix, name in re.findall(r"`([\w.]+)\.(\w+)`", text):
        named = [module for module in MODULES if f".{module}".endswith(f".{prefix}")]
        found = [one for one in named if re.search(rf"^(def |class )?{name}\b", MODULES[one].read_text(), re.M)]
        found += {f"{one}.{name}" for one in named} & MODULES.keys()
        is_field, is_file = name in Config.__dataclass_fields__, (path.parent / f"{prefix}.{name}").is_file()
        missing += [f"{prefix}.{name}"] * (bool(named) and not (found or is_field or is_file))
    assert missing == []


def sidecars():
    return {path: json.loads(path.read_text()) for path in sorted((PACKAGE / "weights").glob("*.json"))}


def test_shipped_weights_say_how_they_were_made():
    for path in (PACKAGE / "weights").glob("*.h5"):
        sidecar = sidecars()[path.with_name(path.name.replace(".weights.h5", ".json"))]
        assert sidecar["command"].startswith("python main.py --is_train=True")
        assert sidecar["data"]["name"] == "T91"
        assert "--train_dir=Train/T91" in sidecar["command"]  # the folder of --fetch
        assert sidecar["epochs"] > 0
        assert re.fullmatch("[0-9a-f]{40}", sidecar["commit"])
        assert {"recipe", "seed", "versions", "seconds"} <= sidecar.keys()
        assert {"Set5", "Set14"} <= sidecar["scores"].keys()
        assert path.stat().st_size < 300_000


def test_shipped_weights_were_trained_on_these_images(shared):
    folder = shared / "data" / "T91"
    digest = fingerprint(prepare_data(folder), folder)
    assert {sidecar["data"]["sha256"] for sidecar in sidecars().values()} == {digest}


def test_the_documents_have_the_scores_of_the_shipped_weights():
    """Those that benchmarks.reproduce wrote: new weights need it to be run again."""
    text = (ROOT / "docs" / "results.md").read_text()
    for path, sidecar in sidecars().items():
        network = path.stem.split("_")
        for name, scores in sidecar["scores"].items():
            if network[2] in JPEG_QUALITIES:  # in the table by quality: the gain at the default of --jpeg_quality
                gain = scores["psnr_srcnn"] - scores["psnr_bicubic"]
                columns = (f"{name} {network[1]}", network[3] if len(network) > 3 else "9-1-5", network[2])
                row = next(line for line in text.splitlines() if re.match(r" *\| ".join(("", *columns, "")), line))
                column = {90: 6, 80: 7}[JPEG_QUALITIES[network[2]]]
                assert abs(float(row.split("|")[column]) - gain) < 0.03, path.name
                continue
            assert f"{scores['psnr_srcnn']:.2f} ({scores['ssim_srcnn']:.4f})" in text, path.name


def test_the_cells_of_the_notebook_run(tmp_path):
    cells = json.loads((ROOT / "docs" / "tour.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert len(code) >= 5
    script = tmp_path / "tour.py"
    script.write_text("\n\n".join(code), encoding="utf-8")
    environment = program_environment() | {"PYTHONPATH": str(ROOT)}
    finished = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
