"""A picture of a digit, made into what a network saw in training: grey, white on black, scaled, centred."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from microgradnet.graph import Array

_SHADES = " ░▒▓█"
_CONTRAST = 0.1
"""The least difference between ink and paper, of 1 between black and white."""


def read_grey(path: Path) -> Array:
    """Return a picture file as grey values (height, width) from 0, black, to 1, white.

    Transparent parts are white; a photograph is turned as its camera was held.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it is not a whole picture; names it.
    ModuleNotFoundError
        If Pillow is not installed.
    """
    image = _pillow()
    if not path.is_file():
        raise FileNotFoundError(f"there is no picture at {path}")
    try:
        from PIL import ImageOps

        with image.open(path) as file:
            upright = ImageOps.exif_transpose(file)
            if upright.mode.startswith("I"):  # 16 bits a pixel, which Pillow would clip to 8
                upright = image.fromarray((np.asarray(upright) // 257).astype(np.uint8))
            layers = upright.convert("RGBA")
    except (OSError, SyntaxError, image.DecompressionBombError) as error:
        raise ValueError(
            f"{path} is not a picture that can be read (a PNG or JPEG of one digit): {error}"
        ) from None
    white = image.new("RGBA", layers.size, "white")
    return np.asarray(image.alpha_composite(white, layers).convert("L"), np.float64) / 255


def digit_input(grey: Array, side: int, name: Any = "the picture") -> Array:
    """Return the digit as (side, side) values, ink 1 on paper 0, placed as in the training data.

    The paper is what the border shows, and ink what differs from it most, darker or lighter. The ink's
    bounding box is scaled, keeping its proportions, to 20/28 of the side, and its centre of mass put in the
    middle, as MNIST was made; scikit-learn's 8×8 digits fill the whole side.

    Source: LeCun, Cortes and Burges, *The MNIST database of handwritten digits* (on normalisation).

    A ValueError that gives ``name`` if no ink stands out.
    """
    image = _pillow()
    paper = np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]]))
    dark, light = np.clip(paper - grey, 0, None), np.clip(grey - paper, 0, None)
    ink = dark if dark.sum() >= light.sum() else light
    if ink.max() < _CONTRAST:
        raise ValueError(f"{name} is blank: no ink stands out from the paper")
    ink /= ink.max()
    rows, columns = (np.flatnonzero((ink > 0.1).any(axis)) for axis in (1, 0))
    box = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    longest = round(side * 20 / 28) if side >= 16 else side
    scale = longest / max(box.shape)
    height, width = (max(1, round(length * scale)) for length in box.shape)
    resampling = image.Resampling.BOX if scale < 1 else image.Resampling.BILINEAR
    small = image.fromarray((255 * box).astype(np.uint8)).resize((width, height), resampling)
    digit = np.asarray(small, np.float64) / 255
    corner = []
    for axis, length in enumerate(digit.shape):
        along = digit.sum(1 - axis)
        centre = along @ np.arange(length) / along.sum()
        corner.append(int(np.clip(round((side - 1) / 2 - centre), 0, side - length)))
    out = np.zeros((side, side))
    out[corner[0] : corner[0] + height, corner[1] : corner[1] + width] = digit
    return out


def as_text(image: Array) -> str:
    """Draw values from 0 to 1 as characters, two to a pixel, in a frame.

    >>> print(as_text(np.array([[0.0, 1.0], [0.5, 0.0]])))
    ┌────┐
    │  ██│
    │▒▒  │
    └────┘
    """
    levels = np.clip(np.round(image * (len(_SHADES) - 1)), 0, len(_SHADES) - 1).astype(int)
    rows = ["│" + "".join(_SHADES[level] * 2 for level in row) + "│" for row in levels]
    bar = "─" * (2 * image.shape[1])
    return "\n".join([f"┌{bar}┐", *rows, f"└{bar}┘"])


def _pillow() -> Any:
    try:
        from PIL import Image
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "reading pictures needs Pillow: pip install 'microgradnet[images]'"
        ) from None
    return Image
