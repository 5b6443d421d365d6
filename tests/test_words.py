"""Counts of things in words."""

import pytest

from mamlbench.words import number_of


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((0, "task"), "0 tasks"),
        ((1, "query", "queries"), "1 query"),
        ((10000, "query", "queries"), "10,000 queries"),
        (("all remaining", "query", "queries"), "all remaining queries"),
    ],
)
def test_number_of(given, words):
    assert number_of(*given) == words
