"""How verify's report reads: as text, as strict JSON, and as HTML that is escaped and whole."""

import json
from html.parser import HTMLParser

import numpy as np

import microgradnet as mg
from microgradnet import Primitive, nn

X, Y = np.linspace(-1, 1, 12).reshape(3, 4), np.linspace(0, 1, 6).reshape(3, 2)


class Page(HTMLParser):
    """Collects the tags, the texts, and what a page would load."""

    def __init__(self, page):
        super().__init__()
        self.open, self.texts, self.loads = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.loads += [value for name, value in attrs if name in {"src", "href"} or tag == "script"]
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def reports():
    rng = np.random.default_rng(1)
    right = nn.Sequential(nn.Linear(4, 3, rng=rng), nn.Tanh(), nn.Linear(3, 2, rng=rng))
    cruel = Primitive("<script>alert(1)</script>", np.tanh, lambda g, y, _x: 2 * g * (1 - y * y))

    class Wrong(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(4, 2, rng=rng)

        def forward(self, x):
            return cruel(self.layer(x))

    return [mg.verify(model, nn.MSELoss(), X, Y) for model in (right, Wrong())]


def test_the_page_is_whole_escaped_and_loads_nothing():
    for report in reports():
        for html in (report.to_html(), report._repr_html_()):
            page = Page(html)
            assert page.open == []
            assert page.loads == []
            assert "<script" not in html
        assert [text for row in report.rows if (text := row.title) not in page.texts] == []
    assert "&lt;script&gt;alert(1)&lt;/script&gt;#" in html


def test_the_page_marks_what_disagrees():
    right, wrong = (report._repr_html_() for report in reports())
    assert "✓ verify Sequential: all three ways agree" in right
    assert "✗" not in right
    assert "✗ verify Wrong: the gradients DISAGREE" in wrong
    assert "it is 2 × the true gradient" in wrong
    assert wrong.count(" ✗</td>") == sum(len(row.disagreeing) for row in reports()[1].rows) > 0


def test_the_text_has_every_row_and_number():
    report = reports()[0]
    text = str(report)
    assert repr(report) == text
    for row in report.rows:
        line = next(line for line in text.splitlines() if line.strip().startswith(row.title))
        assert all(f"{error:.1e}" in line for error in row.errors.values())
    assert f"loss {report.loss:.12g}, by δ {report.loss_by_delta:.12g}" in text
    assert "8 of 8 rules of 4 operations hold, each checked by itself" in text


def test_the_json_is_strict():
    for report in reports():
        content = json.loads(report.to_json(), parse_constant=lambda word: 1 / 0)
        assert content["ok"] is report.ok
        assert [row["name"] for row in content["rows"]] == [row.name for row in report.rows]
        assert len(content["rules"]) == len(report.rules)


def test_the_largest_error_of_a_pair():
    report = reports()[0]
    assert report.error("autograd–δ") == max(row.errors["autograd–δ"] for row in report.rows)
    assert np.isnan(mg.verify(nn.Linear(4, 2), lambda a, _y: a.sum(), X, None).error("autograd–δ"))
