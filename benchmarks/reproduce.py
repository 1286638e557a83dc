"""The paper's tables beside ours, for all weights in the package.

    python main.py --fetch=Set5,Set14
    python -m benchmarks.reproduce --test_dir=Test

Tests all weights in srcnn_tf/weights as main.py does, on Set5 and Set14 (B100 and Urban100 too, where they are below
`--test_dir`), and prints Markdown: averages beside published figures, whether bicubic is the paper's, and every
picture. The same goes to docs/results.md, with a figure of the curves in docs/curves (made by benchmarks/curves.py;
drawing them needs requirements-bench.txt), and the averages go into README.md, between the two comments that mark their
place. It takes 15 seconds for each weights.

Ends with status 1 if something was missing, or bicubic is not the paper's. All else is done, but the README waits until
nothing is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import os
import shlex
import statistics
import sys
import tempfile
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from benchmarks import curves, figure, tables
from benchmarks.published import BICUBIC, SETS, Method, Score
from srcnn_tf import utils
from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.files import atomic_write
from srcnn_tf.inference import report

WEIGHTS = Path(str(resources.files("srcnn_tf.weights")))
WANTED = ("Set5", "Set14")  # the paper's; of the other sets there are second-hand figures
FIGURE = "curves.png"
BEGIN, END = "<!-- reproduce -->", "<!-- /reproduce -->"  # what is between them in the README is written here

Folders = dict[str, Path]  # of sets, by name


# --- what there is to test, and to test with --------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Weights:
    """A weights file of the package.

    Attributes:
        config: to test it.
        sidecar: how it was made.
    """

    config: Config
    sidecar: dict[str, Any]

    @property
    def network(self) -> str:
        """What is special about the network itself: '9-1-5', or '9-5-5 128-64'."""
        special = self.config.network_name.split("_")[3:]
        return " ".join(dict.fromkeys([self.config.architecture, *special]))


Measured = tuple[Weights, dict[str, list[report.Result]]]  # and its results by set


def shipped() -> list[Weights]:
    """All weights in the package, by the commands in their JSON files."""
    found = []
    for path in sorted(WEIGHTS.glob("*.json")):
        sidecar = json.loads(path.read_text(encoding="utf-8"))
        *_, last = sidecar["command"].split(" && ")  # of a run that went on
        flags = dict(word.removeprefix("--").split("=", 1) for word in shlex.split(last)[2:])
        config = Config(**{name: _value(text) for name, text in flags.items()} | {"is_train": False})
        found.append(Weights(dataclasses.replace(config, weights=str(path.with_suffix(".weights.h5"))), sidecar))
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def find_sets(test_dir: str) -> Folders:
    """The folders of sets at or below a folder; of several of one name, the first with pictures."""
    root = Path(test_dir)
    folders = [root, *sorted(path for path in root.rglob("*") if path.is_dir())]
    found = {name: [path for path in folders if path.resolve().name == name] for name in SETS}
    with_pictures = {name: [path for path in paths if utils.prepare_data(path)] for name, paths in found.items()}
    return {name: paths[0] for name, paths in with_pictures.items() if paths}


def missing(folders: Folders, test_dir: str) -> list[str]:
    """What is to be said of the sets: those that are wanted and absent, and those that are not whole."""
    problems = []
    if absent := [name for name in WANTED if name not in folders]:
        command = ["python", "main.py", f"--fetch={','.join(absent)}"]
        command += [f"--test_dir={test_dir}"] if test_dir != Config.test_dir else []
        problems.append(
            f"{' and '.join(absent)}: no folder of that name with pictures in it at or below {test_dir}. "
            f"`{shlex.join(command)}` gets it."
        )
    for name, folder in folders.items():
        count = len(utils.prepare_data(folder))
        if count != SETS[name]:
            problems.append(f"{folder}: expected the {SETS[name]} pictures of {name}, found {count}.")
    return problems


# --- testing ----------------------------------------------------------------------------------------


def tested(weights: Weights, name: str, folder: Path) -> list[report.Result]:
    """Tests weights on a set as main.py does, and leaves nothing behind.

    Raises:
        RunError: some pictures could not be tested; they are named on the terminal.
    """
    from srcnn_tf.inference.evaluate import evaluate

    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(io.StringIO()):
        config = dataclasses.replace(weights.config, test_dir=str(folder), sample_dir=scratch, log_dir=scratch)
        results = evaluate(config)
    # The pictures of Set5 are called baby_GT and so on: the ground truth.
    return [dataclasses.replace(found, set=name, image=found.image.removesuffix("_GT")) for found in results]


def measure(folders: Folders, problems: list[str]) -> list[Measured]:
    """Tests all weights on all sets; what could not be tested is added to `problems`."""
    measured = []
    for weights in shipped():
        results = {}
        for name, folder in folders.items():
            print(f"Testing {weights.config.network_name} on {name}.", file=sys.stderr, flush=True)
            try:
                results[name] = tested(weights, name, folder)
            except RunError as error:
                problems.append(f"{weights.config.network_name} on {name}: {error}")
        measured.append((weights, results))
    return measured


def as_methods(degradation: str, measured: Iterable[Measured], device: str) -> list[Method]:
    """What was measured under one degradation as rows of tables: bicubic, and each network at all its scales."""
    bicubic = Method("bicubic" if degradation == "matlab" else "degraded picture", BICUBIC, "", tables.HERE, {})
    networks: dict[str, Method] = {}
    for weights, results in measured:
        name, data = weights.network, f"{weights.sidecar['data']['pictures']} pictures"
        row = Method(f"**srcnn_tf {name}**", name, data, tables.HERE, {}, machine=device)
        for set_name, found in results.items():
            place = set_name, weights.config.scale
            for method, kind in ((bicubic, "bicubic"), (networks.setdefault(name, row), "srcnn")):
                method.averages[place] = _score(found, kind)
                method.pictures[place] = {result.image: _score([result], kind) for result in found}
    return [bicubic, *networks.values()]


def _score(results: list[report.Result], kind: str) -> Score:
    ((_, means),) = report.averages(results)
    seconds = statistics.mean(result.seconds for result in results) if kind == "srcnn" else None
    return Score(means[f"psnr_{kind}"], means[f"ssim_{kind}"], seconds)


# --- writing ----------------------------------------------------------------------------------------


Ours = dict[str, list[Method]]  # by degradation


def summary(ours: Ours, image: str) -> str:
    """The averages under each degradation, whether bicubic is the paper's, and the curves."""
    parts = [tables.summary(degradation, methods) for degradation, methods in ours.items()]
    checks = [tables.self_check(ours["matlab"])[0]] if "matlab" in ours else []
    return "\n\n".join([*parts, *checks, *([image] if image else [])])


def page(averages: str, ours: Ours, measured: Iterable[Measured]) -> str:
    """All that was measured, as Markdown."""
    made = [
        [weights.config.network_name, f"{weights.sidecar['seconds']:.0f}", f"`{weights.sidecar['command']}`"]
        for weights, _ in measured
    ]
    parts = [
        "# Results beside what is published",
        "Made by `python -m benchmarks.reproduce`, which tests all weights in the package; not to be edited. Scores "
        "are of luma; edge pixels replicated, results rounded to 8 bits, as many pixels shaved as the scale. Averages "
        "are means over a set's pictures. The first picture of a set bears what TensorFlow does once.",
        averages,
        "The curves are the PSNR of the 1,113 sub-images of Set5 that the authors' solver tested (x3; 33 x 33 pixels, "
        "labels side by side), neither clipped nor rounded, by their mean squared error. The authors' points are the "
        "losses that they logged, as 10 log10(441 / (2 loss)). `python -m benchmarks.curves` makes ours.",
        "## Picture by picture",
        *(tables.by_picture(degradation, methods) for degradation, methods in ours.items()),
        "## How the weights were made",
        tables.markdown(["weights", "seconds", "command"], made),
    ]
    return "\n\n".join(parts) + "\n"


def rewrite(readme: Path, text: str) -> None:
    """Puts `text` between the two marks of a Markdown file; one without them is left as it is."""
    whole = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    before, begin, rest = whole.partition(BEGIN)
    _, end, after = rest.partition(END)
    if begin and end:
        _write(readme, f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _image(target: Path, document: Path) -> str:
    """Shows the figure in a document, if it is there."""
    link = _link(target, document)
    return f"![PSNR by iteration, ours beside the authors' own]({link})" if target.is_file() else ""


def _link(target: Path, document: Path) -> str:
    return Path(os.path.relpath(target, document.parent)).as_posix()


def by_degradation(measured: list[Measured], device: str) -> Ours:
    """What was measured as rows of tables."""
    return {
        degradation: as_methods(degradation, members, device)
        for degradation in tables.DEGRADATIONS
        if (members := [pair for pair in measured if pair[0].config.degradation == degradation and pair[1]])
    }


def publish(ours: Ours, measured: list[Measured], output: Path, readme: Path | None) -> None:
    """Prints the page, and writes it; its averages go into the README too, if there is to be one."""
    drawn = output.with_name(FIGURE)
    text = page(summary(ours, _image(drawn, output)), ours, measured)
    print(text, end="")
    _write(output, text)
    if readme is not None:
        link = _link(output, readme)
        more = f"Every picture, and how the weights were made: [{link}]({link})."
        rewrite(readme, f"{summary(ours, _image(drawn, readme))}\n\n{more}")


def main(argv: Sequence[str] | None = None) -> int:
    """Tests, draws, prints, writes; says what is missing."""
    given = _parse(argv)
    folders = find_sets(given.test_dir)
    problems = missing(folders, given.test_dir)
    if folders:
        from srcnn_tf.devices import load_tensorflow

        device = load_tensorflow(is_train=False)
        measured = measure(folders, problems)
        ours = by_degradation(measured, device)
        check, right = tables.self_check(ours["matlab"]) if "matlab" in ours else ("", True)
        problems += [] if right else [check]
        readme = None if problems else given.readme
        try:
            figure.draw(given.output.with_name(FIGURE), _bicubic(folders))
        except RunError as error:
            problems.append(str(error))
        publish(ours, measured, given.output, readme)
    for problem in problems:
        print(f"Problem: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _bicubic(folders: Folders) -> float | None:
    """What the figure's curves have to pass."""
    if "Set5" not in folders:
        return None
    return curves.bicubic_psnr(Config(degradation="matlab", test_dir=str(folders["Set5"])))


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reproduce", allow_abbrev=False)
    parser.add_argument("--test_dir", default=Config.test_dir, help="Folder with Set5 and Set14. Default: %(default)s.")
    parser.add_argument(
        "--output",
        default="docs/results.md",
        type=Path,
        help="Where the tables go, the figure beside it. Default: %(default)s.",
    )
    parser.add_argument(
        "--readme",
        default="README.md",
        type=Path,
        help="Where the averages go, between two marks. Default: %(default)s.",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    Path("benchmarks").is_dir() or sys.exit("Run this from the repository's root.")
    sys.exit(main())
