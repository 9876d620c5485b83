"""The run report: one page that holds everything, loads nothing, says what is missing, and is escaped."""

import builtins
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest

from microgradnet import nn, optim, report, train
from microgradnet.report.pictures import graph_svg, plot_svg

RNG = np.random.default_rng(0)
X = RNG.random((40, 12)).astype(np.float32)
Y = (X[:, :6].sum(1) > X[:, 6:].sum(1)).astype(np.int64)
VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """What a page holds: its elements, whether they are closed, its identifiers, its texts."""

    def __init__(self, text):
        super().__init__()
        self.open, self.mistakes, self.attributes, self.texts = [], [], [], []
        self.names: dict[str, int] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.names[tag] = self.names.get(tag, 0) + 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.names[tag] = self.names.get(tag, 0) + 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.mistakes.append(tag)

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def values(self, name):
        return [value for _, attribute, value in self.attributes if attribute == name]


def run(layers=None, loss_fn=None, x=X, **changes):
    """Return a training of two epochs, as the report takes it."""
    rng = np.random.default_rng(1)
    layers = layers or [
        nn.Linear(x.shape[1], 6, rng=rng),
        nn.ReLU(),
        nn.Dropout(0.2, rng=rng),
        nn.Linear(6, 2, rng=rng),
    ]
    model, loss_fn = nn.Sequential(*layers), loss_fn or nn.CrossEntropyLoss()
    watch = train.Watch(model, x)
    history = train.fit(
        model,
        loss_fn,
        optim.SGD(model.parameters(), lr=0.1),
        (x, Y),
        epochs=2,
        validation=(x, Y),
        metrics=["accuracy"],
        rng=2,
        on_batch=watch,
        on_epoch=watch.after_epoch,
    )
    model.eval()
    shares = nn.functional.softmax(model(x), 1).data
    model.train()
    facts = {
        "title": "a run",
        "result": "it is good",
        "settings": {"lr": 0.1},
        "history": history,
        "watch": watch,
        "model": model,
        "loss_fn": loss_fn,
        "examples": (x[:4], Y[:4]),
        "examined": "the test data",
        "x": x,
        "y": Y,
        "probabilities": shares,
        "classes": ("a", "b"),
        "image_shape": (1, 3, 4) if x.shape[1] == 12 else None,
    }
    return report.Run(**{**facts, **changes})


@pytest.fixture(scope="module")
def page():
    return Page(report.render(run()))


def test_all_parts_are_there(page):
    for title in (
        "Training",
        "Gradients and updates",
        "What the first layer looks for",
        "Which class it takes for which, on the test data",
        "The worst mistakes, on the test data",
        "The graph of one example's loss",
        "Are the gradients right?",
        "Settings",
    ):
        assert title in page.text
    assert "verify Sequential: all three ways agree" in page.text
    assert "weights of 6 units" in page.text
    assert "2 epochs, 4 steps" in page.text


def test_the_page_is_well_formed(page):
    assert (page.mistakes, page.open) == ([], [])
    identifiers = page.values("id")
    assert len(identifiers) == len(set(identifiers))
    assert set(page.values("href")) >= {"#part-1"}
    inside = [value[1:] for value in page.values("href") + page.values("xlink:href") if value.startswith("#")]
    assert set(inside) <= set(identifiers), "every link inside the page leads somewhere"


def test_it_loads_nothing_and_runs_nothing(page):
    assert "script" not in page.names
    assert {name for _, name, _ in page.attributes if name.startswith("on")} == set()
    links = page.values("href") + page.values("xlink:href") + page.values("src")
    assert {link.split(":")[0][:1] if link.startswith("#") else link.split(",")[0] for link in links} <= {
        "#",
        "data:image/png;base64",
    }
    assert "default-src 'none'" in page.values("content")[1 - 1] or any(
        "default-src 'none'" in content for content in page.values("content")
    )


def test_texts_take_the_colour_of_the_page():
    svg = plot_svg(lambda ax: ax.set_title("t"), "p")
    assert "currentColor" in svg
    assert "#010203" not in svg
    assert plot_svg(lambda ax: ax.set_title("t"), "p") == svg, "the same bytes"


def test_the_numbers_of_the_last_epoch_are_written(page):
    last = run().history[-1]
    assert f"{last.loss:.4g}" in page.text
    assert f"{last.validation['accuracy']:.4g}" in page.text


def test_findings_are_in_words():
    dead = nn.Linear(12, 6)
    dead.load_state_dict({"weight": dead.weight, "bias": np.full(6, -100.0)})
    page = Page(report.render(run([dead, nn.ReLU(), nn.Linear(6, 2)])))
    assert "dead : 6 of 6 ReLU units of layer '1' are dead" in page.text


NASTY = '<script>alert("x")</script>'


def test_every_name_is_escaped():
    nasty = run(
        title=NASTY, result=NASTY, settings={NASTY: NASTY}, examined=NASTY, classes=(NASTY, "$x$ & <b>")
    )
    layer = nasty.model[0]
    layer.extra = {NASTY: nn.Parameter(np.zeros(2))}  # unused, but it has a path
    watch = train.Watch(nasty.model)
    watch.samples = [
        train.watch.Sample(1, 1.0, {NASTY: train.watch.Norms(1.0, 0.5, 1.0, 4)}) for _ in range(2)
    ]
    page = Page(report.render(report.Run(**{**vars(nasty), "watch": watch})))
    assert "script" not in page.names
    assert "b" in page.names, "the findings' own"
    assert page.mistakes == []
    assert page.text.count(NASTY) >= 6
    assert "$x$ & <b>" in page.text
    live = Page(report.render(nasty, live=(1, NASTY)))
    assert live.names["script"] == 1


def test_examples_in_the_plane_show_the_border():
    page = Page(report.render(run(x=X[:, [0, 6]])))
    assert "Where it draws its borders, on the test data" in page.text
    assert "x₁" in page.text


def test_examples_that_are_no_pictures_have_a_table_of_mistakes():
    wrong = np.tile([0.25, 0.75], (40, 1))
    page = Page(report.render(run(x=np.concatenate([X, X], 1), probabilities=wrong)))
    assert "its inputs are no grey pictures" in page.text
    first = int(np.flatnonzero(Y == 0)[0])
    assert f"{first} b (75%) a (25%)" in page.text


def test_a_convolutional_network_shows_its_kernels():
    rng = np.random.default_rng(1)
    layers = [nn.Conv2d(1, 5, 2, rng=rng), nn.Sigmoid(), nn.Flatten(), nn.Linear(30, 2, rng=rng)]
    page = Page(report.render(run(layers, x=X.reshape(40, 1, 3, 4), image_shape=(1, 3, 4))))
    assert "weights of 5 units" in page.text
    assert "sigmoid 5 0" in page.text, "units are feature maps"
    assert "verify Sequential: all three ways agree" in page.text


def test_without_mistakes_it_says_so():
    assert "there are none" in Page(report.render(run(probabilities=np.eye(2)[Y]))).text


def test_a_loss_that_cannot_be_verified_is_said_so():
    class Noisy(nn.CrossEntropyLoss):
        def forward(self, input, target):
            return super().forward(input, target) * float(RNG.random())

    assert "this model could not be verified: " in Page(report.render(run(loss_fn=Noisy()))).text


def test_what_matplotlib_would_draw_is_replaced_by_what_to_install(monkeypatch):
    ordinary = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == "matplotlib":
            raise ModuleNotFoundError(name)
        return ordinary(name, *args, **kwargs)

    seen = run()
    monkeypatch.setattr(builtins, "__import__", without)
    page = Page(report.render(seen))
    assert page.text.count("plots need matplotlib: pip install 'microgradnet[plots]'") == 5
    assert "verify Sequential: all three ways agree" in page.text
    assert page.mistakes == []


def test_without_dot_the_graph_is_text(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    page = Page(report.render(run()))
    assert "as a picture it needs Graphviz's dot: " in page.text
    assert page.names["pre"] == 1
    assert "relu (1, 6)" in page.text


def test_the_graph_comes_for_light_and_for_dark_pages(needs_dot):
    x = nn.Linear(2, 1)(np.ones((1, 2))).sum()
    both = graph_svg(x, "g")
    assert re.findall(r'<div class="for-(\w+)"', both) == ["light", "dark"]
    identifiers = re.findall(r' id="([^"]+)"', both)
    assert len(identifiers) == len(set(identifiers))


def test_an_interrupted_first_epoch_has_a_report():
    seen = run()
    seen.watch.samples.clear()
    seen.watch.units.clear()
    page = Page(report.render(report.Run(**{**vars(seen), "history": train.History()})))
    assert "no epoch was over" in page.text
    assert "no step was watched" in page.text


def test_a_report_changes_nothing():
    seen = run(
        [nn.Linear(12, 6), nn.BatchNorm1d(6), nn.Dropout(0.5, rng=np.random.default_rng(3)), nn.Linear(6, 2)]
    )
    drawn = seen.model[2].rng.bit_generator.state
    before = seen.model.state_dict()
    report.render(seen)
    assert all((before[name] == array).all() for name, array in seen.model.state_dict().items())
    assert seen.model[2].rng.bit_generator.state == drawn
    assert seen.model.training
    assert all(p.grad is None for p in seen.model.parameters())


def test_it_is_written_as_a_file(tmp_path):
    path = report.write(run(), tmp_path / "report.html")
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>\n")
    with pytest.raises(OSError, match="No such file or directory"):
        report.write(run(), tmp_path / "missing" / "report.html")
