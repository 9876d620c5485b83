"""Prices from a CSV: columns, and every kind of hole named with its file and line."""

import numpy as np
import pytest

from microgradnet.datasets import DataFileError, read_prices


def written(folder, text, encoding="utf-8"):
    path = folder / "prices.csv"
    path.write_text(text, encoding=encoding)
    return path


def test_a_column_is_found_by_its_name_in_any_case(tmp_path):
    path = written(tmp_path, 'Date, Close ,Volume\n"Jan 2, 2024",100.5,7\nb,1e2,8\n', "utf-8-sig")
    prices = read_prices(path)
    assert prices.dtype == np.float64
    assert prices.tolist() == [100.5, 100.0]
    assert read_prices(path, "VOLUME").tolist() == [7, 8]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Date,Close\na,100\nb,\n", r"a price in column 'close' on line 3, found ''"),
        ("Date,Close\na,100\n\nc,101\n", r"on line 3, found 0 of the 2 fields up to it"),
        ("Date,Close\na,100\nb\n", r"on line 3, found 1 of the 2 fields up to it"),
        ("Date,Close\na,n/a\n", r"on line 2, found 'n/a'"),
        ("Date,Close\na,nan\n", r"on line 2, found nan"),
        ("Date,Close\na,inf\n", r"on line 2, found inf"),
        ("Date,Close\na,0\n", r"on line 2, found 0"),
        ("Date,Close\na,-3.5\n", r"on line 2, found -3.5"),
        ("Date,Open\na,1\n", r"a column 'close' on line 1, found Date, Open"),
        ("", r"a column 'close' on line 1, found nothing"),
        ("Close\n5\n", r"at least 2 prices, found 1"),
    ],
)
def test_a_hole_is_named_with_file_and_line(tmp_path, text, said):
    with pytest.raises(DataFileError, match=r"prices\.csv: expected .*" + said + "$"):
        read_prices(written(tmp_path, text))
