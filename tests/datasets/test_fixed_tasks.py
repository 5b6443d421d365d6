"""Tasks are the same in every version."""

import pytest

from mamlbench.datasets import HarmonicSinusoid, Sinusoid
from mamlbench.datasets.sampling import task_words
from mamlbench.evaluation import TEST_SEED


def test_tasks_are_the_same_for_ever():
    """Stored results are paired with new ones by task number: no version may change the tasks."""
    assert task_words(0, "test", 0, 1, 2).tolist() == [[560513083014394070, 12590498857603834753]]
    assert task_words(7, "train", 3, 1, 1).tolist() == [[6716659798231292368]]
    assert TEST_SEED == 0
    wave = Sinusoid().sample("test", TEST_SEED, 1, 1).info
    assert wave["amplitude"].item() == pytest.approx(3.6744279947468605, rel=1e-12)
    assert wave["phase"].item() == pytest.approx(0.9281670158129421, rel=1e-12)
    one = HarmonicSinusoid().sample("train", 0, 0, 1)  # from the finite set, with fixed points
    assert one.info["frequency"].item() == pytest.approx(0.7211683956462346, rel=1e-12)
    assert one.support.x[0, 0].item() == pytest.approx(0.8376320600509644, rel=1e-6)
