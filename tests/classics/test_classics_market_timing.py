"""Timing a market: the process, no look-ahead, costs, the conclusion, and the user's own CSV."""

import re

import numpy as np
import pytest

from microgradnet.datasets import DataFileError


@pytest.fixture(scope="module")
def example(classic):
    return classic("market_timing")


def test_the_process_is_the_documented_one(example):
    returns = np.diff(np.log(example.drawn(0.3, days=20_000)))
    noise = returns[1:] - 0.0003 - 0.3 * (returns[:-1] - 0.0003)
    assert noise.std() == pytest.approx(0.01, rel=0.02)
    assert abs(np.corrcoef(noise[1:], noise[:-1])[0, 1]) < 0.03
    assert np.corrcoef(returns[1:], returns[:-1])[0, 1] == pytest.approx(0.3, abs=0.03)
    assert returns.mean() == pytest.approx(0.0003, abs=0.0004)


def test_what_comes_later_changes_no_decision(example):
    returns = np.diff(np.log(example.drawn(0.15, days=1300)))
    decided = example.walked_forward(returns, epochs=2)
    for cut in (100, 125, 126, 400):  # a day of the middle, and both sides of a new net
        later = returns.copy()
        later[example.PAST + cut :] = np.random.default_rng(9).normal(
            0, 0.05, len(returns) - example.PAST - cut
        )
        again = example.walked_forward(later, epochs=2)
        np.testing.assert_array_equal(again[: cut + 1], decided[: cut + 1])  # day `cut` is decided before it
        assert (again != decided).any()


def test_what_it_can_know_is_used(example):
    returns = np.where(np.arange(1200) % 3 == 0, 0.02, -0.01)  # every third day rises
    decided = example.walked_forward(returns, epochs=10)
    np.testing.assert_array_equal(decided, returns[example.PAST :] > 0)


def test_wealth_multiplies_and_pays_for_every_change(example):
    invested, returns = np.array([1.0, 1, 0, 1]), np.log([1.1, 0.5, 2.0, 3.0])
    np.testing.assert_allclose(example.wealth(invested, returns), [1.1, 0.55, 0.55, 1.65])
    np.testing.assert_allclose(example.wealth(invested, returns, 0.1)[-1], 1.65 * 0.9**3)


def test_the_conclusion_says_what_the_numbers_allow(example):
    assert example.conclusion(0.31, 2.0, 1.0) == (
        "31% of the coins did as well: the net foresees nothing that shows"
    )
    assert example.conclusion(0.0, 1.0, 2.0) == (
        "the net foresees something; costs eat it, holding was better"
    )
    assert example.conclusion(0.0, 2.0, 1.0) == "the net foresees something; it pays"


def test_the_users_prices_are_read_and_drawn(example, capsys, tmp_path):
    file = tmp_path / "prices.csv"
    rows = "".join(f"day {i},{price}\n" for i, price in enumerate(example.drawn(0.3, days=1000)))
    file.write_text("Date,Close\n" + rows, encoding="utf-8")
    example.main(str(tmp_path / "picture.png"), str(file), epochs=5)
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{file}: 1 became")
    assert re.search(
        r"[\d.]+ \(buy and hold\), [\d.]+ \(net, no costs\), [\d.]+ \(net, 0.1% a change\)", first
    )
    assert "nine coins in ten" in second
    assert re.search("the net foresees (something|nothing)", third)
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_a_hole_in_the_users_prices_is_an_error(example, tmp_path):
    file = tmp_path / "prices.csv"
    file.write_text("Date,Close\na,100\nb,\nc,102\n", encoding="utf-8")
    with pytest.raises(
        DataFileError, match=r"prices.csv: expected a price in column 'close' on line 3, found ''"
    ):
        example.main(None, str(file))


def test_too_short_a_series_is_refused(example, tmp_path):
    file = tmp_path / "prices.csv"
    file.write_text("Close\n" + "100\n" * 40, encoding="utf-8")
    with pytest.raises(SystemExit, match=r"prices\.csv: 40 prices, at least 875 are needed"):
        example.main(None, str(file))


def test_the_gallery_shows_a_random_walk_that_cannot_be_timed(gallery):
    lines = gallery("market_timing")
    assert [line.partition(":")[0] for line in lines] == ["φ = 0.0"] * 3 + ["φ = 0.15"] * 3
    assert "the net foresees nothing that shows" in lines[2]
    assert "the net foresees something; costs eat it" in lines[5]
