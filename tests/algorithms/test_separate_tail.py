"""A separate tail needs a query set to be separate with."""

import pytest
import runs

from mamlbench.compose import experiment
from mamlbench.errors import UserError


def test_a_separate_tail_without_queries_is_said(tmp_path):
    arguments = runs.overrides(tmp_path, "reptile", "glyphs", "training.iterations=1")
    run = experiment([*arguments, "algorithm.tail=separate", "dataset.queries=0"])
    with pytest.raises(UserError, match=r"^dataset.queries=0: accepted is 1 or more, to"):
        run.run()
