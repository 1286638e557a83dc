"""The configuration of a run: a frozen `Config` with one field per command-line flag."""

from __future__ import annotations

import dataclasses
import math
import os
import re
import shlex
from dataclasses import dataclass
from typing import Any

from srcnn_tf.errors import UsageError
from srcnn_tf.spec import COLOR_SPACES, DEGRADATIONS, JPEG_QUALITIES, Compression, NetworkSpec
from srcnn_tf.training.recipes import RECIPES
from srcnn_tf.weights.search import WeightsSearch

PATHS = ("train_dir", "test_dir", "checkpoint_dir", "sample_dir", "log_dir", "weights", "input", "output", "export")
LARGEST_SCALE = 16  # for upscaling
PAGES = ("linked", "embedded")
WRITTEN = ("png", "jpg", "webp", "avif", "tif")  # formats of images
EDGES = ("mirror", "wrap")
VALUE_RANGES = ("data", "dtype")
CODECS = ("h264", "h265", "av1")  # of videos
PRECISIONS = ("auto", "float32", "bfloat16")
# The paper's images, and the field that names the folder they are put below.
SETS = {"T91": "train_dir", "Set5": "test_dir", "Set14": "test_dir"}

# The flags that may be given in each mode. Testing takes the reference's command, which needs its stride; and scripts
# name the folders of results whatever they do.
_FOLDERS = ("checkpoint_dir", "sample_dir", "log_dir")
_NETWORK = ("scale", "c_dim", "color_space", "architecture", "filters", "degradation", "image_size", "label_size")
_TRAINING = ("recipe", "epoch", "learning_rate", "validation_split", "batch_size", "seed", "precision", "resume")
_IMAGES = ("is_train", "stride", "jpeg_quality", "value_range")
_RESULTS = ("self_ensemble", "cluster", "page", "overwrite")
_UPSCALING = ("input", "output", "format", "width", "height", "edges", "quality", "max_megapixels", "value_range")
_VIDEO = ("codec", "deinterlace")
MODES = {
    "training": {*_FOLDERS, *_NETWORK, "weights", *_TRAINING, *_IMAGES, "train_dir"},
    "testing": {*_FOLDERS, *_NETWORK, "weights", *_IMAGES, *_RESULTS, "image_index", "test_dir"},
    "upscaling": {*_FOLDERS, *_NETWORK, "weights", *_UPSCALING, *_VIDEO, *_RESULTS},
    "exporting": {*_FOLDERS, *_NETWORK, "weights", "export"},
    "downloading": {*_FOLDERS, "fetch", "train_dir", "test_dir"},
}

# The fields that identify a run: only a run that agrees in all of them resumes it. The others say how long to train,
# where to write or what to test; training data is compared by content.
RUN_FIELDS = (
    *("recipe", "learning_rate", "validation_split", "batch_size", "image_size", "label_size", "stride", "scale"),
    *("c_dim", "color_space", "architecture", "filters", "degradation", "value_range", "weights", "seed"),
)


def check_factor(scale: float) -> None:
    """Raises a UsageError unless images can be upscaled by this factor."""
    if not 1 < scale <= LARGEST_SCALE:
        raise UsageError(f"--scale={scale}: expected a number above 1, up to {LARGEST_SCALE}.")


def local_path(path: str, name: str) -> str:
    """Returns a path with the home folder for `~`; raises a UsageError if it is the address of something else."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", path):
        raise UsageError(
            f"--{name}={path}: expected a path of this machine, found an address; copy the files here, or mount them."
        )
    return os.path.expanduser(path)


def parse_value_range(setting: str | tuple[float, float] | None) -> str | tuple[float, float] | None:
    """Returns `data`, `dtype`, a pair of numbers, or None for the default.

    Raises:
        UsageError: it is none of these, or the first number is not the smaller one.
    """
    if setting in (None, *VALUE_RANGES):
        return setting
    try:
        low, high = map(float, setting.split(",") if isinstance(setting, str) else setting)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (low < high and math.isfinite(high - low)):
        raise UsageError(
            f"--value_range={setting}: expected two numbers, LOW,HIGH, the first one smaller; "
            f"or {' or '.join(VALUE_RANGES)}."
        )
    return low, high


def flag(
    default: Any,
    description: str,
    choices: tuple[Any, ...] = (),
    limits: tuple[int, float] | None = None,
    type_: type | None = None,
) -> Any:
    """Declares a field of `Config` together with what its command-line flag needs.

    Args:
        default: None where `Config` derives the default from other fields.
        description: help text of the flag.
        choices: the allowed values, if they can be listed.
        limits: the smallest and the largest allowed value, if it has such limits.
        type_: of the flag, if it is not that of the field.
    """
    metadata = {"description": description, "choices": choices, "limits": limits, "type": type_}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Config:
    """The flags of `main.py`, with derived defaults filled in and all values checked.

    Raises:
        UsageError: a value is out of range, or two values do not fit together.
    """

    is_train: bool = flag(True, "Train; False to test.")
    recipe: str = flag(
        "modern", "How to train: the best weights in minutes, as tegg89, or as the paper.", choices=tuple(RECIPES)
    )
    epoch: int = flag(None, "Number of epochs. Default: the recipe's.", limits=(1, math.inf))
    learning_rate: float = flag(None, "Learning rate, or the peak of its schedule. Default: the recipe's.")
    validation_split: float = flag(
        None, "Fraction of the training images used for validation, if there are 20 or more. Default: the recipe's."
    )
    batch_size: int = flag(128, "Patches per batch.", limits=(1, math.inf))
    image_size: int = flag(33, "Side of an input patch, in pixels.")
    label_size: int = flag(None, "Side of a label patch. Default: that of the output, image_size - 12 for 9-1-5.")
    stride: int = flag(14, "Pixels from one training patch to the next.", limits=(1, math.inf))
    # Whole in training and testing; of `float` in upscaling only, and then never whole.
    scale: int = flag(
        3, f"Factor of downscaling and upscaling. To upscale, any number above 1, up to {LARGEST_SCALE}.", type_=float
    )
    c_dim: int = flag(1, "Channels: 1 for luma, 3 for colour.", choices=(1, 3))
    color_space: str = flag("ycbcr", "Colour space of the channels, with --c_dim=3.", choices=COLOR_SPACES)
    architecture: str = flag("9-1-5", "Filter sizes of the three layers, f1-f2-f3.")
    filters: str = flag("64,32", "Number of filters in the first two layers, n1,n2.")
    degradation: str = flag(
        None,
        "How images are degraded. Default: scipy to train and test, matlab to export, auto to upscale: of "
        "matlab, jpeg and jpeg90 what suits the image file.",
        choices=(*DEGRADATIONS, "auto"),
    )
    jpeg_quality: str | None = flag(
        None,
        "Quality of the small images in tests with --degradation=jpeg or jpeg90, 1 to 100 or none. Default: 80 or 90.",
    )
    image_index: str = flag("all", "Test image: its index in the list sorted by path, or all.")
    train_dir: str = flag("Train", "Folder of training images, searched with its subfolders.")
    test_dir: str = flag("Test", "Folder of test images, searched with its subfolders.")
    checkpoint_dir: str = flag("checkpoint", "Folder of training data, checkpoints and weights.")
    sample_dir: str = flag("sample", "Folder of test results and of upscaled images.")
    log_dir: str = flag("logs", "Folder of TensorBoard's logs.")
    weights: str | None = flag(
        None, "Weights to start from or to test: a file, a run's folder, the reference's checkpoint."
    )
    seed: int = flag(0, "Seed of initial weights, shuffling, flips and grid offsets.", limits=(0, 2**31 - 1))
    precision: str = flag(
        "auto",
        "Dtype of the convolutions in training; auto: float32. Testing and upscaling are in float32.",
        choices=PRECISIONS,
    )
    resume: bool = flag(True, "Resume an unfinished run; False to restart it.")
    fetch: str | None = flag(None, f"Download the paper's images and exit: some of {','.join(SETS)}.")
    # Config(input="a.png") means the same as Config(input=("a.png",)).
    input: tuple[str, ...] | None = flag(
        None, "Images and videos to upscale, or folders of them: names, patterns such as '*.png'. May be repeated."
    )
    output: str | None = flag(None, "Upscaled image, or the folder for upscaled images. Default: sample/enlarged.")
    format: str | None = flag(None, "Format of upscaled images. Default: that of each image.", choices=WRITTEN)
    width: int = flag(None, "Largest width of the upscaled image, in pixels, instead of --scale.", limits=(1, math.inf))
    height: int = flag(
        None, "Largest height of the upscaled image, in pixels, instead of --scale.", limits=(1, math.inf)
    )
    edges: str = flag(
        "mirror",
        "What is beyond an image's edges in upscaling: its mirror image; wrap for textures that tile.",
        EDGES,
    )
    self_ensemble: bool = flag(False, "Average over the eight flips and transposes of an image; takes 8 times as long.")
    value_range: str | None = flag(
        None,
        "Values of more than 8 bits that become 0 and 1 for the network: LOW,HIGH; data: their smallest and largest "
        "one; or dtype: all. Default: those that the file declares, else data.",
    )
    page: str | None = flag(
        None, "Write index.html to compare upscaled images in a browser, with images linked or embedded.", choices=PAGES
    )
    export: str | None = flag(None, "Write the network into this folder, for ONNX, TensorFlow and TensorFlow Lite.")
    overwrite: bool = flag(False, "Upscale again what is already in the output folder.")
    cluster: str | None = flag(
        None, "Upscale or test images on the workers of this Dask scheduler, tcp://host:8786; local: one per core."
    )
    quality: int = flag(95, "Quality of JPEG, WebP and AVIF files, and of videos, 1 to 100.", limits=(1, 100))
    codec: str | None = flag(
        None, "Codec of upscaled videos. Default: h264; h265 if the video has more than 8 bits.", choices=CODECS
    )
    deinterlace: bool = flag(True, "Make interlaced videos progressive; False to leave them.")
    max_megapixels: float | None = flag(
        None,
        "Largest upscaled image, in millions of pixels. Default: 200 where all of it has to be in memory (WebP, AVIF, "
        "BMP, videos), else 2000.",
    )

    def __post_init__(self) -> None:
        """Fills in the defaults that depend on other fields, and checks all values."""
        if isinstance(self.input, str):
            object.__setattr__(self, "input", (self.input,))
        for name in PATHS:
            value = getattr(self, name)
            if isinstance(value, str):
                object.__setattr__(self, name, local_path(value, name))
            elif value is not None:
                object.__setattr__(self, name, tuple(local_path(path, name) for path in value))
        self._check_each()
        self._check_scale()
        recipe = RECIPES[self.recipe]
        self._set_default("epoch", recipe.epoch)
        self._set_default("validation_split", recipe.validation_split)
        self._set_default("degradation", self._default_degradation())
        self._set_default("label_size", self.image_size - self.network.border)
        values_per_label = self.label_size**2 * self.c_dim
        self._set_default("learning_rate", recipe.learning_rate * (values_per_label / 2 if recipe.caffe_loss else 1))
        self._check_together()

    def _set_default(self, name: str, value: Any) -> None:
        if getattr(self, name) is None:
            object.__setattr__(self, name, value)

    def _default_degradation(self) -> str:
        if self.input is None and self.export is None:
            return "scipy"
        return "auto" if self.can_choose_degradation else "matlab"

    def _check_each(self) -> None:
        """Checks the given values one by one."""
        for field in dataclasses.fields(self):
            value, choices, limits = getattr(self, field.name), field.metadata["choices"], field.metadata["limits"]
            if value is None:
                continue
            if choices and value not in choices:
                raise UsageError(f"--{field.name}={value}: expected one of {', '.join(map(str, choices))}.")
            if limits and not limits[0] <= value <= limits[1]:
                most = "or more" if limits[1] == math.inf else f"to {limits[1]}"
                raise UsageError(f"--{field.name}={value}: expected {limits[0]} {most}.")
            if (value == "" or (isinstance(value, tuple) and "" in value)) and field.name != "fetch":
                raise UsageError(f"--{field.name} is empty: expected a value, as in --{field.name}=NAME.")
        if not re.fullmatch(r"all|[0-9]+", self.image_index, re.ASCII):
            raise UsageError(f"--image_index={self.image_index}: expected 'all' or a number from 0.")
        if self.jpeg_quality is not None and not re.fullmatch(r"none|[1-9][0-9]?|100", self.jpeg_quality, re.ASCII):
            raise UsageError(f"--jpeg_quality={self.jpeg_quality}: expected 'none' or a number from 1 to 100.")
        parse_value_range(self.value_range)
        if unknown := [name for name in self.sets if name not in SETS]:
            raise UsageError(
                f"--fetch={self.fetch}: there is no set {unknown[0]!r}; expected some of {', '.join(SETS)}, "
                f"separated by commas alone, as in --fetch={','.join(SETS)}."
            )

    def _check_scale(self) -> None:
        """Checks the factor, and makes a whole one an integer."""
        if self.input is not None:
            check_factor(self.scale)
        if float(self.scale).is_integer():
            object.__setattr__(self, "scale", int(self.scale))
        if self.input is None and not (isinstance(self.scale, int) and self.scale >= 2):
            raise UsageError(f"--scale={self.scale}: expected 2 or more, a whole number; others are for --input.")

    def _check_together(self) -> None:
        """Checks the values that have to fit together, and those that may be derived."""
        for name in ("width", "height"):
            if getattr(self, name) is not None and self.input is None:
                raise UsageError(f"--{name}={getattr(self, name)} is for upscaling: give it with --input.")
        if self.is_train and self.input is None and self.fetch is None:
            for name in ("cluster", "page", "self_ensemble"):
                if getattr(self, name):
                    hint = "; training on several machines needs TF_CONFIG" if name == "cluster" else ""
                    raise UsageError(f"--{name} is for testing and upscaling: leave it out{hint}.")
        if self.degradation == "auto" and not self.can_choose_degradation:
            raise UsageError(
                f"--degradation=auto is to upscale with shipped weights: name one of {', '.join(DEGRADATIONS)}."
            )
        border = self.network.border
        label_size = self.image_size - border
        if label_size < 1:
            raise UsageError(
                f"--image_size={self.image_size}: the layers of {self.architecture} take {border} pixels, "
                f"expected {border + 1} or more."
            )
        if self.label_size != label_size:
            raise UsageError(
                f"--label_size={self.label_size} does not fit: the label of a {self.image_size}-pixel patch has "
                f"{label_size} pixels with {self.architecture}; give --label_size={label_size} or leave it out."
            )
        for name in ("learning_rate", "max_megapixels"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"--{name}={value}: expected a number above 0.")
        if not 0 <= self.validation_split < 1:
            raise UsageError(f"--validation_split={self.validation_split}: expected 0 or more, and less than 1.")

    @property
    def mode(self) -> str:
        """What is to be done: one of `MODES`."""
        chosen = {"downloading": self.fetch, "upscaling": self.input, "exporting": self.export}
        other = "training" if self.is_train else "testing"
        return next((mode for mode, value in chosen.items() if value is not None), other)

    @property
    def network(self) -> NetworkSpec:
        """What identifies the network; under `auto`, the one for images that are not compressed."""
        degradation = "matlab" if self.degradation == "auto" else self.degradation
        return NetworkSpec(self.scale, degradation, self.architecture, self.filters, self.c_dim, self.color_space)

    @property
    def search(self) -> WeightsSearch:
        """Where its weights are searched."""
        return WeightsSearch(self.weights, self.checkpoint_dir, self.label_size)

    @property
    def can_choose_degradation(self) -> bool:
        """Whether there are weights for several degradations to choose from: in upscaling with shipped ones."""
        return self.input is not None and self.weights is None and self.c_dim == 1

    @property
    def compression(self) -> Compression | None:
        """How the small images of tests and validation are compressed; None if they are not."""
        if self.degradation not in JPEG_QUALITIES or self.jpeg_quality == "none":
            return None
        return Compression(int(self.jpeg_quality or JPEG_QUALITIES[self.degradation]))

    @property
    def image_number(self) -> int | None:
        """Index of the test image in the list sorted by path; None for all of them."""
        return None if self.image_index == "all" else int(self.image_index)

    @property
    def sets(self) -> tuple[str, ...]:
        """The sets of images to fetch, each once: `("T91", "Set5")`."""
        return tuple(dict.fromkeys(self.fetch.split(","))) if self.fetch is not None else ()

    @property
    def run_name(self) -> str:
        """Name of the run's folder below `checkpoint_dir` and `log_dir`: that of the network, with the label size."""
        return self.search.run_name(self.network)

    @property
    def flags(self) -> list[str]:
        """The flags of this run that differ from their defaults, without `is_train`, `fetch` and `resume`.

        Repeated, `--resume=False` would discard the run.
        """
        own = {name: getattr(self, name) for name in ("recipe", "architecture", "image_size", "c_dim", "input")}
        defaults = dataclasses.asdict(Config(**own)) | {name: getattr(Config, name) for name in own}
        left_out = ("is_train", "fetch", "resume")
        values = {name: value for name, value in dataclasses.asdict(self).items() if name not in left_out}
        lists = {name: value if isinstance(value, tuple) else (value,) for name, value in values.items()}
        return [f"--{name}={one}" for name in lists for one in lists[name] if values[name] != defaults[name]]

    @property
    def command(self) -> str:
        """The command that starts or resumes this run."""
        return shlex.join(["python", "main.py", f"--is_train={self.is_train}", *self.flags])

    @property
    def identity(self) -> dict[str, Any]:
        """The fields that identify a run, by name: runs that agree in them are the same run."""
        return {name: getattr(self, name) for name in RUN_FIELDS}
