"""The implementations to compare ours with: the same arithmetic on torch's own layers.

With stride 2, torch's convolutions pad both sides of an image, TensorFlow's SAME only the end. A
network of torch's layers with all kernels rotated by 180 degrees, on images rotated likewise,
computes the same numbers without extra padding: the fastest form of the rival.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from typing_extensions import override

from mamlbench.algorithms.base import MetaLearner
from mamlbench.algorithms.inner_adam import BETA2, EPSILON
from mamlbench.algorithms.minibatches import minibatches
from mamlbench.benchmark.works import ADAM_BATCH, Work
from mamlbench.hardware.device import Hardware
from mamlbench.learn2learn_import import learn2learn
from mamlbench.networks import MLP, Conv4
from mamlbench.tasks import Examples, TaskBatch

Loss = Callable[[Tensor, Tensor], Tensor]


class PlainConv4(nn.Module):
    """Conv4 of torch's own layers, with our parameters, rotated if stride is 2 (see above)."""

    def __init__(self, ours: Conv4, stride: int) -> None:
        super().__init__()
        self.turned = stride == 2
        blocks: list[nn.Module] = []
        filters = 0
        for index in range(len(ours.convs)):
            conv, norm = ours.block(index)
            filters, inputs = conv.weight.shape[:2]
            own_conv = nn.Conv2d(inputs, filters, 3, stride, padding=1)
            own_conv.load_state_dict({"weight": self._round(conv.weight), "bias": conv.bias})
            own_norm = nn.BatchNorm2d(filters, norm.eps, track_running_stats=False)
            blocks += [own_conv, own_norm, nn.ReLU()]
            if stride == 1:
                blocks.append(nn.MaxPool2d(2))
        self.blocks = nn.Sequential(*blocks)
        self.spatial_mean = ours.spatial_mean
        self.filters = filters
        outputs, width = ours.head.weight.shape
        self.head = nn.Linear(width, outputs)
        self.head.weight.data = self._turned(ours.head.weight.data)
        self.head.bias.data = ours.head.bias.data.clone()

    def _turned(self, weight: Tensor) -> Tensor:
        """Weights on maps [h, w, C] as weights on maps [C, h, w], rotated if images are."""
        if self.spatial_mean:
            return weight.clone()
        side = round((weight.shape[1] / self.filters) ** 0.5)
        maps = weight.view(-1, side, side, self.filters).permute(0, 3, 1, 2)
        return self._round(maps).flatten(1)

    def _round(self, maps: Tensor) -> Tensor:
        return maps.flip(2, 3) if self.turned else maps

    def turned_back(self, gradients: dict[str, Tensor]) -> dict[str, Tensor]:
        """Gradients with our parameters' names and layout."""
        kinds: dict[type[nn.Module], str] = {
            nn.Conv2d: "convs",
            nn.BatchNorm2d: "norm_layers",
            _Statistics: "norm_layers",
        }
        names, seen = {"head": "head"}, dict.fromkeys(kinds.values(), 0)
        for path, module in self.blocks.named_children():
            if type(module) in kinds:
                kind = kinds[type(module)]
                names[f"blocks.{path}"] = f"{kind}.{seen[kind]}"
                seen[kind] += 1
        ours = {}
        for name, gradient in gradients.items():
            path, _, last = name.rpartition(".")
            if gradient.dim() == 4:
                gradient = self._round(gradient)
            if name == "head.weight" and not self.spatial_mean:
                side = round((gradient.shape[1] / self.filters) ** 0.5)
                maps = self._round(gradient.view(-1, self.filters, side, side))
                gradient = maps.permute(0, 2, 3, 1).flatten(1)
            ours[f"{names[path]}.{last}"] = gradient
        return ours

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [M, C] of images [M, channels, H, W], rotated if stride is 2."""
        x = self.blocks(x)
        return self.head(x.mean((2, 3)) if self.spatial_mean else x.flatten(1))


class PlainMLP(nn.Module):
    """An MLP of torch's own layers, with our parameters."""

    def __init__(self, ours: MLP) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for linear in (*ours.hidden, ours.head):
            outputs, inputs = linear.weight.shape
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
            layers[-2].load_state_dict(linear.state_dict())
        self.layers = nn.Sequential(*layers[:-1])

    def turned_back(self, gradients: dict[str, Tensor]) -> dict[str, Tensor]:
        """Gradients with our parameters' names."""
        last = len(self.layers) - 1
        ours = {}
        for name, gradient in gradients.items():
            number, _, kind = name.removeprefix("layers.").partition(".")
            place = "head" if int(number) == last else f"hidden.{int(number) // 2}"
            ours[f"{place}.{kind}"] = gradient
        return ours

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [M, 1] of x [M, 1]."""
        return self.layers(x)


class Implementation(ABC):
    """One way to do a work.

    Attributes:
        label: its name.
        column: its name in a table's columns.
    """

    label: str
    column: str

    @abstractmethod
    def step(self) -> None:
        """One outer step: meta-gradient and optimiser."""

    @abstractmethod
    def meta_gradient(self) -> dict[str, Tensor]:
        """The meta-gradient by our parameters' names, without taking a step."""


class Ours(Implementation):
    """This project."""

    label = "mamlbench"
    column = "ours"

    def __init__(self, work: Work, hardware: Hardware) -> None:
        self.learner: MetaLearner = work.learner(hardware)
        self.tasks = work.batch(hardware)

    @override
    def step(self) -> None:
        self.learner.meta_step(self.tasks)

    @override
    def meta_gradient(self) -> dict[str, Tensor]:
        self.learner.meta_gradient(self.tasks)
        named = self.learner.network.named_parameters()
        return {name: p.grad.clone() for name, p in named if p.grad is not None}


class _Plain(Implementation):
    """The parts that all rivals share: network, tasks (rotated if needed), outer optimiser."""

    def __init__(self, work: Work, hardware: Hardware) -> None:
        self.work = work
        ours = work.network()
        device, dtype = hardware.torch_device, hardware.dtype
        self.network: PlainConv4 | PlainMLP
        if isinstance(ours, Conv4):
            self.network = PlainConv4(ours, 2 if work.down == "stride" else 1)
        else:
            self.network = PlainMLP(ours)
        self.network.to(device, dtype)
        self.tasks = work.batch(hardware)
        if work.down == "stride" and work.image is not None:
            self.tasks = TaskBatch(_turned(self.tasks.support), _turned(self.tasks.query))
        self.loss: Loss = F.mse_loss if work.image is None else F.cross_entropy
        lr = 1.0 if work.reptile else 0.001
        optimizer = torch.optim.SGD if work.reptile else torch.optim.Adam
        self.optimizer = optimizer(self.network.parameters(), lr=lr)

    @override
    def step(self) -> None:
        self._backward()
        self.optimizer.step()

    @override
    def meta_gradient(self) -> dict[str, Tensor]:
        self._backward()
        named = self.network.named_parameters()
        return self.network.turned_back({n: p.grad.clone() for n, p in named})  # type: ignore[union-attr]

    @abstractmethod
    def _backward(self) -> None:
        """Store the meta-gradient in `.grad`."""


class Learn2LearnLoop(_Plain):
    """learn2learn's MAML, used as in its examples."""

    label = "learn2learn"
    column = "learn2learn"

    def __init__(self, work: Work, hardware: Hardware) -> None:
        super().__init__(work, hardware)
        maml = learn2learn().algorithms.MAML
        self.maml = maml(self.network, lr=work.inner_lr, first_order=work.first_order)

    def _backward(self) -> None:
        self.optimizer.zero_grad()
        support, query = self.tasks.support, self.tasks.query
        for t in range(len(self.tasks)):
            learner = self.maml.clone()
            for _ in range(self.work.steps):
                learner.adapt(self.loss(learner(support.x[t]), support.y[t]))
            self.loss(learner(query.x[t]), query.y[t]).backward()
        for p in self.network.parameters():
            p.grad.mul_(1.0 / len(self.tasks))  # type: ignore[union-attr]


class _Statistics(nn.Module):
    """Batch norm written out, because torch's has wrong second derivatives under vmap."""

    def __init__(self, like: nn.BatchNorm2d) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = like.weight, like.bias, like.eps

    def forward(self, x: Tensor) -> Tensor:
        """Images [M, C, H, W], normalised by their mean and variance."""
        variance, mean = torch.var_mean(x, (0, 2, 3), correction=0, keepdim=True)
        standard = (x - mean) * (variance + self.eps).rsqrt()
        return standard * self.weight[:, None, None] + self.bias[:, None, None]


class PlainVmap(_Plain):
    """`torch.func`: vmap over tasks of the gradient of an ordinary network."""

    label = "vmap"
    column = "vmap"

    def __init__(self, work: Work, hardware: Hardware) -> None:
        super().__init__(work, hardware)
        if isinstance(self.network, PlainConv4):
            blocks = self.network.blocks
            for index, module in enumerate(blocks):
                if isinstance(module, nn.BatchNorm2d):
                    blocks[index] = _Statistics(module)

    def _backward(self) -> None:
        self.optimizer.zero_grad()
        support, query = self.tasks.support, self.tasks.query
        named: dict[str, Tensor] = dict(self.network.named_parameters())
        rate, keep = self.work.inner_lr, not self.work.first_order

        def support_loss(params: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
            return self.loss(functional_call(self.network, params, (x,)), y)

        def query_loss(params: dict[str, Tensor], *sides: Tensor) -> Tensor:
            sx, sy, qx, qy = sides
            for _ in range(self.work.steps):
                gradient = torch.func.grad(support_loss)(params, sx, sy)
                if not keep:
                    gradient = {name: g.detach() for name, g in gradient.items()}
                params = {name: p - rate * gradient[name] for name, p in params.items()}
            return support_loss(params, qx, qy)

        over_tasks = torch.vmap(query_loss, in_dims=(None, 0, 0, 0, 0))
        over_tasks(named, support.x, support.y, query.x, query.y).mean().backward()


class ReptileLoop(_Plain):
    """Reptile as a plain loop: each task trains the network from the same start."""

    label = "PyTorch loop"
    column = "loop"

    def _backward(self) -> None:
        self.optimizer.zero_grad()
        own = dict(self.network.named_parameters())
        start = {name: p.detach().clone() for name, p in own.items()}
        change = {name: torch.zeros_like(p) for name, p in start.items()}
        for t in range(len(self.tasks)):
            second = {name: torch.zeros_like(p) for name, p in start.items()}
            batches = minibatches(
                self.tasks.support[t : t + 1], ADAM_BATCH, self.work.steps, replacement=False
            )
            for step, batch in enumerate(batches, 1):
                loss = self.loss(self.network(batch.x[0]), batch.y[0])
                gradients = torch.autograd.grad(loss, list(own.values()))
                rate = self.work.inner_lr * (1.0 - BETA2**step) ** 0.5
                with torch.no_grad():
                    for (name, p), g in zip(own.items(), gradients, strict=True):
                        second[name].mul_(BETA2).addcmul_(g, g, value=1.0 - BETA2)
                        p.addcdiv_(g, second[name].sqrt().add_(EPSILON), value=-rate)
            with torch.no_grad():
                for name, p in own.items():
                    change[name] += (start[name] - p) / len(self.tasks)
                    p.copy_(start[name])
        for name, p in own.items():
            p.grad = change[name]


def implementations(work: Work) -> list[type[Ours] | type[_Plain]]:
    """Ours, then its rivals in this work; the reported ratio is that of the first rival."""
    if work.reptile:
        return [Ours, ReptileLoop]
    return [Ours, Learn2LearnLoop, PlainVmap]


def _turned(examples: Examples) -> Examples:
    return replace(examples, x=examples.x.flip(-2, -1).contiguous())
