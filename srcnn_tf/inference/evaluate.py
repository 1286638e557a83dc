"""Tests a network: degrades, restores and scores each test image, and saves it beside the original."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Event

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from srcnn_tf.config import Config
from srcnn_tf.datasets.samples import find_images
from srcnn_tf.devices import cores, map_in_threads
from srcnn_tf.errors import RunError, UsageError
from srcnn_tf.images.color import channels_to_image
from srcnn_tf.images.metrics import score_channels
from srcnn_tf.images.read import declared_size
from srcnn_tf.inference.gallery import write_test_page
from srcnn_tf.inference.report import BAR, Panels, Result, average_scores, format_table, side_by_side, write_csv
from srcnn_tf.inference.tensorboard import TensorBoardLog, crop_center, write_scores
from srcnn_tf.inference.tiling import TiledModel
from srcnn_tf.utils import imread, imsave, modcrop, preprocess
from srcnn_tf.weights.store import find_model

PIXELS = 2**25  # of images that are tested at the same time, at most, if it is more than one; each takes 120 bytes
LOGGED_IMAGES = 4  # of each set, in TensorBoard
LOGGED_SIDE = 320  # rows and columns, at most, of each image in TensorBoard


@dataclass(frozen=True)
class Job:
    """A test image, what the names of its files begin with, and whether TensorBoard shows it."""

    path: Path
    target: Path
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
    paths = find_images(config, "test_dir")
    if (index := config.image_number) is not None:
        if index >= len(paths):
            raise UsageError(
                f"--image_index={index}: found {len(paths)} images below {config.test_dir}, "
                f"expected an index from 0 to {len(paths) - 1}, or all."
            )
        paths = [paths[index]]
    model, weights = find_model(config)
    weights += " (self-ensemble)" * config.self_ensemble
    print(f"Weights: {weights}", flush=True)

    log = TensorBoardLog(Path(config.log_dir, config.run_name, "test"))
    log.open(append=False)

    restore = TiledModel(model, config.rgb, self_ensemble=config.self_ensemble)
    scores: dict[Path, Result] = {}
    for job, outcome in _outcomes(_find_jobs(paths, config), restore, weights, config):
        if isinstance(outcome, RunError):
            _print_problem(str(outcome))
            continue
        scores[job.path], panels = outcome
        if panels is not None:
            log.write_image(0, f"test/{scores[job.path].set}/{scores[job.path].image}", panels)
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
    if len(results) < len(paths):
        failed = len(paths) - len(results)
        raise RunError(f"{failed} of {len(paths)} images could not be tested; see the messages above.")
    if log.problem:
        raise RunError("All images are tested, but the TensorBoard log could not be written; see the message above.")
    return results


def _find_jobs(paths: Sequence[Path], config: Config) -> list[Job]:
    """Lists what to test: of several images of a folder with one name the first; the others are reported."""
    jobs: dict[Path, Job] = {}  # by their targets
    logged: Counter[Path] = Counter()  # images of each set in TensorBoard
    for path in paths:
        target = _target(path, config)
        if target in jobs:
            _print_problem(
                f"{path}: an image with the name {path.stem} was already tested in this folder; rename one of them."
            )
            continue
        logged[target.parent] += 1
        jobs[target] = Job(path, target, logged[target.parent] <= LOGGED_IMAGES)
    return list(jobs.values())


def _target(path: Path, config: Config) -> Path:
    """Returns what the names of an image's four files begin with, in the folder of its set."""
    folder = path.parent.relative_to(config.test_dir)
    set_name = Path(config.test_dir).resolve().name if folder == Path() else folder.as_posix()
    return Path(config.sample_dir, set_name, path.stem)


def _outcomes(
    jobs: Sequence[Job], restore: TiledModel, weights: str, config: Config
) -> Iterator[tuple[Job, Outcome | RunError]]:
    """Tests all images, in threads or on the workers of a cluster, and yields results as they come."""
    megapixels = {job.path: math.prod(declared_size(job.path)) / 1e6 for job in jobs}
    if config.cluster is None:
        stopped = Event()

        def test(job: Job) -> tuple[Job, Outcome | RunError]:
            return job, _test_image(job, restore, weights, config, stopped)

        threads = min(cores(), max(1, int(PIXELS / 1e6 / max(1e-6, *megapixels.values()))))
        yield from map_in_threads(test, jobs, threads, stopped)
        return

    from srcnn_tf.inference.cluster import map_on_cluster, with_absolute_paths

    originals = {replace(job, path=job.path.absolute(), target=job.target.absolute()): job for job in jobs}
    function = partial(_test_on_worker, with_absolute_paths(config), weights)
    with tqdm(total=sum(megapixels.values()), bar_format=BAR, disable=None, dynamic_ncols=True) as bar:
        for job, outcome in map_on_cluster(function, originals, config.cluster):
            yield originals[job], outcome
            bar.update(megapixels[originals[job].path])


def _test_on_worker(config: Config, weights: str, job: Job) -> Outcome | RunError:
    from srcnn_tf.inference.cluster import once_per_process

    return _test_image(job, once_per_process(_load_restorer, config), weights, config, Event())


def _load_restorer(config: Config) -> TiledModel:
    return TiledModel(find_model(config)[0], config.rgb, self_ensemble=config.self_ensemble)


def _test_image(job: Job, restore: TiledModel, weights: str, config: Config, stopped: Event) -> Outcome | RunError:
    """Tests an image; returns the problem if it cannot be tested, as other images should be."""
    try:
        result, panels = _evaluate_image(job.path, job.target, restore, weights, config, stopped)
    except RunError as error:
        return error
    except MemoryError as error:
        return RunError(f"{job.path}: not enough memory to test it ({error}); use a smaller image.")
    if not job.is_logged:
        return result, None
    return result, side_by_side({caption: crop_center(panel, LOGGED_SIDE) for caption, panel in panels.items()})


def _print_problem(problem: str) -> None:
    tqdm.write(f"Problem: {problem}", file=sys.stderr)


def _evaluate_image(
    path: Path, target: Path, restore: TiledModel, weights: str, config: Config, stopped: Event
) -> tuple[Result, Panels]:
    """Scores one image and saves its four files, whose names begin with `target`.

    Returns:
        The scores, and the three images of the comparison by caption.
    """
    _check(stopped)
    image = imread(path)
    try:
        degraded, original = preprocess(image, config, compression=config.compression)
        _check(stopped)
        start = time.perf_counter()
        restored = restore(degraded)
        seconds = time.perf_counter() - start
        _check(stopped)
        bicubic_score, srcnn_score = (
            score_channels(channels, original, config.scale, config.studio_range, config.rgb)
            for channels in (degraded, restored)
        )
    except ValueError as error:
        raise RunError(f"{path}: {error}; remove it, or use a larger image.") from error

    bicubic_image, srcnn_image = (
        channels_to_image(channels, config.studio_range, config.rgb) for channels in (degraded, restored)
    )
    panels = {
        f"bicubic {bicubic_score.psnr:.2f} dB": bicubic_image,
        f"SRCNN {srcnn_score.psnr:.2f} dB": srcnn_image,
        "original": modcrop(image, config.scale),
    }
    files = {
        "bicubic": bicubic_image,
        "srcnn": srcnn_image,
        "original": panels["original"],
        "comparison": side_by_side(panels),
    }
    for ending, saved in files.items():
        _check(stopped)
        imsave(saved, target.with_name(f"{path.stem}_{ending}.png"))

    result = Result(
        set=target.parent.relative_to(config.sample_dir).as_posix(),
        image=path.stem,
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
    return result, panels


def _check(stopped: Event) -> None:
    if stopped.is_set():
        raise RunError("Interrupted.")
