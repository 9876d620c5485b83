"""A picture of a digit, made into what a network saw in training: grey, white on black, scaled, centred."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from microgradnet.graph import Array

_SHADES = " ░▒▓█"


def read_grey(path: Path) -> Array:
    """Return a picture file as grey values from 0 (black) to 1 (white), transparent parts as white."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ModuleNotFoundError:
        message = "reading pictures needs Pillow: pip install 'microgradnet[images]'"
        raise ModuleNotFoundError(message) from None
    try:
        with Image.open(path) as image:
            layers = image.convert("RGBA")
    except UnidentifiedImageError:
        message = f"{path} is not a picture that can be read; a PNG or JPEG of one digit was expected"
        raise ValueError(message) from None
    white = Image.new("RGBA", layers.size, "white")
    grey = Image.alpha_composite(white, layers).convert("L")
    return np.asarray(grey, np.float64) / 255


def digit_input(grey: Array, side: int, path: Any = "the picture") -> Array:
    """Return the digit as (side, side) values, ink 1 on background 0, placed as in the training data.

    A light background is inverted; the ink's bounding box is scaled, keeping its proportions, to 20/28 of the side
    and its centre of mass put in the middle, as MNIST was made; for 8×8 digits it fills the height, as theirs do.

    Source: LeCun, Cortes and Burges, *The MNIST database of handwritten digits* (the paragraph on normalisation).
    """
    from PIL import Image

    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    ink = 1 - grey if np.median(border) > 0.5 else grey
    ink = ink - np.median(1 - border if np.median(border) > 0.5 else border)
    ink = np.clip(ink, 0, None)
    if ink.max() < 0.1:
        message = f"{path} is blank: no ink stands out from the background"
        raise ValueError(message)
    ink /= ink.max()
    rows, columns = np.nonzero(ink > 0.2)
    box = ink[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    fit = side if side < 16 else round(side * 20 / 28)
    scale = fit / max(box.shape)
    height, width = (max(1, round(length * scale)) for length in box.shape)
    small = Image.fromarray((box * 255).astype(np.uint8)).resize((width, height), Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR)
    digit = np.asarray(small, np.float64) / 255
    out = np.zeros((side, side))
    weight = digit.sum()
    centre = [(digit.sum(1 - axis) * np.arange(digit.shape[axis])).sum() / weight for axis in (0, 1)]
    middle = (side - 1) / 2
    top, left = (
        int(np.clip(round(middle - c), 0, side - length)) for c, length in zip(centre, digit.shape, strict=True)
    )
    out[top : top + height, left : left + width] = digit
    return out


def as_text(image: Array) -> str:
    """Draw values from 0 to 1 as characters, two to a pixel.

    >>> print(as_text(np.array([[0.0, 1.0], [0.5, 0.0]])))
      ██
    ▒▒
    """
    levels = np.clip(np.round(image * (len(_SHADES) - 1)), 0, len(_SHADES) - 1).astype(int)
    return "\n".join("".join(_SHADES[level] * 2 for level in row).rstrip() for row in levels)
