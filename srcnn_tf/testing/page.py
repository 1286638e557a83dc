"""Writes the page that shows the images and scores of a test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from srcnn_tf.config import Config
from srcnn_tf.testing.report import Result
from srcnn_tf.upscaling.gallery import Entry, write_page


def write_test_page(results: Sequence[Result], config: Config) -> Path:
    """Writes `index.html` in `config.sample_dir`, with the images and scores of a test; returns its path.

    Raises:
        RunError: it cannot be written.
    """
    folder = Path(config.sample_dir)
    columns = ["image", "bicubic dB", "SRCNN dB", "gain dB", "bicubic SSIM", "SRCNN SSIM", "seconds"]
    entries = []
    for result in results:
        scores = (result.psnr_bicubic, result.psnr_srcnn, result.psnr_srcnn - result.psnr_bicubic)
        cells = [f"{score:.2f}" for score in scores]
        cells += [f"{result.ssim_bicubic:.4f}", f"{result.ssim_srcnn:.4f}", f"{result.seconds:.2f}"]
        path = folder / result.set / result.image
        files = {name: path.with_name(f"{path.name}_{name.lower()}.png") for name in ("bicubic", "SRCNN", "original")}
        entries.append(Entry(f"{result.set}/{result.image}", cells, files))
    return write_page(f"SRCNN x{config.scale}: test", columns, entries, folder, config)
