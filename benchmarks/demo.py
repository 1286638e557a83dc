"""Speed of the page docs/demo/index.html in headless Chromium, next to `upscale_image` on the same image.

    python -m benchmarks.demo

The luma of a synthetic colour image is restored at x2, x3 and x4: by the page on the processor and by WebGL, which is
computed in software here, and by the package. Each value is the fastest of `--turns` runs, taken in turns:

    | megapixels/s | x2 | x3 | x4 |

Needs selenium, Chromium and chromedriver.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from benchmarks.common import ROOT, report_errors, synthetic_image
from srcnn_tf.api import upscale_image
from srcnn_tf.errors import RunError

SCALES = (2, 3, 4)
SWITCHES = ("headless=new", "no-sandbox", "no-first-run", "disable-background-networking", "disable-component-update")
SWITCHES += ("disable-sync", "enable-unsafe-swiftshader")
TIME = r"([\d.]+) megapixels in ([\d.]+) s on (.*)\."
# Megapixels of the results: by software, WebGL takes 20 s for one.
SIZES = {"upscale_image": 4.0, "processor": 4.0, "webgl": 0.2}


def start(folder: str) -> webdriver.Chrome:
    """Starts Chromium with the page."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        raise RunError("benchmarks.demo needs chromium and chromedriver, Debian's packages chromium, chromium-driver.")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for switch in (*SWITCHES, f"user-data-dir={folder}"):
        options.add_argument(f"--{switch}")
    page = webdriver.Chrome(options, webdriver.ChromeService(driver))
    page.get((ROOT / "docs" / "demo" / "index.html").as_uri())
    return page


def measure(page: webdriver.Chrome, device: str, scale: int, path: Path) -> float:
    """Upscales an image file by the page, or by the package; returns megapixels/s."""
    if device == "upscale_image":
        with Image.open(path) as image:
            begin = time.perf_counter()
            rows, cols = upscale_image(image, scale=scale).shape[:2]
        return rows * cols / 1e6 / (time.perf_counter() - begin)
    Select(page.find_element(By.ID, "device")).select_by_value(device)
    Select(page.find_element(By.ID, "scale")).select_by_value(str(scale))
    page.execute_script("document.body.dataset.state = ''")
    page.find_element(By.ID, "file").send_keys(str(path))
    WebDriverWait(page, 120).until(lambda _: page.execute_script("return document.body.dataset.state") == "done")
    megapixels, seconds, _ = re.search(TIME, page.find_element(By.ID, "status").text).groups()  # type: ignore[union-attr]
    return float(megapixels) / float(seconds)


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5, help="runs of each")
    turns = parser.parse_args().turns
    speeds: dict[tuple[str, int], float] = {}
    with tempfile.TemporaryDirectory() as folder:
        page = start(os.path.join(folder, "profile"))
        try:
            for _ in range(turns + 1):  # the first one, which compiles, is never the fastest
                for scale in SCALES:
                    for device, megapixels in SIZES.items():
                        side = round((megapixels * 1e6) ** 0.5 / scale)
                        path = Path(folder, f"{side}.png")
                        Image.fromarray(synthetic_image(side, side)).save(path)
                        key = device, scale
                        speeds[key] = max(speeds.get(key, 0), measure(page, device, scale, path))
        finally:
            page.quit()
    names = {"upscale_image": "`upscale_image`", "processor": "page, processor", "webgl": "page, WebGL by software"}
    print("| megapixels/s |", " | ".join(f"x{scale}" for scale in SCALES), "|")
    print("|---" * (len(SCALES) + 1) + "|")
    for device, name in names.items():
        print(f"| {name} |", " | ".join(f"{speeds[device, scale]:.2f}" for scale in SCALES), "|")


if __name__ == "__main__":
    sys.exit(report_errors(main))
