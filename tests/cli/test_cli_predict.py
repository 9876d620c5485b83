"""`microgradnet predict`: pictures of digits, however they are drawn, and what is no such picture."""

import builtins
from typing import Any

import numpy as np
import pytest
from PIL import Image

import microgradnet as mg
from microgradnet import datasets, picture
from microgradnet.cli import main


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on digits, and one test image of each digit, as (8, 8) ink from 0 to 1."""
    out = tmp_path_factory.mktemp("runs")
    main(["train", "--epochs", "30", "--layers", "64", "--dropout", "0.2", "--quiet", "--out", str(out)])
    test = datasets.load("digits", rng=1).test
    model = mg.load(out / "digits" / "model.npz").eval()
    shares = model(test.x).softmax(1).data
    sure = {}  # of each digit, the image of which the network is surest
    for digit in range(10):
        of_digit = np.flatnonzero(test.y == digit)
        sure[digit] = test.x[of_digit[shares[of_digit, digit].argmax()]].reshape(8, 8)
    return out / "digits", sure


def drawn(ink, pad=((30, 30), (30, 30)), paper=1.0, pen=0.0, scale=16):
    """Enlarge an image smoothly, and put it on paper."""
    size = (ink.shape[1] * scale, ink.shape[0] * scale)
    large = Image.fromarray((255 * ink).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    padded = np.pad(np.asarray(large) / 255, pad)
    return (255 * (paper + (pen - paper) * padded)).round().astype(np.uint8)


def said(capsys):
    """Return what predict decided, of each picture."""
    return [line.removeprefix("it is ") for line in capsys.readouterr().out.splitlines() if "it is" in line]


def test_a_convolutional_network_is_given_images(tmp_path, capsys):
    out = ("--quiet", "--out", str(tmp_path))
    main(["train", "--convolutions", "8", "--layers", "32", "--dropout", "0", "--epochs", "15", *out])
    capsys.readouterr()
    test = datasets.load("digits", rng=1).test.as_images()
    model = mg.load(tmp_path / "digits" / "model.npz").eval()
    shares = model(test.x).softmax(1).data
    zeros = np.flatnonzero(test.y == 0)
    ink = test.x[zeros[shares[zeros, 0].argmax()], 0]
    Image.fromarray(drawn(ink)).save(tmp_path / "zero.png")
    main(["predict", str(tmp_path / "digits"), str(tmp_path / "zero.png")])
    assert said(capsys) == ["0"]


STYLES: dict[str, dict[str, Any]] = {
    "dark on light": {},
    "light on dark": {"paper": 0.0, "pen": 1.0},
    "grey on grey": {"paper": 0.8, "pen": 0.3},
    "light grey on grey": {"paper": 0.45, "pen": 0.9},
    "off-centre": {"pad": ((5, 200), (260, 10))},
    "wide": {"pad": ((20, 20), (20, 500))},
    "tall": {"pad": ((300, 30), (20, 20))},
    "large": {"scale": 60},
}


@pytest.mark.parametrize("style", STYLES)
def test_a_digit_is_recognised_however_it_is_drawn(tmp_path, capsys, trained, style):
    run, images = trained
    paths = [tmp_path / f"{digit}.png" for digit in images]
    for path, ink in zip(paths, images.values(), strict=True):
        Image.fromarray(drawn(ink, **STYLES[style])).save(path)
    assert main(["predict", str(run), *map(str, paths)]) == 0
    right = sum(a == b for a, b in zip(said(capsys), "0123456789", strict=True))
    assert right >= 9


@pytest.mark.parametrize("kind", ["transparent", "jpeg", "colour", "palette", "one bit", "16 bit"])
def test_a_digit_is_recognised_in_whatever_file(tmp_path, capsys, trained, kind):
    run, images = trained
    paths = []
    for digit, ink in images.items():
        grey = drawn(ink)
        image = Image.fromarray(grey)
        path = tmp_path / f"{digit}.png"
        if kind == "transparent":  # black ink on nothing, where the transparent part is black as well
            image = Image.merge("LA", [Image.new("L", image.size, 0), Image.fromarray(255 - grey)])
        elif kind == "jpeg":
            path = tmp_path / f"{digit}.jpg"
        elif kind == "colour":  # blue on yellow
            image = Image.merge("RGB", [image, image, Image.fromarray(255 - grey // 2)])
        elif kind == "palette":
            image = image.convert("P")
        elif kind == "one bit":
            image = image.convert("1", dither=Image.Dither.NONE)
        else:
            image = Image.fromarray(grey.astype(np.uint16) * 257)
        image.save(path)
        paths.append(path)
    assert main(["predict", str(run), *map(str, paths)]) == 0
    right = sum(a == b for a, b in zip(said(capsys), "0123456789", strict=True))
    assert right >= 9


def test_it_shows_what_the_network_sees(tmp_path, capsys, trained):
    run, images = trained
    Image.fromarray(drawn(images[7])).save(tmp_path / "seven.png")
    main(["predict", str(run), str(tmp_path / "seven.png")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{tmp_path / 'seven.png'}, as the network sees it (8×8):"
    assert lines[1] == "┌" + "─" * 16 + "┐"
    assert all(len(line) == 18 for line in lines[1:11])
    assert "█" in "".join(lines[2:10])
    assert lines[11].startswith("  7 ")
    assert "%" in lines[11]


@pytest.mark.parametrize("shade", [255, 0, 128])
def test_a_blank_picture(tmp_path, capsys, trained, shade):
    path = tmp_path / "blank.png"
    Image.new("L", (50, 40), shade).save(path)
    assert main(["predict", str(trained[0]), str(path)]) == 1
    assert (
        capsys.readouterr().err
        == f"microgradnet predict: {path} is blank: no ink stands out from the paper\n"
    )


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n half"])
def test_what_is_no_picture(tmp_path, capsys, trained, content):
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    assert main(["predict", str(trained[0]), str(path)]) == 1
    err = capsys.readouterr().err
    assert err.startswith(
        f"microgradnet predict: {path} is not a picture that can be read (a PNG or JPEG of one digit)"
    )
    assert err.count("\n") == 1


def test_a_picture_that_was_cut_off(tmp_path, capsys, trained):
    path = tmp_path / "half.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 90), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    assert main(["predict", str(trained[0]), str(path)]) == 1
    assert f"{path} is not a picture that can be read" in capsys.readouterr().err


def test_a_picture_that_is_not_there(tmp_path, capsys, trained):
    assert main(["predict", str(trained[0]), str(tmp_path / "no.png")]) == 1
    assert capsys.readouterr().err == f"microgradnet predict: there is no picture at {tmp_path / 'no.png'}\n"


def test_a_model_of_points_has_no_pictures(tmp_path, capsys):
    main(["train", "moons", "--epochs", "1", "--quiet", "--out", str(tmp_path)])
    assert main(["predict", str(tmp_path / "moons"), "x.png"]) == 1
    assert "this network was trained on moons, which is no set of grey pictures" in capsys.readouterr().err


def test_without_pillow_one_line_says_what_to_install(tmp_path, capsys, trained, monkeypatch):
    ordinary = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("PIL"):
            raise ModuleNotFoundError(name)
        return ordinary(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    assert main(["predict", str(trained[0]), "x.png"]) == 1
    assert "reading pictures needs Pillow: pip install 'microgradnet[images]'" in capsys.readouterr().err


def test_a_digit_is_placed_as_mnist_places_it():
    """Its longer side is 20 of 28 pixels, and its centre of mass in the middle."""
    grey = np.ones((300, 200))
    grey[200:280, 20:60] = 0  # 80 × 40, dark
    grey[200:280, 60:100] = 0.5
    image = picture.digit_input(grey, 28)
    rows, columns = np.nonzero(image)
    assert [int(np.ptp(axis)) for axis in (rows, columns)] == [19, 19]
    assert (image @ np.arange(28)).sum() / image.sum() == pytest.approx(13.5, abs=0.5)
    assert (image.T @ np.arange(28)).sum() / image.sum() == pytest.approx(13.5, abs=0.5)
    assert image.max() == 1
    assert (columns.min(), columns.max()) == (
        6,
        25,
    )  # its heavy half is on the left, so that it lies to the right
    assert np.unique(image.round(1)).tolist() == [0.0, 0.5, 1.0]


def test_a_photograph_is_turned_as_the_camera_was_held(tmp_path):
    grey = np.full((20, 40), 255, np.uint8)
    grey[5, 30] = 0
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° clockwise to see it upright
    Image.fromarray(grey).save(tmp_path / "turned.png", exif=exif)
    read = picture.read_grey(tmp_path / "turned.png")
    assert read.shape == (40, 20)
    assert np.argwhere(read == 0).tolist() == [[30, 14]]
