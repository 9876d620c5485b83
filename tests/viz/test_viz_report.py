"""The run report in a real browser: nothing is loaded, nothing complains, and a live page follows."""

import pytest

from microgradnet.cli import main
from microgradnet.report import Live, waiting
from microgradnet.report.page import Section, page


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    main(["train", "--epochs", "2", "--layers", "16", "--quiet", "--out", str(folder)])
    return folder / "digits" / "report.html"


def test_a_report_shows_without_a_complaint_and_loads_nothing(browser, written):
    browser.open(written)
    assert browser.messages == []
    assert browser.run("document.querySelectorAll('section').length") == 8
    assert browser.run(
        "[...document.querySelectorAll('figure svg')].every(s => s.getBoundingClientRect().width < 1200)"
    )
    assert browser.run("document.documentElement.scrollWidth <= innerWidth"), (
        "the page itself is not scrolled"
    )


def test_on_a_small_screen_nothing_sticks_out(browser, written):
    browser.open(written, size=(400, 800))
    assert browser.run("document.documentElement.scrollWidth") <= 400


@pytest.mark.parametrize("dark", [False, True])
def test_light_and_dark_have_contrast_and_their_own_graph(browser, written, dark):
    browser.open(written)
    browser.dark(on=dark)
    try:
        colours = browser.run(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
        )
        levels = [sum(map(int, colour.strip("rgb()").split(","))) for colour in colours]
        assert min(levels) < 200
        assert max(levels) > 500
        assert (levels[0] < levels[1]) == dark
        texts = "[...document.querySelectorAll('#part-1 svg text')]"
        inks = browser.run(f"[...new Set({texts}.map(text => getComputedStyle(text).fill))]")
        assert inks == [colours[1]], "plots are written in the page's colour"
        shown = "(kind => document.querySelector('.for-' + kind).getBoundingClientRect().width > 0)"
        assert browser.run(f"{shown}('dark')") == dark
        assert browser.run(f"{shown}('light')") != dark
    finally:
        browser.dark(on=False)


def test_a_live_page_follows_and_says_when_it_is_over(browser):
    with Live() as live:
        live.show(waiting("a run", live=(1, "the training is over")))
        browser.call("Page.navigate", url=live.url)
        browser.wait("document.querySelector('main')?.innerText.includes('under way')")
        live.show(
            page("a run", "<p>epoch 1</p>", [Section("Training", "")], live=(2, "the training is over"))
        )
        browser.wait("document.querySelector('main').innerText.includes('epoch 1')")
    browser.wait("document.querySelector('#live').innerText === 'the training is over'")
    browser.call("Page.navigate", url="about:blank")
