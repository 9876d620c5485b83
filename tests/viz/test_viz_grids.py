"""Arrays as grids: block means, images, shades, colours; and miniatures in a picture."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microgradnet as mg
from microgradnet.viz import draw, render
from microgradnet.viz.dot import miniature
from microgradnet.viz.grids import grid_of, mixed, shades
from microgradnet.viz.picture import MOST_MINIATURES
from microgradnet.viz.style import THEMES, VERMILLION


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 9), st.integers(1, 9))
def test_cells_are_the_means_of_their_blocks(rows, columns, most_rows, most_columns):
    array = np.random.default_rng(rows * 41 + columns).normal(size=(rows, columns))
    grid = grid_of(array, most_rows, most_columns)
    high, wide = grid.block
    assert grid.cells.shape == (-(-rows // high), -(-columns // wide))
    assert grid.cells.shape[0] <= most_rows
    assert grid.cells.shape[1] <= most_columns
    for i, j in np.ndindex(grid.cells.shape):
        block = array[i * high : (i + 1) * high, j * wide : (j + 1) * wide]
        np.testing.assert_allclose(grid.cells[i, j], block.mean(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("shape", "cells"),
    [((), (1, 1)), ((5,), (1, 5)), ((2, 3, 4), (6, 4)), ((0, 3), (0, 1)), ((3, 0), (0, 1)), ((0,), (1, 0))],
)
def test_every_shape_is_a_table(shape, cells):
    assert grid_of(np.zeros(shape), 9, 9).cells.shape == cells


def test_rows_that_are_squares_are_images():
    pixels = np.arange(2 * 64.0).reshape(2, 64)
    grid = grid_of(pixels, 28, 28, image=True)
    assert grid.image == (2, 8)
    np.testing.assert_array_equal(grid.cells[:, :8], pixels[0].reshape(8, 8))
    np.testing.assert_array_equal(grid.cells[:, 8:], pixels[1].reshape(8, 8))
    assert grid_of(pixels, 28, 28).image is None
    assert grid_of(np.zeros((1, 16)), 28, 28, image=True).image is None  # too small to be one


def test_shades_are_shares_of_the_largest_magnitude():
    shaded = shades(grid_of(np.array([[-2.0, 0.0, 4.0, np.nan, np.inf, -np.inf]]), 9, 9))
    np.testing.assert_array_equal(shaded, [[-0.5, 0, 1, np.nan, 1, -1]])
    np.testing.assert_array_equal(shades(grid_of(np.zeros(2), 9, 9)), [[0, 0]])


def test_colours_run_from_low_over_zero_to_high():
    assert [mixed(share, "#0000FF", "#FFFFFF", "#FF0000") for share in (-1, 0, 1)] == [
        "#0000FF",
        "#FFFFFF",
        "#FF0000",
    ]


def test_a_miniature_has_the_colour_of_every_cell():
    cells = miniature(grid_of(np.array([[-1.0, 0.0], [0.5, 1.0]]), 9, 9), THEMES["light"])
    assert cells.count("<TR>") == 2
    assert cells.count("BGCOLOR") == 4
    assert f'BGCOLOR="{VERMILLION}"' in cells
    assert 'BGCOLOR="#FFFFFF"' in cells
    assert 'COLSPAN="2"' in miniature(grid_of(np.zeros((1, 2)), 9, 9), THEMES["light"])  # equal neighbours


def test_large_arrays_have_a_miniature_and_numbers_too(needs_dot, tmp_path):
    w = mg.Tensor(np.linspace(-1, 1, 40).reshape(4, 10), requires_grad=True, name="w")
    graph = draw((w * w).sum())
    assert "cells: orange is positive, blue negative" in graph.source
    root = ET.parse(render(graph, tmp_path / "w.svg")).getroot()  # noqa: S314 - our own file
    parts = next(group for group in root.iter() if group.get("id") == "n1")
    fills = [part.get("fill") for part in parts.iter("{http://www.w3.org/2000/svg}polygon")]
    assert len(fills) >= 40
    assert "mean" in "".join(parts.itertext())
    assert "cells:" not in draw(mg.Tensor(1.0, requires_grad=True) * 2).source


def test_a_picture_of_very_many_nodes_has_no_miniatures():
    y = mg.Tensor(np.ones(40), requires_grad=True)
    for _ in range(MOST_MINIATURES + 1):
        y = -y
    assert "BGCOLOR" not in draw(y).source
