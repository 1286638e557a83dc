"""Writes images page by page, with all their bits, alpha and metadata, to files that are complete or absent."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, Self

from numpy.typing import DTypeLike

from srcnn_tf.config import Config
from srcnn_tf.errors import FaultError, RunError
from srcnn_tf.images.formats.interface import Images, Writer
from srcnn_tf.images.formats.registry import writing_family
from srcnn_tf.images.library_errors import library_errors
from srcnn_tf.images.page import Page, RowStream
from srcnn_tf.system.files import atomic_write


class ImageWriter:
    """Writes a file in the format of its extension: `with ImageWriter(path) as writer: writer.write(page)`.

    The file appears when the context is left without an exception; otherwise nothing is left behind.

    Args:
        path: the file; its folder is created if necessary.
        page_count: number of pages; more than one for some formats only.
        quality: of JPEG, WebP and AVIF, 1 to 100. The other formats are lossless, as is WebP of a lossless WebP file.
        source: the file that the pages are from; `reader.ImageReader.images`.

    Attributes:
        warnings: what the format cannot hold and was left out.

    Raises:
        RunError: the format cannot hold the image, or the file cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        page_count: int = 1,
        quality: int = Config.quality,
        source: Images | None = None,
    ) -> None:
        self._path, self._page_count, self._quality, self._source = Path(path), page_count, quality, source
        self._file: Writer | None = None
        self._stack = contextlib.ExitStack()
        self._written = 0
        self.warnings: list[str] = []

    def __enter__(self) -> Self:
        """Returns the writer; no file is created before the first page."""
        return self

    def __exit__(self, *error: Any) -> None:
        """Completes the file, or removes what there is of it after an exception."""
        with self._errors() if self._file is not None else contextlib.nullcontext():
            self._stack.__exit__(*error)

    def check(self, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        """Raises a RunError if the format cannot hold such pixels; to be called before they are computed."""
        file_format = writing_family(self._path, self._source).outputs[self._path.suffix.lower()]
        problem = file_format.problem_with(shape, dtype, max(self._page_count, self._written + 1))
        if problem is not None:
            raise RunError(f"{self._path}: {file_format.name} holds {problem[0]}; use the extension {problem[1]}.")

    def write(self, page: Page) -> None:
        """Writes a page. Rows that are computed when they are read are, once from top to bottom."""
        self.check(page.pixels.shape, page.pixels.dtype)
        warnings: list[str] = []
        try:
            with self._errors():
                if self._file is None:
                    self._file = self._create()
                self._file.write(page, warnings)
        finally:
            if isinstance(page.pixels, RowStream):
                page.pixels.close()
        self._written += 1
        self.warnings += [warning for warning in warnings if warning not in self.warnings]

    def _create(self) -> Writer:
        """Begins a file, which is completed in `__exit__`."""
        temporary = self._stack.enter_context(atomic_write(self._path))
        family, extension = writing_family(self._path, self._source), self._path.suffix.lower()
        source = self._source if self._source is not None and self._source.family is family else None
        if source is None and self._source is not None and self._source.belongings:
            name = family.outputs[extension].name
            self.warnings.append(f"{name} holds no {self._source.belongings}: left out")
        return self._stack.enter_context(family.create(temporary, extension, self._page_count, self._quality, source))

    def _errors(self) -> contextlib.AbstractContextManager[None]:
        """Turns errors of libraries into one; an OSError is left to `atomic_write`, others come from the rows."""
        name = writing_family(self._path, self._source).outputs[self._path.suffix.lower()].name
        passed = (RunError, OSError, MemoryError, FaultError)
        return library_errors(self._path, f"written as {name}", "use the extension .png or .tif", passed)
