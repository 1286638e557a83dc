"""Tests a network: degrades, restores and scores each test image, and saves it beside the original."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from numpy.typing import NDArray

from srcnn_tf.config import Config
from srcnn_tf.datasets.samples import find_images
from srcnn_tf.errors import RunError, UsageError
from srcnn_tf.images.color import channels_to_image
from srcnn_tf.images.metrics import score_channels
from srcnn_tf.inference.report import Result, average_scores, format_table, side_by_side, write_csv
from srcnn_tf.inference.tensorboard import TensorBoardLog, crop_center, write_scores
from srcnn_tf.inference.tiling import TiledModel
from srcnn_tf.utils import imread, imsave, modcrop, preprocess
from srcnn_tf.weights.store import find_model

LOGGED_SIDE = 320  # rows and columns, at most, of each image in TensorBoard


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

    log = TensorBoardLog(Path(config.log_dir, config.run_name, "test"))
    log.open(append=False)

    results: dict[Path, Result] = {}
    for path in paths:
        folder = path.parent.relative_to(config.test_dir)
        set_name = Path(config.test_dir).resolve().name if folder == Path() else folder.as_posix()
        target = Path(config.sample_dir, set_name, path.stem)
        try:
            if target in results:
                raise RunError(
                    f"{path}: an image with the name {path.stem} was already tested in this folder; rename one of them."
                )
            results[target], comparison = _evaluate_image(path, set_name, target, restore, weights, config)
            log.write_image(0, f"test/{set_name}/{path.stem}", comparison)
        except RunError as error:
            print(f"Problem: {error}", file=sys.stderr)
        except MemoryError as error:
            problem = f"not enough memory to test it ({error}); use a smaller --tile_size, or a smaller image."
            print(f"Problem: {path}: {problem}", file=sys.stderr)

    scores = list(results.values())
    if scores:
        table = format_table(scores)
        print(table)
        csv_path = Path(config.sample_dir, "results.csv")
        write_csv(scores, csv_path)
        print(f"Images and {csv_path.name} are in {config.sample_dir}, the TensorBoard log is in {config.log_dir}.")
        write_scores(log, average_scores(scores), table)
    log.close()
    if len(results) < len(paths):
        failed = len(paths) - len(results)
        raise RunError(f"{failed} of {len(paths)} images could not be tested; see the messages above.")
    if log.problem:
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
    return result, side_by_side({caption: crop_center(panel, LOGGED_SIDE) for caption, panel in panels.items()})
