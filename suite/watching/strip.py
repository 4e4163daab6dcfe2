"""Pictures side by side under their labels, and the file of all of them one after the other."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont, features

from suite.common.errors import UserError
from suite.common.formatting import readable

PANEL = 240
"""Pixels along a side of a picture."""

COLUMNS = 6
"""Pictures in a row, at most."""

FPS = 20

ENDING = ".webp"

_TEXT, _LINE, _GAP = 13, 18, 4
_LABEL = 2 * _LINE + _GAP
_TITLE = _LINE + _GAP
_PAPER, _INK = "#ffffff", "#1a1a1a"
_QUALITY, _EFFORT = 50, 3
"""Of WebP's lossy compression: 0 to 100, and 0 to 6 of which each takes longer."""


def check_writable(path: Path) -> None:
    """Raises UserError unless a clip can be written under this name."""
    if path.suffix.lower() != ENDING:
        raise UserError(f"{path}: a clip is an animated WebP; give it a name that ends in {ENDING}")
    if not features.check("webp"):
        raise UserError("the Pillow that is installed writes no WebP; install one that does")


class Strip:
    """Frames of several panels, put together.

    Args:
        panels: how many.
    """

    def __init__(self, panels: int) -> None:
        self._rows = math.ceil(panels / COLUMNS)
        self._columns = math.ceil(panels / self._rows)
        fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
        self.font = ImageFont.truetype(str(fonts / "DejaVuSans.ttf"), _TEXT)
        self._bold = ImageFont.truetype(str(fonts / "DejaVuSans-Bold.ttf"), _TEXT)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a frame, pixels."""
        width = self._columns * (PANEL + _GAP) + _GAP
        return width, _TITLE + self._rows * (_LABEL + PANEL + _GAP)

    def corner(self, panel: int) -> tuple[int, int]:
        """Returns where the upper left corner of a panel's picture lies."""
        row, column = divmod(panel, self._columns)
        top = _TITLE + row * (_LABEL + PANEL + _GAP) + _LABEL
        return _GAP + column * (PANEL + _GAP), top

    def frame(
        self,
        title: str,
        pictures: Sequence[np.ndarray],
        labels: Sequence[tuple[str, str]],
    ) -> Image.Image:
        """Returns a frame.

        Args:
            title: of the whole.
            pictures: each [PANEL, PANEL, 3] uint8.
            labels: of each picture two lines.
        """
        frame = Image.new("RGB", self.size, _PAPER)
        pen = ImageDraw.Draw(frame)
        self._write(pen, (_GAP, 2), title, self.font, self.size[0] - 2 * _GAP)
        for panel, (picture, lines) in enumerate(zip(pictures, labels, strict=True)):
            left, top = self.corner(panel)
            frame.paste(Image.fromarray(picture), (left, top))
            for above, text, font in zip((2, 1), lines, (self._bold, self.font), strict=True):
                self._write(pen, (left, top - above * _LINE), text, font, PANEL)
        return frame

    def _write(
        self,
        pen: ImageDraw.ImageDraw,
        where: tuple[int, int],
        text: str,
        font: ImageFont.FreeTypeFont,
        width: int,
    ) -> None:
        pen.text(where, fitted(readable(text), font, width), fill=_INK, font=font)


def fitted(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Returns a text, cut with an ellipsis where it is wider than so many pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


def encode(frames: Sequence[Image.Image]) -> bytes:
    """Returns an animated WebP that repeats for ever, at `FPS`."""
    file = io.BytesIO()
    frames[0].save(
        file,
        "WEBP",
        save_all=True,
        append_images=frames[1:],
        duration=1000 // FPS,
        loop=0,
        quality=_QUALITY,
        method=_EFFORT,
    )
    return file.getvalue()
