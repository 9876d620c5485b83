"""The linear predictor and classifier: E/x, forgetting, L·E/x, and errors sent back."""

import numpy as np
import pytest

from microgradnet.nn.functional import sigmoid


@pytest.fixture(scope="module")
def example(classic):
    return classic("predictor_classifier")


def test_one_correction_makes_the_predictor_right(example):
    error, step, same = example.correction(0.5, example.KM, example.MILES)
    assert error == pytest.approx(12.137)
    assert step == pytest.approx(error / 100) == pytest.approx(same)
    assert example.correction(0.5 + step, example.KM, example.MILES)[0] == pytest.approx(0, abs=1e-12)


def test_the_full_correction_remembers_the_last_example_only(example):
    *_, a = example.classify(1.0)
    (first, _, wanted), (last, _, target) = example.INSECTS.values()
    assert a == pytest.approx(target / last)  # whatever came before
    assert abs(wanted - a * first) > 7


def test_the_moderated_correction_by_hand(example):
    a, slopes = 0.25, [0.25]
    for x, _, target in example.INSECTS.values():
        a += 0.5 * (target - a * x) / x
        slopes.append(a)
    assert example.classify(0.5) == pytest.approx(slopes)
    assert slopes == pytest.approx([0.25, 0.30833333, 1.60416667])


def test_errors_sent_back_are_the_gradient_behind_linear_outputs_only(example):
    linear, curved = example.sent_back(lambda z: z), example.sent_back(sigmoid)
    np.testing.assert_allclose(linear["Wᵀe"], linear["−∂E/∂h"], rtol=1e-12)
    s = 1 / (1 + np.exp(-example.W @ example.H))
    np.testing.assert_allclose(curved["−∂E/∂h"], example.W.T @ (example.ERRORS * s * (1 - s)), rtol=1e-12)
    assert linear["shares"].sum() == pytest.approx(example.ERRORS.sum())  # shares give away the whole error
    directions = [e / np.linalg.norm(e) for e in (linear["shares"], linear["Wᵀe"], curved["−∂E/∂h"])]
    assert (
        min(np.abs(directions[0] - directions[1]).max(), np.abs(directions[1] - directions[2]).max()) > 0.02
    )


def test_it_prints_what_the_gallery_shows_and_draws(example, gallery, same, capsys, tmp_path):
    example.main(str(tmp_path / "picture.png"))
    same(capsys.readouterr().out.splitlines(), gallery("predictor_classifier"))
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
