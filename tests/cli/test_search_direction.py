"""A search optimises in the metric's direction."""

import pytest
from test_search import SEARCH, summaries, the_study

optuna = pytest.importorskip("optuna", reason="the extra tune is not installed")
pytestmark = pytest.mark.usefixtures("no_figures")


def test_the_best_is_the_better_way_of_the_metric(mamlbench):
    assert mamlbench(*SEARCH, "hydra.sweeper.n_trials=3").code == 0
    values = [run["validation"]["value"] for run in summaries()]
    assert len(set(values)) > 1
    assert the_study().best_value == min(values)  # the metric is a squared error
