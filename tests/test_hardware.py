"""Threads and chunks follow from the size of the work."""

import pytest
import torch

from mamlbench.errors import BadValue
from mamlbench.hardware import Hardware


def test_small_work_takes_one_thread():
    before = torch.get_num_threads()
    try:
        Hardware().apply(values=500)
        assert torch.get_num_threads() == 1
        Hardware().apply(values=10**6)
        large = torch.get_num_threads()
        Hardware(threads=3).apply(values=500)
        assert torch.get_num_threads() == 3
        Hardware().apply(values=10**6)
        assert torch.get_num_threads() == large
    finally:
        torch.set_num_threads(before)


def test_a_chunk_is_at_least_one_task_and_as_said():
    assert Hardware().chunk(rows=10, input_shape=(1, 28, 28)) == 66
    assert Hardware().chunk(rows=80, input_shape=(3, 84, 84)) == 1
    assert Hardware(task_chunk=7).chunk(rows=80, input_shape=(3, 84, 84)) == 7


@pytest.mark.parametrize("device", ["gpu", "cpu:1", "cuda:x", ""])
def test_an_unknown_device_is_refused(device):
    with pytest.raises(BadValue, match="device="):
        Hardware(device=device)
