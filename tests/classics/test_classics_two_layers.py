"""Two layers from scratch: the loss falls at every step, and the net learns its four examples."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def example(classic):
    return classic("two_layers")


def test_the_sizes_are_those_that_were_asked_for(example):
    net = example.TwoLayers(0)
    assert (net.w1.shape, net.w2.shape) == ((3, 4), (4, 1))


@pytest.mark.parametrize("seed", [0, 1])
def test_the_loss_falls_at_every_step(example, seed):
    net, losses, apart = example.train(seed=seed)
    assert len(losses) == 1501
    assert (np.diff(losses) < 0).all()
    assert apart < 1e-12
    assert (net.forward()[1].data.round() == example.Y).all()


def test_it_prints_what_the_gallery_shows_and_draws(example, gallery, same, capsys, tmp_path):
    example.main(str(tmp_path / "picture.png"))
    same(capsys.readouterr().out.splitlines(), gallery("two_layers"))
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
