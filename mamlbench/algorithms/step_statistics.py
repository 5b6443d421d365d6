"""Running statistics of batch normalisation, separate for each inner step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mamlbench.networks.base import Params
from mamlbench.networks.layers import Norm


class StepStatistics(nn.Module):
    """A running mean and variance of each batch-norm layer at each inner step (BNRS).

    arXiv 1810.09502, section 4. A layer with `norm=running` gets them in place of its own, and
    normalises by them in evaluation. A layer with `norm=batch` still normalises by its batch, as
    the authors' code always does: that code keeps running statistics but never uses them.

    They move once per outer step, with the layers' momentum, towards the mean over all tasks and
    all passes at that inner step. (In the authors' code they move at each pass.)

    Args:
        network: the network that has these layers; without any there are no statistics.
        steps: S.
    """

    def __init__(self, network: nn.Module, steps: int) -> None:
        super().__init__()
        self._layers = {
            path: module
            for path, module in network.named_modules()
            if isinstance(module, Norm) and module.norm in ("batch", "running")
        }
        self._means = [f"mean_{i}" for i in range(len(self._layers))]
        self._variances = [f"variance_{i}" for i in range(len(self._layers))]
        for i, layer in enumerate(self._layers.values()):
            self.register_buffer(self._means[i], torch.zeros(steps, layer.channels))
            self.register_buffer(self._variances[i], torch.ones(steps, layer.channels))
        self._step = 0
        self._seen: dict[tuple[int, int], tuple[Tensor, Tensor, int]] = {}

    @property
    def used(self) -> bool:
        """Whether any layer normalises by these statistics in evaluation."""
        return any(layer.norm == "running" for layer in self._layers.values())

    def enter(self, step: int) -> Params:
        """Attribute the passes that follow to inner step `step`.

        Returns that step's statistics [C], by the names of the `norm=running` layers' buffers.
        """
        self._step = step
        return {
            f"{path}.{buffer}": getattr(self, own)[step]
            for path, mean, variance in zip(self._layers, self._means, self._variances, strict=True)
            if self._layers[path].norm == "running"
            for buffer, own in (("running_mean", mean), ("running_var", variance))
        }

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Collect the statistics of all passes inside this context."""
        hooks = [
            layer.register_forward_pre_hook(partial(self._see, index))
            for index, layer in enumerate(self._layers.values())
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    @torch.no_grad()
    def _see(self, index: int, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        x = inputs[0]  # [T, M, ..., C]
        variance, mean = torch.var_mean(x, tuple(range(1, x.dim() - 1)), correction=0)
        place = index, self._step
        seen = mean.sum(0), variance.sum(0), len(x)
        if place in self._seen:
            means, variances, count = self._seen[place]
            seen = means + seen[0], variances + seen[1], count + seen[2]
        self._seen[place] = seen

    def forget(self) -> None:
        """Discard the collected statistics."""
        self._seen = {}

    @torch.no_grad()
    def means(self) -> list[Tensor]:
        """The collected statistics, as means over tasks and passes.

        These are the stored tensors: averaging them over processes in place changes what `keep`
        will use.
        """
        self._seen = {place: (m / n, v / n, 1) for place, (m, v, n) in self._seen.items()}
        return [values for m, v, _ in self._seen.values() for values in (m, v)]

    @torch.no_grad()
    def keep(self) -> None:
        """Move the running statistics towards the collected ones."""
        for (index, step), (means, variances, count) in self._seen.items():
            for name, sums in ((self._means[index], means), (self._variances[index], variances)):
                getattr(self, name)[step].lerp_(sums / count, Norm.momentum)
        self.forget()
