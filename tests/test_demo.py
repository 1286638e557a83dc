"""The page docs/demo/index.html, in headless Chromium as a visitor uses it: computed by the processor and by WebGL."""

import base64
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, as_stored, synthetic_image
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait
from skimage import data

from srcnn_tf.api import upscale_image
from srcnn_tf.config import Config
from srcnn_tf.datasets.samples import SAMPLES
from srcnn_tf.images.reader import ImageReader
from srcnn_tf.spec import NetworkSpec
from srcnn_tf.testing.evaluate import evaluate
from srcnn_tf.upscaling.upscaler import AUTOMATIC_LIMITS, Upscaler, suited_degradation
from srcnn_tf.weights.search import WeightsSearch

PAGE = ROOT / "docs" / "demo" / "index.html"
AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
SWITCHES = ["headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "hide-scrollbars"]
SWITCHES += ["disable-background-networking", "disable-component-update", "disable-sync", "force-device-scale-factor=1"]
SOFTWARE_WEBGL = "enable-unsafe-swiftshader"


class Browser:
    """Headless Chromium with the page; `downloads` is where it saves files."""

    def __init__(self, folder, *switches):
        if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
            pytest.skip("needs Debian's packages chromium and chromium-driver")
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for switch in (*SWITCHES, *switches, f"user-data-dir={folder / 'profile'}"):
            options.add_argument(f"--{switch}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
        self.driver.set_window_size(1200, 900)
        self.downloads = folder / "downloads"
        self.command("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.downloads))

    def command(self, name, **arguments):
        return self.driver.execute_cdp_cmd(name, arguments)

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def forget(self):
        """Forgets what was logged."""
        self.driver.get("about:blank")
        for name in ("browser", "performance"):
            self.driver.get_log(name)

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def open(self, page=PAGE, device="processor", scale=3, test=False):
        """Opens the page as it is at first, with these choices."""
        self.driver.get(page.resolve().as_uri())
        Select(self.find("#device")).select_by_value(device)
        Select(self.find("#scale")).select_by_value(str(scale))
        if test:
            self.find("#test").click()
        return self

    def wait(self, state="done"):
        """Waits until the page has this state; returns what it says."""
        WebDriverWait(self.driver, 60, 0.02).until(lambda _: self.run("return document.body.dataset.state") == state)
        return self.find("#status").text

    def take(self, path, state="done"):
        """Gives an image file to the page."""
        self.find("#file").send_keys(str(Path(path).resolve()))
        return self.wait(state)

    def upscale(self, path):
        """Upscales an image file and downloads the result: `(rows, cols, 4)`."""
        self.take(path)
        return self.download(f"{Path(path).stem}_x{self.find('#scale').get_attribute('value')}.png")

    def download(self, name):
        (self.downloads / name).unlink(missing_ok=True)
        self.find("#download").click()
        WebDriverWait(self.driver, 20, 0.02).until(lambda _: (self.downloads / name).is_file())
        return np.asarray(Image.open(self.downloads / name).convert("RGBA")).astype(int)

    def shown(self, element):
        """What is shown of an element, as RGB."""
        self.run("arguments[0].scrollIntoView({block: 'center'})", element)
        element.screenshot("shown.png")
        return np.asarray(Image.open("shown.png").convert("RGB")).astype(int)

    def style(self, width, scheme):
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 600
        )
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])


def check_console_and_requests(browser):
    """No message in the console, and no request but for what is in the file."""
    assert browser.driver.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.driver.get_log("performance")]
    urls = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert urls
    assert [url for url in urls if not url.startswith(("file:", "data:", "blob:"))] == []


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("chromium"), SOFTWARE_WEBGL)
    yield browser
    browser.driver.quit()


@pytest.fixture
def browser(chromium):
    """The browser of all tests, as it is started; after each, nothing was requested and nothing went wrong."""
    chromium.command("Emulation.clearDeviceMetricsOverride")
    chromium.command("Emulation.setEmulatedMedia", features=[])
    chromium.forget()
    yield chromium
    check_console_and_requests(chromium)


def assert_equal(found, pixels, **options):
    """At most one level of difference, in at most 0.1 % of the values."""
    expected = upscale_image(pixels, **options)
    if expected.ndim == 2:
        expected = np.dstack([expected] * 3)
    difference = np.abs(found[..., : expected.shape[2]] - expected.astype(int))
    assert found.shape[:2] == expected.shape[:2]
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 0.001


def sample(name):
    return np.asarray(Image.open(Path(data.__file__).parent / name))


# --- The file ---


def test_the_page_is_one_small_file_that_may_connect_to_nothing():
    text = PAGE.read_text(encoding="utf-8")
    assert PAGE.stat().st_size <= 2_000_000
    policy = re.search('Content-Security-Policy" content="([^"]+)"', text)[1]
    assert policy.startswith("default-src 'none';")
    assert not re.search("https?:|connect-src|unsafe-inline|unsafe-eval(?<!wasm-unsafe-eval)", policy)
    html = re.sub("(?s)<script.*?</script>|<style.*?</style>", "", text)
    assert {link[:5] for link in re.findall(r'(?:src|href)="([^"]*)', html)} == {"data:"}


def test_the_source_is_short_and_its_packages_are_pinned():
    sources = list((ROOT / "web" / "src").glob("*.ts"))
    assert sum(len(path.read_text().splitlines()) for path in sources) <= 600
    limits = json.dumps(AUTOMATIC_LIMITS)[1:-1].replace('"', "")
    assert f"AUTOMATIC_LIMITS = {{ {limits} }}" in (ROOT / "web" / "src" / "page.ts").read_text()
    assert max(len(line) for path in sources for line in path.read_text().splitlines()) <= 120
    package = json.loads((ROOT / "web" / "package.json").read_text())
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in package["devDependencies"].values())
    assert "resolved" not in (ROOT / "web" / "package-lock.json").read_text()  # no registry's host


def test_it_has_the_sentences_of_how_it_works():
    document = re.sub(r"\s+", " ", re.sub("[*`]", "", (ROOT / "docs" / "how-it-works.md").read_text()))
    page = (ROOT / "web" / "index.html").read_text()
    sentences = [
        re.sub("<.*?>", "", text) for text in re.findall('<p[^>]* data-from="how-it-works">(.*?)</p>', page, re.S)
    ]
    assert len(sentences) >= 9
    assert [text for text in sentences if re.sub(r"\s+", " ", text) not in document] == []


# --- The result ---


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLES["test_dir"])
def test_samples_equal_upscale_image(name, browser):
    assert_equal(browser.open().upscale(Path(data.__file__).parent / name), sample(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLES["test_dir"])
def test_samples_equal_upscale_image_by_webgl(name, browser):
    """A part, as software computes 0.05 megapixels/s."""
    pixels = sample(name)[:200, :200]
    Image.fromarray(pixels).save("part.png")
    assert_equal(browser.open(device="webgl").upscale("part.png"), pixels)


@pytest.mark.parametrize(("device", "rows", "cols"), [("processor", 200, 260), ("webgl", 50, 60)])
@pytest.mark.parametrize(("name", "scale"), [("astronaut.png", 2), ("camera.png", 3), ("chelsea.png", 4)])
def test_parts_of_samples_equal_upscale_image(device, rows, cols, name, scale, browser):
    pixels = sample(name)[100 : 100 + rows, 150 : 150 + cols]
    Image.fromarray(pixels).save("part.png")
    assert_equal(browser.open(device=device, scale=scale).upscale("part.png"), pixels, scale=scale)


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (130, 121)])
def test_other_factors_and_small_images(scale, size, browser):
    pixels = synthetic_image(*size)
    Image.fromarray(pixels).save("image.png")
    assert_equal(browser.open(scale=scale).upscale("image.png"), pixels, scale=scale)


FILES = {
    "quality 60": ("a.jpg", {"quality": 60}),
    "quality 91": ("a.jpg", {"quality": 91}),
    "quality 92": ("a.jpg", {"quality": 92}),
    "progressive": ("a.jpg", {"quality": 85, "progressive": True, "comment": b"\xff\xdb"}),
    **{f"WebP {quality}": ("a.webp", {"quality": quality, "method": quality % 7}) for quality in (5, 50, 80, 98)},
    "lossless WebP": ("a.webp", {"lossless": True}),
    "PNG": ("a.png", {}),
}


@pytest.mark.parametrize("kind", FILES)
def test_weights_are_chosen_as_by_the_program(kind, browser):
    name, options = FILES[kind]
    Image.fromarray(synthetic_image(40, 50)).save(name, **options)
    with ImageReader(Path(name), 10**6) as reader:
        quality = next(iter(reader)).jpeg_quality
    upscaler = Upscaler(NetworkSpec(degradation="matlab"), WeightsSearch(), is_automatic=True)
    chosen = upscaler.passes(3, suited_degradation(quality, 3))[0].spec.degradation
    text = browser.open().take(name)
    assert f"{name}: x3, {chosen} weights" in text
    assert ("JPEG quality" in text) == (quality is not None)
    if quality is not None:
        assert f"(JPEG quality {quality:.0f})" in text


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_file_equals_upscale_image_with_its_weights(mode, browser):
    Image.fromarray(synthetic_image(60, 80)).convert(mode).save("image.jpg", quality=70, subsampling=0)
    assert_equal(browser.open().upscale("image.jpg"), np.asarray(Image.open("image.jpg")), degradation="jpeg")


def test_alpha_is_interpolated_and_nothing_bleeds(browser):
    pixels = np.dstack([synthetic_image(40, 50), np.full((40, 50), 255, np.uint8)])
    pixels[:, :20, 3] = 0
    pixels[:, :20, :3] = 0  # black below what is fully transparent
    pixels[10:20, 30:40, 3] = 128
    Image.fromarray(pixels).save("image.png")
    found, expected = browser.open().upscale("image.png"), upscale_image(pixels).astype(int)
    assert np.abs(found[..., 3] - expected[..., 3]).max() <= 1
    visible = expected[..., 3] > 200
    difference = np.abs(found - expected)[visible]
    assert np.percentile(difference, 99) <= 2
    assert difference.max() < 40  # where the visible pixel that is taken is another one


@pytest.mark.parametrize("orientation", [3, 6])
def test_orientation_is_applied(orientation, browser):
    upright = np.asarray(Image.open(Path(data.__file__).parent / "camera.png"))[:60, :80]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(as_stored(upright, orientation)).save("image.jpg", quality=100, exif=exif)
    found = browser.open().upscale("image.jpg")
    assert found.shape[:2] == (180, 240)
    assert np.abs(found[..., 0] - upscale_image(upright)).mean() < 1


def test_a_test_has_the_scores_of_the_program(browser):
    """Of a colour and a grey image, whose sizes are no multiples of the factor."""
    Path("Test").mkdir()
    for name in ("chelsea", "coins"):
        Image.fromarray(sample(f"{name}.png")[:200, :220]).save(f"Test/{name}.png")
    for expected in evaluate(Config(is_train=False, degradation="matlab")):
        text = browser.open(test=True).take(f"Test/{expected.image}.png")
        for name, psnr, ssim in (
            ("bicubic", expected.psnr_bicubic, expected.ssim_bicubic),
            ("SRCNN", expected.psnr_srcnn, expected.ssim_srcnn),
        ):
            found = re.search(rf"{name}: PSNR ([\d.]+) dB, SSIM ([\d.]+)\.", text)
            assert float(found[1]) == pytest.approx(psnr, abs=0.0051)
            assert float(found[2]) == pytest.approx(ssim, abs=0.000051)
        assert browser.run("return document.querySelector('#left-version option[value=original]').disabled") is False


def test_twelve_megapixels_are_upscaled_in_tiles_while_the_page_responds(browser):
    Image.fromarray(synthetic_image(1000, 1334)).save("large.png")
    browser.open(scale=3).find("#file").send_keys(str(Path("large.png").resolve()))
    # What the frames show while tiles are computed.
    shares = browser.driver.execute_async_script(
        "const done = arguments[0], shares = new Set(), progress = document.getElementById('progress');"
        "const frame = () => { shares.add(progress.value); shares.size > 6 ? done([...shares])"
        " : requestAnimationFrame(frame) }; requestAnimationFrame(frame)"
    )
    assert 0 < shares[-1] < 0.5
    browser.find("#cancel").click()
    assert "cancelled" in browser.wait("cancelled")
    assert not browser.find("#download").is_displayed()
    Image.fromarray(synthetic_image(10, 20)).save("small.png")  # another image after that
    assert "small.png: x3" in browser.take("small.png")


def test_of_a_larger_image_a_phone_upscales_the_middle(browser):
    browser.style(360, "light")
    browser.command("Emulation.setTouchEmulationEnabled", enabled=True)
    Image.new("RGB", (5000, 3600)).save("huge.png")
    browser.open(scale=4).find("#file").send_keys(str(Path("huge.png").resolve()))
    WebDriverWait(browser.driver, 30, 0.02).until(lambda _: browser.find("#progress").get_property("value") > 0)
    size = browser.run("const { width, height } = document.getElementById('srcnn'); return [width, height]")
    browser.find("#cancel").click()
    browser.command("Emulation.setTouchEmulationEnabled", enabled=False)
    assert size[0] * size[1] <= 4096**2
    assert size[0] / size[1] == pytest.approx(5000 / 3600, abs=0.01)


def test_without_webgl_the_page_says_so_and_the_processor_computes(tmp_path):
    other = Browser(tmp_path, "disable-software-rasterizer")
    other.forget()
    try:
        Image.fromarray(synthetic_image(20, 30)).save("image.png")
        for device in ("auto", "webgl"):
            text = other.open(device=device).take("image.png")
            assert re.search(r"on the processor \(\d+ workers; this browser has no WebGL 2\)", text)
        check_console_and_requests(other)
    finally:
        other.driver.quit()


def test_a_file_that_is_no_image_is_an_error(browser):
    Path("notes.png").write_text("no image")
    text = browser.open().take("notes.png", "failed")
    assert text.startswith("notes.png: this browser cannot read it. Expected a JPEG, PNG")


# --- The page ---


@pytest.fixture
def page(browser):
    """The page with the result of an image of 30 x 40 pixels."""
    Image.fromarray(synthetic_image(30, 40)).save("image.png")
    browser.open().take("image.png")
    browser.run("document.getElementById('line').value = 50; document.getElementById('line').oninput()")
    return browser


def test_an_image_is_dropped_pasted_or_a_sample(browser):
    Image.fromarray(synthetic_image(10, 20)).save("dropped.png")
    browser.open()
    data_of_drag = {"items": [], "files": [str(Path("dropped.png").resolve())], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        browser.command("Input.dispatchDragEvent", type=kind, x=300, y=300, data=data_of_drag)
    assert "dropped.png: x3" in browser.wait()
    content = base64.b64encode(Path("dropped.png").read_bytes()).decode()
    browser.run(
        "const bytes = Uint8Array.from(atob(arguments[0]), c => c.charCodeAt(0)), transfer = new DataTransfer();"
        "transfer.items.add(new File([bytes], 'pasted.png', {type: 'image/png'}));"
        "document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: transfer}))",
        content,
    )
    WebDriverWait(browser.driver, 20).until(lambda _: "pasted.png: x3" in browser.find("#status").text)
    for button in browser.driver.find_elements(By.CSS_SELECTOR, "#samples button"):
        browser.run("document.body.dataset.state = ''")
        button.click()
        assert "x3, " in browser.wait()
    assert browser.find("#camera").get_attribute("capture") == "environment"


def position(page):
    """Where the line is, in percent."""
    return float(page.run("return document.getElementById('view').style.getPropertyValue('--line')").rstrip("%"))


def test_the_line_moves_by_mouse_touch_and_keys(page):
    line, view = page.find("#line"), page.find("#view")
    page.run("arguments[0].scrollIntoView({block: 'center'})", view)
    box = page.run("return arguments[0].getBoundingClientRect().toJSON()", view)
    x, y = box["left"] + box["width"] / 2, box["top"] + box["height"] / 2
    actions = ActionChains(page.driver)
    actions.move_to_element(view).click_and_hold().move_by_offset(int(0.25 * box["width"]), 0).release().perform()
    assert position(page) == pytest.approx(75, abs=2)
    line.send_keys(Keys.ARROW_LEFT * 3)
    assert position(page) == pytest.approx(72, abs=2)
    line.send_keys(Keys.HOME)
    assert position(page) == 0
    line.send_keys(Keys.END + Keys.PAGE_DOWN * 5)
    assert position(page) == pytest.approx(50, abs=6)
    x = box["left"] + position(page) / 100 * box["width"]
    for kind, points in (
        ("touchStart", [{"x": x, "y": y}]),
        ("touchMove", [{"x": box["left"] + 0.25 * box["width"], "y": y}]),
        ("touchEnd", []),
    ):
        page.command("Input.dispatchTouchEvent", type=kind, touchPoints=points)
    assert position(page) == pytest.approx(25, abs=3)


def test_zoom_shows_each_pixel_of_both_versions_as_a_square(page):
    canvases = page.run(
        "return ['bicubic', 'srcnn'].map(id => { const canvas = document.getElementById(id);"
        "return [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data] })"
    )
    bicubic, srcnn = (np.array(values).reshape(90, 120, 4)[..., :3] for values in canvases)
    assert_equal(srcnn, synthetic_image(30, 40))
    page.find("#zoom").send_keys("4")
    view = page.find("#view")
    page.run("document.getElementById('line').value = 20; document.getElementById('line').oninput()")
    cut = page.run("return arguments[0].clientWidth", view) // 5
    shown = page.shown(view)[1:-1, 1:-1]  # without the border
    large = [image.repeat(4, axis=0).repeat(4, axis=1) for image in (bicubic, srcnn)]
    for columns, expected in ((slice(cut - 24), large[0]), (slice(cut + 24, 480), large[1])):
        np.testing.assert_allclose(shown[:360, columns], expected[:, columns], atol=2)
    # Both scroll together.
    page.style(360, "light")
    page.find("#zoom").send_keys("8")
    page.run("document.getElementById('left').scrollLeft = 100")
    WebDriverWait(page.driver, 5).until(lambda _: page.run("return document.getElementById('right').scrollLeft") == 100)


def test_side_by_side_and_with_the_original(page):
    page.open(test=True).take("image.png")
    Select(page.find("#layout")).select_by_value("side")
    Select(page.find("#left-version")).select_by_value("original")
    left, right = (page.find(f"#{side}").rect for side in ("left", "right"))
    assert left["x"] + left["width"] <= right["x"]
    assert page.find("#original").is_displayed()
    assert not page.find("#bicubic").is_displayed()
    shown = page.run("return [...document.getElementById('original').getContext('2d').getImageData(0, 0, 39, 30).data]")
    np.testing.assert_array_equal(np.array(shown).reshape(30, 39, 4)[..., :3], synthetic_image(30, 40)[:, :39])


def test_learn_shows_the_network_at_work_on_the_region(page):
    page.find("#tab-learn").click()

    def grid(name):
        script = "return document.getElementById(arguments[0]).toDataURL()"
        return page.run(script, name)

    assert "64 features, each a weighted sum of the 9 x 9 pixels" in page.find("#learn").text
    names = ("small", "interpolated", "added", "restored", "features", "mapped")
    before = {name: grid(name) for name in names}
    assert page.run("const c = document.getElementById('features'); return [c.width, c.height]") == [615, 615]
    assert page.run("const c = document.getElementById('mapped'); return [c.width, c.height]") == [615, 307]
    # The stages are what the result has.
    images = page.run(
        "return ['restored', 'srcnn'].map(id => [...document.getElementById(id).getContext('2d')"
        ".getImageData(id == 'srcnn' ? 24 : 0, id == 'srcnn' ? 9 : 0, 72, 72).data])"
    )
    restored, srcnn = (np.array(values).reshape(72, 72, 4)[..., :3] for values in images)
    luma = srcnn @ [65.481, 128.553, 24.966] / 255 + 16
    assert np.abs(restored[..., 0] - luma).mean() < 3  # some colours are clipped
    page.find("#map").send_keys(Keys.ARROW_RIGHT * 4)
    for name in names:
        WebDriverWait(page.driver, 5).until(lambda _, name=name: grid(name) != before[name])
    after = {name: grid(name) for name in names}
    page.run("arguments[0].scrollIntoView({block: 'center'})", page.find("#map"))
    ActionChains(page.driver).move_to_element_with_offset(page.find("#map"), -150, 0).perform()
    for name in names:
        WebDriverWait(page.driver, 5).until(lambda _, name=name: grid(name) != after[name])


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1400])
def test_accessible_readable_and_in_the_order_of_the_focus(width, scheme, page):
    page.style(width, scheme)
    page.take("image.png")
    for tab in ("result", "learn"):
        page.find(f"#tab-{tab}").click()
        assert page.run("return document.documentElement.scrollWidth") <= width
        if AXE.is_file():
            page.run(AXE.read_text(encoding="utf-8"))
            result = page.driver.execute_async_script(
                "const done = arguments[0]; axe.run().then(({ violations }) => done(violations.map("
                "({ id, nodes }) => `${id}: ${nodes.map(node => node.html).join(' ').slice(0, 300)}`)))"
            )
            assert result == []
    background = page.run("return getComputedStyle(document.documentElement).colorScheme")
    assert background == "light dark"
    page.find("#tab-result").click()
    page.run("document.querySelector('h1').tabIndex = -1; document.querySelector('h1').focus()")
    order = []
    for _ in range(13):
        ActionChains(page.driver).send_keys(Keys.TAB).perform()
        order.append(page.run("return document.activeElement.id || document.activeElement.textContent"))
    expected = ["file", "camera", "cat", "astronaut, compressed", "printed page", "scale", "device", "test", "download"]
    assert order[:9] == expected
    assert order[9:] == ["tab-result", "left-version", "zoom", "layout"]


def test_the_exported_page_has_the_network_and_no_other(browser, run_main):
    done = run_main("--export=models", "--scale=2", "--architecture=9-5-5", "--degradation=matlab")
    page = Path("models/srcnn_x2_9-5-5.html")
    assert str(page) in done.stdout
    pixels = synthetic_image(30, 40)
    Image.fromarray(pixels).save("image.png")
    browser.open(page, scale=2)
    assert [option.text for option in Select(browser.find("#scale")).options] == ["x2"]
    assert_equal(browser.upscale("image.png"), pixels, scale=2, architecture="9-5-5")
    browser.find("#tab-learn").click()
    text = browser.find("#learn").text  # without what is said of 9-1-5 only
    assert "Medium grey" in text
    assert "64 features" not in text
