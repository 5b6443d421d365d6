"""Each class has a turn of its own, each channel its mean and deviation."""

import numpy as np
import torch
from test_images import Cornered, Toy, loaded, turns_of


def test_each_class_of_a_task_has_a_turn_of_its_own():
    dataset = loaded(Cornered(rotations="per_task", shots=1))
    turns = turns_of(dataset.sample("train", 0, 0, 200, shots=1, queries=0).support)
    alike = sum(len(set(row)) == 1 for row in turns.tolist())
    assert alike < 30  # of 200 / 16 expected; of turns that classes share, all


class Coloured(Cornered):
    """Three channels, all alike."""

    def __init__(self, **options):
        super(Toy, self).__init__((3, 2, 2), 3, 1, 2, None, None, **options)

    def read(self, fresh=False):
        images = super().read(fresh)
        return type(images).of(np.repeat(images.images, 3, 1), images.classes, images.counts)


def test_each_channel_has_a_mean_and_a_deviation_of_its_own():
    mean, std = [0.1, 0.2, 0.3], [0.5, 1.0, 2.0]
    plain, scaled = (
        loaded(Coloured(**options)).sample("test", 0, 0, 1).support.x[0, 0]
        for options in ({}, {"mean": mean, "std": std})
    )
    for channel in range(3):
        expected = (plain[channel] - mean[channel]) / std[channel]
        torch.testing.assert_close(scaled[channel], expected)
