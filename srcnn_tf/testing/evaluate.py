"""Tests a network: degrades, restores and scores each test image, and saves it beside the original."""

from __future__ import annotations

import itertools
import math
import sys
import time
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache, partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from srcnn_tf.config import Config
from srcnn_tf.datasets.samples import find_images
from srcnn_tf.errors import RunError, UsageError
from srcnn_tf.images.color import channels_to_image, to_uint8
from srcnn_tf.images.metrics import score_channels
from srcnn_tf.images.read import declared_size
from srcnn_tf.spec import NetworkSpec
from srcnn_tf.system.devices import load_tensorflow
from srcnn_tf.system.files import shortened
from srcnn_tf.system.jobs import print_line, run_jobs, worker_threads
from srcnn_tf.system.origins import origin_of, write_origin
from srcnn_tf.system.threads import cores
from srcnn_tf.testing.page import write_test_page
from srcnn_tf.testing.report import Result, average_scores, crop_center, format_table, side_by_side, write_csv
from srcnn_tf.utils import imread, imsave, modcrop, preprocess
from srcnn_tf.weights.search import WeightsSearch
from srcnn_tf.weights.store import find_weights, from_bytes, to_bytes

if TYPE_CHECKING:
    from srcnn_tf.testing.tiling import TiledModel

MAX_PIXELS_IN_FLIGHT = 2**25  # of images that are tested at the same time, if it is more than one; each takes 120 bytes
ENDINGS = ("bicubic", "srcnn", "original", "comparison")  # of the four files of an image
LOGGED_IMAGES = 4  # of each set, in TensorBoard
LOGGED_SIDE = 320  # rows and columns, at most, of each image in TensorBoard


class Job(NamedTuple):
    """A test image.

    Attributes:
        path: the image.
        target: what the names of its four files begin with.
        set: the folder of its results, below `config.sample_dir`.
        is_logged: whether TensorBoard shows it.
    """

    path: Path
    target: Path
    set: str
    is_logged: bool


Outcome = tuple[Result, NDArray[np.uint8] | None]  # of an image: its scores, and what TensorBoard shows of it


def evaluate(config: Config) -> list[Result]:
    """Tests the images below `config.test_dir`, or the one selected by `config.image_index`.

    Writes `<name>_bicubic.png`, `<name>_srcnn.png`, `<name>_original.png` and `<name>_comparison.png` of each image
    below `config.sample_dir`/<set>; results.csv and index.html, a page to compare them, in `config.sample_dir`; and a
    TensorBoard log. Prints a table of the scores.

    Returns:
        The scores, in the order of the images.

    Raises:
        UsageError: there is no image with this index.
        RunError: some images could not be tested, or the log could not be written; all others are complete.
    """
    problems: list[str] = []
    paths = find_images(config, "test_dir", problems)
    targets = _targets(paths, config)
    if (index := config.image_number) is not None:
        if index >= len(paths):
            raise UsageError(
                f"--image_index={index}: found {len(paths)} images below {config.test_dir}, "
                f"expected an index from 0 to {len(paths) - 1}, or all."
            )
        paths = [paths[index]]
    jobs = _make_jobs({path: targets[path] for path in paths}, config)
    for problem in problems:
        print_line(f"Problem: {problem}", sys.stderr)
    megapixels = {job: math.prod(declared_size(job.path)) / 1e6 for job in jobs}
    weights = find_weights(config.network, config.search)[1] + " (self-ensemble)" * config.self_ensemble
    print(f"Weights: {weights}", flush=True)
    # There is one level of threads: several images at a time, or, of a single or a large one, several tiles.
    threads, stopped = 1, None
    search = config.search
    if config.cluster is not None:
        search = search.absolute()
    else:
        threads, stopped = min(cores(), len(jobs), _images_in_flight(megapixels.values())), Event()
        make_restorer(config, search, cores() if threads == 1 else 1)  # before the first image
    test = partial(score_image, config, search, weights, cores() if threads == 1 else 1, stopped)

    from srcnn_tf.testing.tensorboard import TensorBoardLog, write_scores

    log = TensorBoardLog(Path(config.log_dir, config.run_name, "test"))
    log.open(append=False)

    scores: dict[Path, Result] = {}
    for job, (result, panels) in run_jobs(test, megapixels, config.cluster, threads, stopped):
        scores[job.path] = result
        for ending in ENDINGS:
            write_origin(_file(job, ending), origin_of(job.path))
        if panels is not None:
            log.write_image(0, f"test/{result.set}/{result.image}", panels)
    results = [scores[path] for path in paths if path in scores]
    if results:
        table = format_table(results)
        print(table)
        csv_path = Path(config.sample_dir, "results.csv")
        write_csv(results, csv_path)
        page = write_test_page(results, config)
        print(
            f"Images, {csv_path.name} and {page.name} are in {config.sample_dir}, the TensorBoard log is in "
            f"{config.log_dir}."
        )
        write_scores(log, average_scores(results), table)
    log.close()
    if failed := len(paths) - len(results) + len(problems):
        total = len(paths) + len(problems)
        raise RunError(f"{failed} of {total} images could not be tested; see the messages above.")
    if log.problem:
        raise RunError("All images are tested, but the TensorBoard log could not be written; see the message above.")
    return results


def _make_jobs(targets: dict[Path, Path], config: Config) -> list[Job]:
    """Makes the jobs of images, by what the names of their files begin with."""
    jobs = []
    logged: Counter[Path] = Counter()  # images of each set in TensorBoard
    for path, target in targets.items():
        logged[target.parent] += 1
        set_name = target.parent.relative_to(config.sample_dir).as_posix()
        jobs.append(Job(path, target, set_name, logged[target.parent] <= LOGGED_IMAGES))
    return jobs


def _targets(paths: Iterable[Path], config: Config) -> dict[Path, Path]:
    """Returns what the names of each image's four files begin with, in the folder of its set.

    Of several images of a folder with one name, the first has it, and the others have their endings too: `a`, `a_png`.
    """
    directory, targets, taken = Path(config.test_dir), dict[Path, Path](), set[Path]()
    own_name, longest = directory.resolve().name, max((f"_{ending}.png" for ending in ENDINGS), key=len)
    folders = {path: path.parent.relative_to(directory) for path in paths}
    has_own = Path() in folders.values()  # images directly in it
    for path, folder in folders.items():
        set_name = own_name if folder == Path() else folder.as_posix()
        if has_own and folder.parts[:1] == (own_name,):  # else two sets would have one name
            set_name = f"{own_name}/{set_name}"
        stems = itertools.chain(["", f"_{path.suffix[1:]}"], (f"_{number}" for number in itertools.count(2)))
        names = (shortened(path.stem, stem + longest) + stem for stem in stems)
        candidates = (Path(config.sample_dir, set_name, name) for name in names)
        targets[path] = next(candidate for candidate in candidates if candidate not in taken)
        taken.add(targets[path])
    return targets


def _file(job: Job, ending: str) -> Path:
    """Returns one of an image's four files."""
    return job.target.with_name(f"{job.target.name}_{ending}.png")


def score_image(
    config: Config,
    search: WeightsSearch,
    weights: str,
    tile_threads: int,
    stopped: Event | None,
    job: Job,
    progress: tqdm | None = None,
) -> Outcome:
    """Scores one image and saves its four files.

    Args:
        config: how to degrade, restore and score.
        search: where weights are searched.
        weights: what the result says of the weights.
        tile_threads: how many tiles of the image are restored at a time.
        stopped: set when the result is no longer needed.
        job: the image.
        progress: ignored.

    Raises:
        RunError: it cannot be read or is too small, or a file cannot be written.
    """
    _check(stopped)
    restore, path = make_restorer(config, search, tile_threads), job.path
    image = imread(path, config.value_range)
    is_measured = image.dtype != np.uint8
    try:
        degraded, original = preprocess(image, config, compression=config.compression)
        _check(stopped)
        start = time.perf_counter()
        restored = restore(degraded)
        seconds = time.perf_counter() - start
        _check(stopped)
        bicubic_score, srcnn_score = (
            score_channels(channels, original, config.scale, config.network.color, is_measured)
            for channels in (degraded, restored)
        )
    except ValueError as error:
        raise RunError(f"{path}: {error}; remove it, or use a larger image.") from error

    bicubic_image, srcnn_image = (
        channels_to_image(channels, config.network.color) for channels in (degraded, restored)
    )
    panels = {
        f"bicubic {bicubic_score.psnr:.2f} dB": bicubic_image,
        f"SRCNN {srcnn_score.psnr:.2f} dB": srcnn_image,
        "original": modcrop(to_uint8(image) if is_measured else image, config.scale),
    }
    files = (bicubic_image, srcnn_image, panels["original"], side_by_side(panels))
    for ending, saved in zip(ENDINGS, files, strict=True):
        _check(stopped)
        imsave(saved, _file(job, ending))

    result = Result(
        set=job.set,
        image=job.target.name,
        scale=config.scale,
        degradation=config.degradation,
        architecture=config.architecture,
        precision="float32",
        weights=weights,
        psnr_bicubic=bicubic_score.psnr,
        psnr_srcnn=srcnn_score.psnr,
        ssim_bicubic=bicubic_score.ssim,
        ssim_srcnn=srcnn_score.ssim,
        seconds=seconds,
        jpeg_quality=str(config.compression.quality) if config.compression else "none",
    )
    if not job.is_logged:
        return result, None
    return result, side_by_side({caption: crop_center(panel, LOGGED_SIDE) for caption, panel in panels.items()})


def make_restorer(config: Config, search: WeightsSearch, tile_threads: int) -> TiledModel:
    """Returns the network with the weights that are found, prepared once in a process for the same weights."""
    weights, _ = find_weights(config.network, search)
    return _restorer(to_bytes(weights), config.network, config.self_ensemble, tile_threads)


@lru_cache(maxsize=2)
def _restorer(weights: bytes, spec: NetworkSpec, self_ensemble: bool, tile_threads: int) -> TiledModel:
    load_tensorflow(threads=worker_threads())
    from srcnn_tf.model import build_model
    from srcnn_tf.testing.tiling import TILE, TiledModel

    model = build_model(spec)
    model.set_weights(from_bytes(weights, spec))
    restore = TiledModel(model, spec.color, self_ensemble=self_ensemble, threads=tile_threads)
    restore(np.zeros((2 * TILE, 2 * TILE, spec.c_dim)))  # the first images take longer, which no result should say
    return restore


def _images_in_flight(megapixels: Iterable[float]) -> int:
    """Returns how many images may be tested at a time: one at least."""
    return max(1, int(MAX_PIXELS_IN_FLIGHT / 1e6 / max(1e-6, *megapixels)))


def _check(stopped: Event | None) -> None:
    if stopped is not None and stopped.is_set():
        raise RunError("Interrupted.")
