"""The comparison page, in headless Chromium as a user sees it."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import synthetic_image
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from srcnn_tf.config import Config
from srcnn_tf.images.resize import imresize
from srcnn_tf.testing.evaluate import evaluate
from srcnn_tf.upscaling.image_files import upscale_files

ODD = "<b>&\"'#%3F ?\u00e9"  # a file name that has to be escaped in HTML and in addresses


@pytest.fixture
def browser(tmp_path_factory):
    """Headless Chromium without a network; ends with no error in its console."""
    if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
        pytest.skip("needs Debian's packages chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for word in ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "hide-scrollbars"):
        options.add_argument(f"--{word}")
    for word in ("disable-background-networking", "disable-component-update", "disable-sync"):
        options.add_argument(f"--{word}")
    options.add_argument("--force-device-scale-factor=1")
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    driver.set_window_size(1200, 900)
    yield driver
    messages = driver.get_log("browser")
    driver.quit()
    assert messages == []


def show(browser, path):
    browser.get(Path(path).resolve().as_uri())
    return browser.find_elements(By.TAG_NAME, "section")


def screenshot(browser, element):
    """What the browser shows of an element, as RGB."""
    browser.execute_script("arguments[0].scrollIntoView({block: 'start'})", element)
    element.screenshot("shown.png")
    return np.asarray(Image.open("shown.png").convert("RGB")).astype(int)


def position(section):
    style = section.find_element(By.CLASS_NAME, "stack").get_attribute("style")
    return float(style.partition("--position:")[2].partition("%")[0])


@pytest.fixture
def tested(make_image):
    """The page of a test of three images, with their scores."""
    for number, name in enumerate(("b", "a", ODD)):
        make_image(f"Test/{name}.png", 60, 90, seed=number)
    results = evaluate(Config(is_train=False))
    return {result.image: result for result in results}


def test_a_test_is_shown_with_its_scores_and_sorted(tested, browser):
    sections = show(browser, "sample/index.html")
    names = [f"Test/{name}" for name in sorted(tested)]
    assert [section.find_element(By.TAG_NAME, "h2").text for section in sections] == names

    def column(number):
        return [
            row.find_elements(By.TAG_NAME, "td")[number].text
            for row in browser.find_elements(By.CSS_SELECTOR, "tbody tr")
        ]

    assert column(0) == names
    assert column(2) == [f"{tested[name].psnr_srcnn:.2f}" for name in sorted(tested)]
    header = browser.find_elements(By.CSS_SELECTOR, "th button")[2]
    for expected in (sorted(column(2), key=float, reverse=True), sorted(column(2), key=float)):
        header.click()
        assert column(2) == expected
    for image in browser.find_elements(By.TAG_NAME, "img"):
        assert image.get_attribute("alt")
    images = sections[0].find_elements(By.TAG_NAME, "img")
    browser.execute_script("for (const image of document.images) image.loading = 'eager'")
    for section in sections:
        for image in section.find_elements(By.TAG_NAME, "img")[:2]:
            loaded = "return arguments[0].decode().then(() => arguments[0].naturalWidth)"
            assert browser.execute_script(loaded, image) == 90
    assert len(images) == 3


def test_the_line_moves_by_mouse_touch_and_keys(tested, browser):
    section = show(browser, "sample/index.html")[1]
    slider = section.find_element(By.CSS_SELECTOR, "input[type=range]")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", slider)
    assert position(section) == 50
    ActionChains(browser).move_to_element(slider).click_and_hold().move_by_offset(22, 0).release().perform()
    assert position(section) == pytest.approx(75, abs=2)
    slider.send_keys(Keys.ARROW_LEFT * 3)
    assert position(section) == pytest.approx(72, abs=2)
    box = slider.rect
    touch = {"x": box["x"] + 0.25 * box["width"], "y": 0}
    top = browser.execute_script("return arguments[0].getBoundingClientRect().top", slider)
    for kind, points in (("touchStart", [touch | {"y": top + 20}]), ("touchEnd", [])):
        browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    assert position(section) == pytest.approx(25, abs=2)


def test_zoom_shows_each_pixel_of_both_versions_as_a_square(tested, browser):
    section = show(browser, "sample/index.html")[0]
    Select(section.find_element(By.CLASS_NAME, "choose-zoom")).select_by_visible_text("4x")
    stack = section.find_element(By.CLASS_NAME, "stack")
    browser.execute_script("document.querySelectorAll('.handle').forEach(handle => handle.hidden = true)")
    for names, half in ((("bicubic", "srcnn"), slice(None)), (("original", "srcnn"), slice(0, 40))):
        for side, name in zip(("left", "right"), names, strict=True):
            label = {"srcnn": "SRCNN"}.get(name, name)
            Select(section.find_element(By.CLASS_NAME, f"choose-{side}")).select_by_visible_text(label)
        left, right = (np.asarray(Image.open(f"sample/Test/{sorted(tested)[0]}_{name}.png")) for name in names)
        expected = np.concatenate([left[:, :45], right[:, 45:]], axis=1)
        expected = np.repeat(np.repeat(expected, 4, axis=0), 4, axis=1).astype(int)
        shown = screenshot(browser, stack)
        assert shown.shape == expected.shape
        difference = np.abs(shown - expected).max(axis=2)
        difference[:, 178:182] = 0  # the line
        assert (difference[half, :] > 2).mean() < 0.01


def test_a_narrow_window_and_dark_mode_are_readable(tested, browser):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 640, "deviceScaleFactor": 1, "mobile": True}
    )
    colors = {"name": "prefers-color-scheme", "value": "dark"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [colors]})
    show(browser, "sample/index.html")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
    background = browser.execute_script(
        "const canvas = document.createElement('div'); canvas.style.color = 'Canvas'; document.body.append(canvas);"
        "return getComputedStyle(canvas).color"
    )
    assert sum(map(int, background.strip("rgb()").split(","))) < 200


@pytest.mark.parametrize("page", ["linked", "embedded"])
def test_upscaled_images_are_shown_beside_bicubic_ones(page, make_image, browser):
    for number, name in enumerate(("a.png", f"{ODD}.jpg", "c.tif")):
        make_image(f"in/{name}", 20, 30, seed=number)
    config = Config(input="in", output="out", scale=2.5, page=page)
    upscale_files(config)
    text = Path("out/index.html").read_text()
    assert ("data:image" in text) == (page == "embedded")
    if page == "embedded":
        Path("out/index.html").rename("alone.html")
    sections = show(browser, "alone.html" if page == "embedded" else "out/index.html")
    assert [section.find_element(By.TAG_NAME, "h2").text for section in sections] == [
        f"{ODD}_x2.5.jpg",
        "a_x2.5.png",
        "c_x2.5.tif",
    ]
    assert "do not show this format" in sections[2].text
    for image in browser.find_elements(By.TAG_NAME, "img"):
        assert browser.execute_script("return arguments[0].decode().then(() => arguments[0].naturalWidth)", image) == 75
    bicubic = np.asarray(Image.open("out/.bicubic/a_x2.5.png"))
    np.testing.assert_array_equal(bicubic, imresize(synthetic_image(20, 30, 0), 2.5))
    upscale_files(config)  # which finds all of them done, and no image among its own
    assert Path("out/index.html").read_text() == text
