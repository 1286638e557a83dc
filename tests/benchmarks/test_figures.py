import numpy as np
import pytest
from conftest import ROOT
from networks import convolved
from PIL import Image

from benchmarks import figures
from srcnn_tf.config import Config
from srcnn_tf.weights.search import WeightsSearch
from srcnn_tf.weights.store import find_weights

DOCUMENT = ROOT / "docs" / "how-it-works.md"
NAMES = ("stages", "layers", "phases", "blocks")


@pytest.fixture(scope="module")
def weights():
    return find_weights(Config(degradation="matlab").network, WeightsSearch())[0]


def test_the_outputs_are_those_of_the_network(weights):
    images = np.random.default_rng(0).random((2, 20, 18, 1))
    outputs = figures.layers(weights, images)
    assert [output.shape[1:] for output in outputs] == [(12, 10, 64), (12, 10, 32), (8, 6, 1)]
    for image, *of_image in zip(images, *outputs, strict=True):
        np.testing.assert_allclose(of_image[2], convolved(image, weights), atol=1e-6)
        assert of_image[0].min() == of_image[1].min() == 0


def test_the_figures_are_drawn_and_the_document_shows_them_with_their_scores(monkeypatch):
    titles, show = [], figures.show

    def recorded(axes, image, title="", high=1):
        titles.append(title)
        show(axes, image, title, high)

    monkeypatch.setattr(figures, "show", recorded)
    figures.main()
    text = DOCUMENT.read_text()
    scores = [title.split(", ")[1] for title in titles if title.endswith(" dB")]
    assert len(scores) == 2
    assert all(score in text for score in scores)
    folder = ROOT / figures.FOLDER
    for name in NAMES:
        with Image.open(figures.FOLDER / f"{name}.png") as drawn, Image.open(folder / f"{name}.png") as committed:
            assert drawn.size == committed.size
            assert drawn.width == 1000
        assert f"](figures/{name}.png)" in text
    assert sum(path.stat().st_size for path in folder.iterdir()) < 600_000
