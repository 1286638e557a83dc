"""Tests a network: degrades, restores and scores each test image, and saves it beside the original."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from numpy.typing import NDArray

from srcnn_tf.config import Config
from srcnn_tf.datasets.samples import find_images
from srcnn_tf.errors import RunError, UsageError
from srcnn_tf.images.color import to_image
from srcnn_tf.inference.report import Result, average_scores, format_psnr, format_table, side_by_side, write_csv
from srcnn_tf.inference.tensorboard import crop_center, write_test_log
from srcnn_tf.inference.tiling import TiledModel, score
from srcnn_tf.utils import imread, imsave, modcrop, preprocess
from srcnn_tf.weights.store import find_model

PREVIEW = 320  # rows and columns, at most, of each image in TensorBoard


def evaluate(config: Config) -> list[Result]:
    """Tests the images below `config.test_dir`, or the one selected by `config.image_index`.

    Writes `<name>_bicubic.png`, `<name>_srcnn.png` and `<name>_comparison.png` of each image below
    `config.sample_dir`/<set>, results.csv in `config.sample_dir`, and a TensorBoard log; prints a table of the scores.

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
    print(f"Weights: {weights}", flush=True)
    restore = TiledModel(model, config.tile_size, config.rgb)

    results: dict[Path, Result] = {}
    comparisons: dict[str, NDArray] = {}
    for path in paths:
        folder = path.parent.relative_to(config.test_dir)
        set_name = Path(config.test_dir).resolve().name if folder == Path() else folder.as_posix()
        target = Path(config.sample_dir, set_name, path.stem)
        try:
            if target in results:
                raise RunError(
                    f"{path}: an image with the name {path.stem} was already tested in this folder; rename one of them."
                )
            results[target], comparisons[f"{set_name}/{path.stem}"] = _evaluate_image(
                path, set_name, target, restore, weights, config
            )
        except RunError as error:
            print(f"Problem: {error}", file=sys.stderr)

    scores = list(results.values())
    log_problem = None
    if scores:
        table = format_table(scores)
        print(table)
        csv_path = Path(config.sample_dir, "results.csv")
        write_csv(scores, csv_path)
        print(f"Images and {csv_path.name} are in {config.sample_dir}, the TensorBoard log is in {config.log_dir}.")
        log_directory = Path(config.log_dir, config.run_name, "test")
        log_problem = write_test_log(log_directory, average_scores(scores), table, comparisons)
    if len(results) < len(paths):
        failed = len(paths) - len(results)
        raise RunError(f"{failed} of {len(paths)} images could not be tested; see the messages above.")
    if log_problem:
        raise RunError("All images are tested, but the TensorBoard log could not be written; see the message above.")
    return scores


def _evaluate_image(
    path: Path, set_name: str, target: Path, restore: TiledModel, weights: str, config: Config
) -> tuple[Result, NDArray]:
    """Scores one image and saves its three files, whose names begin with `target`.

    Returns:
        The scores, and the comparison for TensorBoard: uint8 RGB, cropped.
    """
    image = imread(path)
    try:
        degraded, original = preprocess(image, config)
        start = time.perf_counter()
        restored = restore(degraded)
        seconds = time.perf_counter() - start
        bicubic_score, srcnn_score = (score(channels, original, config) for channels in (degraded, restored))
    except ValueError as error:
        raise RunError(f"{path}: {error}; remove it, or use a larger image.") from error

    bicubic_image, srcnn_image = (to_image(found, config.studio_range, config.rgb) for found in (degraded, restored))
    panels = {
        f"bicubic {format_psnr(bicubic_score.psnr)} dB": bicubic_image,
        f"SRCNN {format_psnr(srcnn_score.psnr)} dB": srcnn_image,
        "original": modcrop(image, config.scale),
    }
    imsave(bicubic_image, target.with_name(f"{path.stem}_bicubic.png"))
    imsave(srcnn_image, target.with_name(f"{path.stem}_srcnn.png"))
    imsave(side_by_side(panels), target.with_name(f"{path.stem}_comparison.png"))

    result = Result(
        set=set_name,
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
    )
    return result, side_by_side({caption: crop_center(panel, PREVIEW) for caption, panel in panels.items()})
