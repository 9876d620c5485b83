"""The player in a real browser: every control, the engine's numbers on the page, hostile names."""

import base64
import hashlib
import json
import re
import shutil
import time

import numpy as np
import pytest

import microgradnet as mg
from microgradnet import nn
from microgradnet.viz import player
from microgradnet.viz.formulas import LAYERS

NASTY = "</script><script>window.bad=1</script><img src=x onerror='window.bad=2'>\"&{{data}}\u2028\\N"


def fan_out(name="w"):
    """Return w²·2 + w·3, whose w has three contributions."""
    w = mg.Tensor(3.0, requires_grad=True, name=name)
    return w, w * w * 2.0 + w * 3.0


def played(loss, folder, **options):
    path = player(loss, folder / "player.html", **options)
    text = path.read_text(encoding="utf-8")
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)
    assert found
    return path, text, json.loads(found[1])


# ---------------------------------------------------------------------- what the file holds


def test_the_same_program_gives_the_same_bytes(needs_dot, tmp_path):
    texts = []
    for _ in range(2):
        _, loss = fan_out()
        texts.append(played(loss, tmp_path)[1])
    assert texts[0] == texts[1]


def test_nothing_is_loaded_from_outside(needs_dot, tmp_path):
    _, text, _ = played(fan_out()[1], tmp_path)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy
    assert policy[1].startswith("default-src 'none'; ")
    addresses = set(re.findall(r"https?://[^\s\"')]+", text))
    assert addresses == {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}  # names of languages
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert re.findall(r"sha256-([^']+)'", policy[1]) == digests


def test_steps_are_those_of_the_sweep(needs_dot, tmp_path):
    w, loss = fan_out()
    _, _, data = played(loss, tmp_path)
    titles = [node["title"] for node in data["nodes"]]
    backward = [
        (titles[step["node"] - 1], [(titles[p["node"] - 1], p["order"], p["count"]) for p in step["parts"]])
        for step in data["steps"]
        if step["phase"] == "backward"
    ]
    assert backward == [
        ("add", [("mul", 1, 1), ("mul", 1, 1)]),
        ("mul", [("w", 1, 3)]),
        ("mul", [("mul", 1, 1)]),
        ("mul", [("w", 2, 3), ("w", 3, 3)]),
        ("w", []),
    ]
    sums = [
        (data["arrays"][part["total"]]["cells"], data["arrays"][part["handed"]]["cells"])
        for step in data["steps"]
        for part in step["parts"]
        if titles[part["node"] - 1] == "w"
    ]
    assert sums == [([3], [3]), ([9], [6]), ([15], [6])]
    befores = [
        part["before"] if part["before"] is None else data["arrays"][part["before"]]["cells"]
        for step in data["steps"]
        for part in step["parts"]
        if titles[part["node"] - 1] == "w"
    ]
    assert befores == [None, [3], [9]]
    assert w.grad is None  # it is only watched


def test_local_derivatives_are_those_of_the_function(needs_dot, tmp_path):
    x = mg.Tensor([0.5, -1.0], requires_grad=True, name="x")
    _, _, data = played((np.tanh(x) * np.array([2.0, 3.0])).sum(), tmp_path)
    local = {
        data["nodes"][step["node"] - 1]["operation"]: data["arrays"][part["local"]]["cells"]
        for step in data["steps"]
        for part in step["parts"]
    }
    np.testing.assert_allclose(local["tanh"], 1 - np.tanh([0.5, -1.0]) ** 2, rtol=1e-15)
    assert local["mul"] == [2, 3]
    assert local["sum"] == [1, 1]


def test_a_large_network_stays_a_small_file(needs_dot, tmp_path):
    model = nn.Sequential(nn.Linear(784, 30), nn.Sigmoid(), nn.Linear(30, 10))
    loss = nn.CrossEntropyLoss()(model(np.random.default_rng(0).random((2, 784))), [3, 1])
    path, _, data = played(loss, tmp_path)
    assert path.stat().st_size < 300_000
    weight = next(node for node in data["nodes"] if node["title"] == "0.weight")
    array = data["arrays"][weight["value"]]
    assert (array["shape"], array["grid"], array["block"]) == ([30, 784], [30, 61], [1, 13])
    assert array["note"] == "a cell is the mean of 1 × 13 numbers"
    means = [model[0].weight.data[0, :13].mean(), model[0].weight.data[0, 13:26].mean()]
    np.testing.assert_allclose(array["cells"][:2], means, rtol=1e-4)
    image = next(
        data["arrays"][n["value"]] for n in data["nodes"] if n["shape"] == "(2, 784)" and n["role"] == "input"
    )
    assert (image["image"], image["grid"]) == ([2, 28], [28, 56])


def test_a_graph_that_is_too_large_is_folded_and_still_played(needs_dot, tmp_path):
    x = mg.Tensor(1.0, requires_grad=True, name="x")
    y = x
    for _ in range(3000):
        y = y * 1.0
    path, _, data = played(y + x, tmp_path, limit=40)
    assert any("in the middle are one box" in note for note in data["notes"])
    assert path.stat().st_size < 300_000
    fold = next(node["number"] for node in data["nodes"] if node["role"] == "fold")
    (passed,) = [step for step in data["steps"] if step["phase"] == "backward" and step["node"] == fold]
    assert [data["arrays"][part["total"]]["cells"] for part in passed["parts"]] == [[1]]
    last = data["steps"][-1]
    assert data["nodes"][last["node"] - 1]["title"] == "x"
    assert data["arrays"][last["gradient"]]["cells"] == [2]


def test_closed_modules_pass_on_what_leaves_them(needs_dot, tmp_path, net):
    model, _, loss = net
    loss.backward()
    _, _, data = played(loss, tmp_path, depth=0)
    assert {node["role"] for node in data["nodes"]} == {"module", "input", "loss"}
    assert not any(
        part["rule"] and data["nodes"][s["node"] - 1]["boxed"] for s in data["steps"] for part in s["parts"]
    )
    assert model[0].weight.grad is not None


def test_numbers_that_json_lacks(needs_dot, tmp_path):
    x = mg.Tensor([1.0, np.inf, np.nan], requires_grad=True, name="x")
    _, _, data = played((x * np.array([1.0, -np.inf, 2.0])).sum(), tmp_path)
    assert data["arrays"][data["nodes"][0]["value"]]["cells"] == [1, "Infinity", "NaN"]


def test_every_layer_of_the_library_has_an_equation_or_no_formula_of_its_own():
    known = {name for name in vars(nn) if isinstance(getattr(nn, name), type)}
    assert set(LAYERS) <= known


# ---------------------------------------------------------------------- what it refuses


def test_errors_teach(needs_dot, tmp_path):
    w = mg.Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(ValueError, match=r"player\(\): the output has shape \(2,\), so there is no single"):
        player(w * 2, tmp_path / "p.html")
    with pytest.raises(ValueError, match=r"player\(\): this tensor has no history; compute it from tensors"):
        player(mg.Tensor(1.0), tmp_path / "p.html")
    with pytest.raises(TypeError, match=r"player\(\): takes a tensor of one number, a loss, not a list"):
        player([w], tmp_path / "p.html")  # type: ignore[arg-type]  # on purpose
    with pytest.raises(FileNotFoundError, match=r"the folder '.*none' does not exist; create it first"):
        player(w.sum(), tmp_path / "none" / "p.html")
    with pytest.raises(IsADirectoryError, match="is a folder; give the name of a file in it"):
        player(w.sum(), tmp_path)
    with pytest.raises(ValueError, match="player: direction='up' is unknown; it may be 'TB'"):
        player(w.sum(), tmp_path / "p.html", direction="up")
    assert not list(tmp_path.iterdir())


def test_without_dot_the_command_that_installs_it_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "which", lambda name: name if name == "apt-get" else None)
    with pytest.raises(FileNotFoundError) as raised:
        player(fan_out()[1], tmp_path / "p.html")
    assert str(raised.value) == (
        "Graphviz's dot is not installed, and the player needs it: sudo apt-get install graphviz "
        "(without it: draw(…, format='text'))"
    )


# ---------------------------------------------------------------------- in a browser


@pytest.fixture
def page(needs_dot, browser, tmp_path):
    """Return a function that plays a loss in the browser; the page must not complain of anything."""

    def opened(loss, fragment="", size=(1280, 800), **options):
        path = player(loss, tmp_path / "player.html", **options)
        browser.open(path, fragment, size)
        browser.wait("document.body.dataset.step !== undefined")
        return browser

    yield opened
    assert browser.messages == []


def step(browser):
    return int(browser.run("document.body.dataset.step"))


def number_of(browser, title):
    return browser.run(f"data.nodes.find((node) => node.title === {json.dumps(title)}).number")


def shown_numbers(browser, row):
    """Return the numbers that the chosen node's panel shows in the row that begins so."""
    return browser.run(
        "[...document.querySelectorAll('#node .row')].filter((row) => "
        f"row.querySelector('.name')?.textContent.startsWith({json.dumps(row)}))"
        ".flatMap((row) => [...row.querySelectorAll('[data-value]')])"
        ".map((cell) => Number(cell.dataset.value))"
    )


def test_the_gradients_on_the_page_are_the_engines(page, net):
    model, _, loss = net
    browser = page(loss)
    browser.key("End")
    loss.backward()
    for name, parameter in model.named_parameters():
        browser.click(f"#n{number_of(browser, name)}")
        np.testing.assert_array_equal(shown_numbers(browser, "∂L/∂"), parameter.grad.ravel())
        np.testing.assert_array_equal(shown_numbers(browser, "value"), parameter.data.ravel())


def test_heat_maps_tell_their_numbers_on_hover(page):
    model = nn.Sequential(nn.Linear(20, 9), nn.Tanh(), nn.Linear(9, 1))
    loss = nn.MSELoss()(model(np.linspace(-1, 1, 20)[None]), [[0.5]])
    browser = page(loss)
    browser.key("End")
    browser.click(f"#n{number_of(browser, '0.weight')}")
    loss.backward()
    left, top, wide, high = browser.run(
        "(({left, top, width, height}) => [left, top, width, height])"
        "([...document.querySelectorAll('#node canvas')].at(-1).getBoundingClientRect())"
    )
    browser.mouse("mouseMoved", left + (7 + 0.5) / 20 * wide, top + (4 + 0.5) / 9 * high)
    said = browser.run("document.getElementById('tip').textContent")
    assert said.startswith("[4, 7] = ")
    np.testing.assert_allclose(
        float(said.split("=")[1].replace("−", "-")), model[0].weight.grad[4, 7], rtol=1e-5
    )


def test_keys(page):
    browser = page(fan_out()[1])
    last = browser.run("last")
    for key, expected in [
        ("ArrowRight", 1),
        ("ArrowRight", 2),
        ("ArrowLeft", 1),
        ("End", last),
        ("ArrowRight", last),
        ("Home", 0),
        ("ArrowLeft", 0),
        ("b", browser.run("data.steps.findIndex((s) => s.phase === 'backward')")),
        ("f", 1),
    ]:
        browser.key(key)
        assert step(browser) == expected, key
    for key, speed in [("ArrowUp", "2"), ("ArrowUp", "4"), ("ArrowDown", "2")]:
        browser.key(key)
        assert browser.run("document.getElementById('speed').value") == speed
    width = browser.run("view.width")
    browser.key("+")
    assert browser.run("view.width") < width
    browser.key("0")
    assert browser.run("view.width") == browser.run("full.width")
    browser.key("t")
    assert browser.run("document.documentElement.dataset.theme") == "light"
    browser.key("?")
    assert browser.run("document.getElementById('keys').hidden") is False
    browser.key("Escape")
    assert browser.run("document.getElementById('keys').hidden") is True


def test_playing_and_pausing(page):
    browser = page(fan_out()[1])
    browser.run("document.getElementById('speed').value = '8'")
    browser.key(" ")
    assert browser.run("document.getElementById('play').textContent") == "‖ pause"
    browser.wait("Number(document.body.dataset.step) >= 2")
    browser.key(" ")
    paused = step(browser)
    time.sleep(0.4)  # two steps at this speed
    assert browser.run("playing()") is False
    assert step(browser) == paused
    browser.click("#play")
    browser.wait("Number(document.body.dataset.step) === last && !playing()")
    browser.click("#play")  # at the end, it begins again
    browser.wait("Number(document.body.dataset.step) < last && playing()")
    browser.key("ArrowLeft")  # a step by hand stops it
    assert browser.run("playing()") is False


def test_buttons(page):
    browser = page(fan_out()[1])
    last = browser.run("last")
    for button, expected in [("step", 1), ("step", 2), ("back", 1), ("last", last), ("first", 0)]:
        browser.click(f"#{button}")
        assert step(browser) == expected, button
    browser.run("(slider => { slider.value = 3; slider.dispatchEvent(new Event('input')); })($('slider'))")
    assert step(browser) == 3
    browser.run("(jump => { jump.value = data.loss; jump.dispatchEvent(new Event('change')); })($('jump'))")
    assert browser.run("data.steps[state.step].node === data.loss && state.chosen === data.loss")
    for button, sign in [("zoom-in", -1), ("zoom-out", 1)]:
        width = browser.run("view.width")
        browser.click(f"#{button}")
        assert (browser.run("view.width") - width) * sign > 0
    browser.click("#fit")
    assert browser.run("view.width === full.width && view.x === full.x")
    browser.click("#theme")
    assert browser.run("document.documentElement.dataset.theme") == "light"
    browser.click("#help")
    assert browser.run("document.getElementById('keys').hidden") is False


def test_wheel_and_drag_move_the_graph(page):
    browser = page(fan_out()[1])
    x, y = browser.centre("#graph > svg")
    before = browser.run("view")
    browser.mouse("mouseWheel", x, y, deltaX=0, deltaY=-200)
    browser.wait(f"view.width < {before['width']}")
    before = browser.run("view")
    browser.mouse("mousePressed", x, y, button="left", clickCount=1)
    browser.mouse("mouseMoved", x + 50, y + 30, button="left")
    browser.mouse("mouseReleased", x + 50, y + 30, button="left", clickCount=1)
    after = browser.run("view")
    assert after["x"] < before["x"]
    assert after["y"] < before["y"]
    assert browser.run("state.chosen") == 0  # a drag is no click


def test_a_step_lights_its_node_and_shows_running_sums(page):
    browser = page(fan_out()[1])
    w = number_of(browser, "w")
    where = browser.run(f"data.steps.findIndex((s) => s.parts.some((p) => p.node === {w} && p.order === 2))")
    browser.run(f"go({where})")
    current = browser.run("data.steps[state.step].node")
    assert browser.run("[...document.querySelectorAll('.node.current')].map((n) => n.id)") == [f"n{current}"]
    assert browser.run("[...document.querySelectorAll('.node.receives')].map((n) => n.id)") == [f"n{w}"]
    assert browser.run("document.querySelectorAll('.edge.active').length") == 2
    words = browser.run("document.getElementById('now').innerText")
    assert "∂L/∂a = g·b" in words
    assert "contribution 2 of 3 to w" in words
    assert re.search(r"running sum there:\s*3\s*\+\s*6\s*=\s*9", words)
    assert browser.run(f"cells.get('{w} gradient').group.textContent") == "15"


def test_what_is_not_computed_yet_is_not_shown(page):
    browser = page(fan_out()[1])
    loss = browser.run("data.loss")
    browser.run(f"choose({loss})")
    assert "not computed yet" in browser.run("document.getElementById('node').innerText")
    assert browser.run(f"cells.get('{loss} value').group.textContent") == ""
    browser.key("b")
    assert browser.run(f"cells.get('{loss} value').group.textContent") == "27"
    assert browser.run(f"cells.get('{loss} gradient').group.textContent") == "1"
    w = number_of(browser, "w")
    browser.run(f"choose({w})")
    assert "no gradient yet" in browser.run("document.getElementById('node').innerText")


def test_a_node_is_chosen_by_keyboard_and_tells_its_layer_and_source(page, net):
    model, x, _ = net
    with mg.viz.source_lines():
        loss = nn.QuadraticLoss()(model(x), [[1.0]])
    browser = page(loss)
    linear = browser.run("data.nodes.find((node) => node.operation === 'linear').number")
    browser.run(f"document.getElementById('n{linear}').focus()")
    browser.key("Enter")
    words = browser.run("document.getElementById('node').innerText")
    assert "∂L/∂W = δᵀ·a" in words
    assert "test_viz_player.py:" in words
    assert "loss = nn.QuadraticLoss()(model(x), [[1.0]])" in words
    browser.key("Tab")
    assert re.fullmatch(r"n\d+", browser.run("document.activeElement.id"))
    assert browser.run("document.activeElement.id") != f"n{linear}"


def test_names_cannot_inject(page):
    class Odd(nn.Module):
        def forward(self, x):
            return x * mg.Tensor(2.0, requires_grad=True, name=NASTY)

    Odd.__name__ = NASTY
    with mg.viz.source_lines():
        loss = Odd()(mg.Tensor(1.0, requires_grad=True, name="'; window.bad = 3; '"))
    browser = page(loss, title=NASTY, names={NASTY: loss})
    browser.key("End")
    for number in range(1, browser.run("data.nodes.length") + 1):
        browser.run(f"choose({number})")
    assert browser.run("window.bad") is None
    assert browser.run("document.querySelectorAll('img').length") == 0
    assert browser.run("document.querySelectorAll('script').length") == 2
    assert browser.run("document.querySelector('h1').textContent") == NASTY


def test_light_and_dark_follow_the_system_and_the_button(page):
    browser = page(fan_out()[1])
    colour = "getComputedStyle(document.body).backgroundColor"
    browser.dark(on=True)
    browser.wait(f"{colour} === 'rgb(20, 23, 26)'")
    node = "getComputedStyle(document.querySelector('#n1 polygon')).fill"
    dark = browser.run(node)
    browser.dark(on=False)
    browser.wait(f"{colour} === 'rgb(255, 255, 255)'")
    assert browser.run(node) != dark
    browser.run("theme('dark')")
    assert browser.run(colour) == "rgb(20, 23, 26)"


def test_a_link_opens_at_a_step_and_a_narrow_window_works(page):
    browser = page(fan_out()[1], "#step=5&node=1&theme=dark", size=(420, 800))
    assert step(browser) == 5
    assert browser.run("state.chosen") == 1
    assert browser.run("document.documentElement.dataset.theme") == "dark"
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
