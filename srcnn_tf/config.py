"""What one run is told to do: a frozen `Config`, one field a flag, each default written once."""

from __future__ import annotations

import dataclasses
import math
import re
import shlex
from dataclasses import dataclass
from typing import Any

from srcnn_tf.errors import UsageError

FROM_RECIPE: Any = None  # Config replaces it by the recipe's value
FROM_ARCHITECTURE: Any = None  # Config replaces it by image_size less the border
FROM_MODE: Any = None  # Config replaces it by what training and testing, or enlarging, do
DEGRADATIONS = ("scipy", "matlab")
COLOR_SPACES = ("ycbcr", "rgb")
PRECISIONS = ("auto", "float32", "bfloat16")
# The paper's pictures, and the field that names the folder they go below.
SETS = {"T91": "train_dir", "Set5": "test_dir", "Set14": "test_dir"}


@dataclass(frozen=True)
class Recipe:
    """How to train, in the parts that are not a flag, and the defaults of the flags that depend on it.

    The defaults here are plain descent as in the reference.
    """

    epoch: int
    learning_rate: float
    optimizer: str  # 'sgd' | 'momentum' | 'soap'
    validation_split: float = 0.0
    initialization: str = "gaussian"  # a key of model.INITIALIZATIONS
    shuffle: str = "never"  # 'never' | 'once' | 'each epoch'
    flips: bool = False  # flip and transpose each patch at random
    phases: bool = False  # shift the small pictures' samples at random, each epoch; of few pictures, see pairs.py
    cosine: bool = False  # warm-up, and half a cosine down to 0; else a fixed rate
    expansion: int = 1  # times as many filters between the factors of a kernel, see expansion.py
    channels: tuple[int, int] = (0, 3)  # the first one that the loss is of, and the one after the last
    average: bool = False  # keep an exponential average of the weights, and measure and publish that
    summed_loss: bool = False  # learning_rate is for half the sum of squares over a label; for our mean it is larger
    recover: bool = False  # go back to the last good epoch, at half the rate, when the loss explodes
    strict_batch: bool = True  # fewer patches than batch_size are an error; else they make one smaller batch


RECIPES = {
    "modern": Recipe(
        epoch=30,
        learning_rate=3e-3,
        optimizer="soap",
        validation_split=0.05,
        initialization="he",
        shuffle="each epoch",
        flips=True,
        phases=True,
        cosine=True,
        average=True,
        expansion=2,
        recover=True,
        strict_batch=False,
    ),
    # tegg89/SRCNN-Tensorflow, main.py's defaults and model.py's training loop.
    "reference": Recipe(epoch=15000, learning_rate=1e-4, optimizer="sgd"),
    # Dong et al. (TPAMI 2016, section 3.3) and their Caffe solver. 36,556 epochs of the 91 pictures are their 8e8
    # back-propagations.
    "paper": Recipe(epoch=36556, learning_rate=1e-4, optimizer="momentum", shuffle="once", summed_loss=True),
}

# Fields that another run of the same command may change and still go on with the weights of the first:
# they say for how long, where to write, or what to test. What was trained on is compared by content.
NOT_COMPARED = frozenset(
    {"is_train", "epoch", "resume", "precision", "image_index", "fetch"}
    | {"input", "output", "overwrite", "quality", "max_megapixels", "tile_size"}
    | {"checkpoint_dir", "sample_dir", "log_dir", "train_dir", "test_dir"}
)


@dataclass(frozen=True)
class Config:
    """The flags of `main.py` after their defaults are filled in and their values are checked.

    Raises:
        UsageError: a value is out of range, or two of them do not fit together.
    """

    is_train: bool = True
    recipe: str = "modern"
    epoch: int = FROM_RECIPE
    learning_rate: float = FROM_RECIPE
    validation_split: float = FROM_RECIPE
    batch_size: int = 128
    image_size: int = 33
    label_size: int = FROM_ARCHITECTURE
    stride: int = 14
    scale: int = 3
    c_dim: int = 1
    color_space: str = "ycbcr"
    architecture: str = "9-1-5"
    filters: str = "64,32"
    degradation: str = FROM_MODE
    image_index: str = "all"
    train_dir: str = "Train"
    test_dir: str = "Test"
    checkpoint_dir: str = "checkpoint"
    sample_dir: str = "sample"
    log_dir: str = "logs"
    weights: str | None = None
    seed: int = 0
    precision: str = "auto"
    resume: bool = True
    fetch: str | None = None
    input: str | None = None
    output: str | None = None
    overwrite: bool = False
    quality: int = 95
    max_megapixels: float = 200.0
    tile_size: int = 384  # 38 MB of 64 float32 features; in smaller ones, the cores wait for each other

    def __post_init__(self) -> None:
        """Fills in the defaults that depend on other fields, and checks all of them."""
        _check_choice("recipe", self.recipe, RECIPES)
        for name in ("epoch", "validation_split"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, getattr(RECIPES[self.recipe], name))
        if self.degradation is None:
            object.__setattr__(self, "degradation", "scipy" if self.input is None else "matlab")
        _check_architecture(self.architecture)
        _check_filters(self.filters)
        _check_sets(self)
        if self.label_size is None:
            object.__setattr__(self, "label_size", self.image_size - self.border)
        if self.learning_rate is None:
            recipe = RECIPES[self.recipe]
            values = self.label_size**2 * self.c_dim / 2 if recipe.summed_loss else 1
            object.__setattr__(self, "learning_rate", recipe.learning_rate * values)
        _check(self)

    @property
    def filter_sizes(self) -> tuple[int, int, int]:
        """Side of the filters of the three layers, in pixels: `(9, 1, 5)` for 9-1-5."""
        first, second, third = map(int, self.architecture.split("-"))
        return first, second, third

    @property
    def filter_counts(self) -> tuple[int, int]:
        """Filters in the first two layers: `(64, 32)`."""
        first, second = map(int, self.filters.split(","))
        return first, second

    @property
    def border(self) -> int:
        """Pixels that the three unpadded layers take from the rows, and from the columns, of their input."""
        return sum(size - 1 for size in self.filter_sizes)

    @property
    def studio_range(self) -> bool:
        """Whether luma is the paper's, from 16 to 235, and not the reference's, from 0 to 255."""
        return self.degradation == "matlab"

    @property
    def rgb(self) -> bool:
        """Whether the network sees R, G and B, and not luma alone or Y, Cb and Cr."""
        return self.color_space == "rgb"

    @property
    def image_number(self) -> int | None:
        """The one test picture asked for, as its place in the list sorted by path; None for all of them."""
        return None if self.image_index == "all" else int(self.image_index)

    @property
    def sets(self) -> tuple[str, ...]:
        """The sets of pictures to fetch, each once: `("T91", "Set5")`."""
        return tuple(dict.fromkeys(self.fetch.split(","))) if self.fetch is not None else ()

    @property
    def network_name(self) -> str:
        """Name of what weights belong to: scale and degradation, and what else is not the default."""
        parts = [f"srcnn_x{self.scale}_{self.degradation}"]
        if self.architecture != Config.architecture:
            parts.append(self.architecture)
        if self.filters != Config.filters:
            parts.append(self.filters.replace(",", "-"))
        if self.c_dim == 3:
            parts.append(self.color_space)
        return "_".join(parts)

    @property
    def run_name(self) -> str:
        """Name of the run's folder below `checkpoint_dir` and `log_dir`: that of the network, with the label size."""
        return self.network_name.replace("srcnn_", f"srcnn_{self.label_size}_", 1)

    @property
    def command(self) -> str:
        """The command that makes this configuration, or goes on with it: the flags that differ from their defaults."""
        own = {name: getattr(self, name) for name in ("recipe", "architecture", "image_size", "c_dim", "input")}
        usual = dataclasses.asdict(Config(**own)) | {name: getattr(Config, name) for name in own}
        given = {name: value for name, value in dataclasses.asdict(self).items() if value != usual[name]}
        given.pop("resume", None)  # repeated, --resume=False would throw away what was done
        given.pop("fetch", None)  # neither trains nor tests
        given = {"is_train": self.is_train} | given
        return shlex.join(["python", "main.py", *(f"--{name}={value}" for name, value in given.items())])

    @property
    def identity(self) -> dict[str, Any]:
        """The fields that make two runs the same run, by name."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in NOT_COMPARED}


def _check(config: Config) -> None:
    _check_choice("degradation", config.degradation, DEGRADATIONS)
    _check_choice("precision", config.precision, PRECISIONS)
    _check_choice("c_dim", config.c_dim, (1, 3))
    _check_choice("color_space", config.color_space, COLOR_SPACES)
    if config.rgb and config.c_dim == 1:
        raise UsageError("--color_space=rgb needs --c_dim=3: a network of one channel restores luma.")
    least_of = {"epoch": 1, "batch_size": 1, "stride": 1, "scale": 2, "seed": 0, "quality": 1, "tile_size": 1}
    for name, least in least_of.items():
        if getattr(config, name) < least:
            raise UsageError(f"--{name}={getattr(config, name)}: expected {least} or more.")
    if config.seed >= 2**31:
        raise UsageError(f"--seed={config.seed}: expected less than 2**31.")
    if config.quality > 100:
        raise UsageError(f"--quality={config.quality}: expected 1 to 100.")
    if not 0 < config.max_megapixels < math.inf:
        raise UsageError(f"--max_megapixels={config.max_megapixels}: expected a number above 0.")
    if not 0 <= config.validation_split < 1:
        raise UsageError(f"--validation_split={config.validation_split}: expected 0 or more, and less than 1.")
    if config.image_size <= config.border:
        raise UsageError(
            f"--image_size={config.image_size}: the layers of {config.architecture} take {config.border} pixels, "
            f"expected {config.border + 1} or more."
        )
    if config.label_size != config.image_size - config.border:
        raise UsageError(
            f"--label_size={config.label_size} does not fit: {config.architecture} makes "
            f"{config.image_size - config.border} of --image_size={config.image_size}; "
            f"give --label_size={config.image_size - config.border} or leave it out."
        )
    if not (math.isfinite(config.learning_rate) and config.learning_rate > 0):
        raise UsageError(f"--learning_rate={config.learning_rate}: expected a number above 0.")
    if config.image_index != "all" and not re.fullmatch(r"[0-9]+", config.image_index, re.ASCII):
        raise UsageError(f"--image_index={config.image_index}: expected 'all' or a number from 0.")
    for name in ("train_dir", "test_dir", "checkpoint_dir", "sample_dir", "log_dir", "input", "output"):
        if getattr(config, name) == "":
            raise UsageError(f"--{name} is empty: expected the name of a folder.")


def _check_choice(name: str, value: object, choices: Any) -> None:
    if value not in choices:
        raise UsageError(f"--{name}={value}: expected one of {', '.join(map(str, choices))}.")


def _check_architecture(architecture: str) -> None:
    sizes = re.fullmatch(r"([1-9][0-9]?)-([1-9][0-9]?)-([1-9][0-9]?)", architecture, re.ASCII)
    # An even filter would put the label half a pixel beside the centre of its input.
    if sizes is None or any(int(size) % 2 == 0 for size in sizes.groups()):
        raise UsageError(f"--architecture={architecture}: expected three odd filter sizes, such as 9-1-5 or 9-5-5.")


def _check_filters(filters: str) -> None:
    if not re.fullmatch(r"[1-9][0-9]{0,3},[1-9][0-9]{0,3}", filters, re.ASCII):
        raise UsageError(f"--filters={filters}: expected two counts from 1 to 9999, such as 64,32.")


def _check_sets(config: Config) -> None:
    if unknown := [name for name in config.sets if name not in SETS]:
        raise UsageError(
            f"--fetch={config.fetch}: there is no set {unknown[0]!r}; expected some of {', '.join(SETS)}, "
            f"with commas alone between them, as in --fetch={','.join(SETS)}."
        )
