"""Recomputed inner steps give the same meta-gradient and keep less memory."""

import pytest
import torch
from problems import conv4, gradient, images

from mamlbench.algorithms import MAML
from mamlbench.objectives import Classification


def learner(steps: int, again: bool, **options) -> MAML:
    torch.manual_seed(0)
    made = MAML(conv4(), Classification(), inner_lr=0.1, inner_steps=steps, **options).double()
    made.checkpoint_inner_steps = again
    return made


@pytest.mark.parametrize("options", [{}, {"first_order": True}, {"learn_inner_lr": True}])
def test_the_same_gradient(options):
    kept, again = (gradient(learner(3, again, **options), images(4)) for again in (False, True))
    torch.testing.assert_close(again, kept, rtol=1e-12, atol=1e-15)


def test_what_is_kept_does_not_grow_with_a_step_s_activations():
    def grows(again: bool) -> int:
        one, three = (kept_bytes(learner(steps, again)) for steps in (1, 3))
        return three - one

    assert grows(again=True) < 0.5 * grows(again=False)


def kept_bytes(maml: MAML) -> int:
    """Bytes of the distinct tensors that the graph of a meta-loss saves for its backward pass."""
    seen: dict[int, int] = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    alive = []
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        alive.append(maml.meta_loss(images(4)))
    return sum(seen.values())
