from __future__ import annotations

import numpy as np
import pytest

from mamlbench.figures import sampled, style


def test_functions(tmp_path, drawn):
    x = np.linspace(-5, 5, 7)
    truth = np.stack([np.sin(x), x])
    samples = truth[:, None] + np.array([-1.0, 0.0, 4.0])[:, None]
    sampled.functions(x, truth, truth[:, :3] * 2, truth[:, :3], samples, tmp_path / "a.png")
    panels = drawn[0].axes
    assert len(panels) == 2
    for task, axes in enumerate(panels):
        curves = [line.get_ydata().tolist() for line in axes.lines]
        assert curves[:3] == samples[task].tolist()
        assert curves[3] == pytest.approx(truth[task] + 1.0)
        assert curves[4] == truth[task].tolist()
        assert curves[5] == truth[task, :3].tolist()
    words = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert words == ["truth", "3 samples", "their mean", "points given"]


def test_boundaries_are_where_each_sample_is_undecided(tmp_path, drawn):
    """Probabilities that fall with x have vertical lines as boundaries."""
    grid = np.linspace(-5, 5, 21)
    ends = np.array([[-1.0, 2.0], [0.5, 3.0]])
    ramp = 0.5 - 0.04 * (grid - ends[..., None])  # [T, P, n]
    probability = np.repeat(ramp[:, :, None], 21, axis=2)
    circles = np.array([[0.0, 1.0, 2.0], [-1.0, 0.0, 1.5]])
    support, labels = np.array([[[0.0, 1.0]], [[-1.0, 0.5]]]), np.ones((2, 1), dtype=int)
    sampled.boundaries(grid, probability, support, labels, circles, tmp_path / "a.png")
    for task, axes in enumerate(drawn[0].axes):
        _, *lines = axes.collections
        found = [line.get_paths()[0].vertices[:, 0] for line in lines]
        for vertices, end in zip(found, ends[task], strict=True):
            assert vertices == pytest.approx(np.full(len(vertices), end))
        (circle,) = axes.patches
        assert [*circle.center, circle.radius] == circles[task].tolist()
        outside, inside = (line.get_xydata().tolist() for line in reversed(axes.lines))
        assert (outside, inside) == ([], support[task].tolist())


def test_a_sample_without_a_boundary_has_none(tmp_path, drawn):
    grid = np.linspace(-1, 1, 5)
    probability = np.full((1, 2, 5, 5), 0.9)
    point, labels = np.zeros((1, 1, 2)), np.ones((1, 1), dtype=int)
    sampled.boundaries(
        grid, probability, point, labels, np.array([[0.0, 0.0, 1.0]]), tmp_path / "a.png"
    )
    assert len(drawn[0].axes[0].collections) == 1
    assert style.POINTS["marker"] == drawn[0].axes[0].lines[0].get_marker()
