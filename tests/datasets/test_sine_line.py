"""Sines and lines: formulas, ranges, halves, noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mamlbench.datasets.sine_line import SineLine
from mamlbench.errors import BadValue


def test_without_noise_points_lie_on_a_wave_or_a_line():
    tasks = SineLine(shots=4, queries=6, noise_std=0.0).sample("train", 0, 0, 60)
    info = tasks.info
    for task in range(60):
        for side in (tasks.support, tasks.query):
            x, y = side.x[task, :, 0].double().numpy(), side.y[task, :, 0].numpy()
            if info["line"][task]:
                expected = info["slope"][task] * x + info["intercept"][task]
            else:
                expected = info["amplitude"][task] * np.sin(x - info["phase"][task])
            np.testing.assert_allclose(y, expected, atol=1e-5)
    assert 15 < info["line"].sum() < 45


def test_half_are_lines_and_all_ranges_are_uniform():
    info = SineLine().sample("test", 0, 0, 6000).info
    line = info["line"]
    assert abs(line.mean() - 0.5) < 4 * 0.5 / 6000**0.5
    for name, of, low, high in (
        ("amplitude", ~line, 0.1, 5.0),
        ("phase", ~line, 0.0, np.pi),
        ("slope", line, -3.0, 3.0),
        ("intercept", line, -3.0, 3.0),
    ):
        assert stats.kstest(info[name][of], "uniform", (low, high - low)).pvalue > 0.001
        assert (info[name][~of] == 0).all()


def test_noise_is_normal_on_both_sides_and_independent():
    dataset = SineLine(shots=2, queries=2)
    tasks = dataset.sample("train", 0, 0, 3000)
    residuals = np.concatenate(
        [
            side.y[..., 0].double().numpy()
            - dataset.curve(tasks.info, side.x[..., 0].double().numpy())
            for side in (tasks.support, tasks.query)
        ],
        axis=1,
    )
    for column in residuals.T:
        assert stats.kstest(column, "norm", (0.0, 0.3)).pvalue > 0.001
    assert np.abs(np.corrcoef(residuals.T) - np.eye(4)).max() < 5 / 3000**0.5


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("noise_std", -0.1),
        ("slope", (1.0, 0.0)),
        ("intercept", (1.0, 0.0)),
        ("amplitude", (1.0, 0.0)),
        ("phase", (1.0, 0.0)),
    ],
)
def test_bad_values_are_named(option, value):
    with pytest.raises(BadValue) as error:
        SineLine(**{option: value})
    assert error.value.option == option
