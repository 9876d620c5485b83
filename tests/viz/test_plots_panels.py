"""panels: a figure of plots side by side, and what it says where matplotlib is missing."""

import builtins
import io

import pytest

from microgradnet.viz import plots


def test_the_axes_stand_row_by_row_and_the_same_drawing_gives_the_same_bytes():
    written = []
    for _ in range(2):
        figure, axes = plots.panels(2, 2, size=(2.0, 1.0))
        assert figure.get_size_inches().tolist() == [4.0, 2.0]
        figure.draw_without_rendering()
        corners = [ax.get_position().get_points()[0] for ax in axes]
        assert corners[0][0] < corners[1][0]
        assert corners[0][1] > corners[2][1]
        axes[3].plot([1, 2], [3, 4])
        file = io.BytesIO()
        figure.savefig(file)
        written.append(file.getvalue())
    assert written[0] == written[1]


def test_without_matplotlib_it_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **keywords):
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'microgradnet\[plots\]'"):
        plots.panels()
