"""Testing: every picture below a folder, degraded, restored, scored, and saved side by side with the original."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from srcnn_tf import utils
from srcnn_tf.config import Config
from srcnn_tf.datasets import samples as datasets
from srcnn_tf.errors import RunError, UsageError
from srcnn_tf.images import color
from srcnn_tf.images.pictures import read_image
from srcnn_tf.inference import board, report
from srcnn_tf.inference.tiling import Reconstructor, score
from srcnn_tf.weights import checkpoint

BOARD_SIDE = 320  # rows and cols, at most, of each picture in TensorBoard


def evaluate(config: Config) -> list[report.Result]:
    """Tests the pictures below `config.test_dir`, or the one picked.

    Writes, for each, `<name>_bicubic.png`, `<name>_srcnn.png` and `<name>_comparison.png` below
    `config.sample_dir`/<set>, then results.csv there, prints the table, and logs both for TensorBoard.

    Returns:
        The scores, in the pictures' order.

    Raises:
        UsageError: there is no picture of that number.
        RunError: some pictures could not be tested; the rest are done.
    """
    pictures = _pick(config, datasets.find_pictures(config, "test_dir"))
    model, weights = checkpoint.restored_model(config)
    print(f"Weights: {weights}", flush=True)
    results, panels, problems = [], {}, 0
    written: set[Path] = set()
    reconstruct = Reconstructor(model, config.tile_size, config.rgb)
    for path in pictures:
        try:
            result, panel = _test(config, path, reconstruct, weights, written)
        except RunError as error:
            print(f"Problem: {error}", file=sys.stderr)
            problems += 1
            continue
        results.append(result)
        panels[f"{result.set}/{result.image}"] = panel
    log_problem = _publish(config, results, panels) if results else None
    if problems:
        raise RunError(f"{problems} of {len(pictures)} pictures could not be tested; they are named above.")
    if log_problem:
        raise RunError("All pictures are tested, but TensorBoard's log could not be written, as said above.")
    return results


def _pick(config: Config, pictures: list[Path]) -> list[Path]:
    number = config.image_number
    if number is None:
        return pictures
    if number >= len(pictures):
        raise UsageError(
            f"--image_index={number}: there are {len(pictures)} pictures below {config.test_dir}, "
            f"expected 0 to {len(pictures) - 1}, or all."
        )
    return [pictures[number]]


def _test(
    config: Config, path: Path, reconstruct: Reconstructor, weights: str, written: set[Path]
) -> tuple[report.Result, report.Panels]:
    """Tests one picture and saves its three files."""
    image = read_image(path)
    folder, name = _set_name(config, path), path.stem
    target = Path(config.sample_dir, folder, name)
    if target in written:
        raise RunError(f"{path}: another picture of this folder called {name} was tested already; rename one of them.")
    try:
        degraded, original = utils.degraded_pair(image, config.scale, config.degradation, config.color_space)
        start = time.perf_counter()
        restored = reconstruct(degraded)
        seconds = time.perf_counter() - start
        bicubic, srcnn = (score(channels, original, config) for channels in (degraded, restored))
    except ValueError as error:
        raise RunError(f"{path}: {error}; remove it, or give a larger one.") from error
    result = report.Result(
        set=folder,
        image=name,
        scale=config.scale,
        degradation=config.degradation,
        architecture=config.architecture,
        precision="float32",
        weights=weights,
        psnr_bicubic=bicubic.psnr,
        psnr_srcnn=srcnn.psnr,
        ssim_bicubic=bicubic.ssim,
        ssim_srcnn=srcnn.ssim,
        seconds=seconds,
    )
    panels = {
        f"bicubic {report.decibels(bicubic.psnr)} dB": color.to_image(degraded, config.studio_range, config.rgb),
        f"SRCNN {report.decibels(srcnn.psnr)} dB": color.to_image(restored, config.studio_range, config.rgb),
        "original": utils.modcrop(image, config.scale),
    }
    written.add(target)
    for ending, picture in zip(("bicubic", "srcnn"), panels.values(), strict=False):
        utils.imsave(picture, target.with_name(f"{name}_{ending}.png"))
    utils.imsave(report.side_by_side(panels), target.with_name(f"{name}_comparison.png"))
    return result, {caption: board.centre(picture, BOARD_SIDE) for caption, picture in panels.items()}


def _set_name(config: Config, path: Path) -> str:
    """The picture's folder below `test_dir`, or that folder's own name for a picture directly in it."""
    folder = path.parent.relative_to(config.test_dir)
    return Path(config.test_dir).resolve().name if folder == Path() else folder.as_posix()


def _publish(config: Config, results: list[report.Result], panels: dict[str, report.Panels]) -> str | None:
    text = report.table(results)
    print(text)
    path = Path(config.sample_dir, "results.csv")
    report.write_csv(results, path)
    # TensorFlow takes names in UTF-8 alone.
    names = {name: name.encode(errors="backslashreplace").decode() for name in panels}
    pictures = {names[name]: report.side_by_side(panel) for name, panel in panels.items()}
    print(f"Pictures and {path.name} are in {config.sample_dir}; TensorBoard's log is in {config.log_dir}.")
    return board.write_test(Path(config.log_dir, config.run_name, "test"), report.averages(results), text, pictures)
