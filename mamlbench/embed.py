"""Embeddings: train a network to classify the meta-train classes, then write its features.

The pipeline before LEO (arXiv 1807.05960): the network is trained on the meta-train classes only,
and the vectors of all splits are its features before the last layer. The paper names the network,
but not its schedule: SGD with momentum and a cosine schedule are the usual choice for it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mamlbench import checkpoint
from mamlbench.datasets.celeba import CelebA
from mamlbench.datasets.embeddings import write_embeddings
from mamlbench.datasets.images import ImageDataset
from mamlbench.datasets.progress import counted
from mamlbench.datasets.store import ImageSet
from mamlbench.errors import UserError, one_of, require
from mamlbench.networks import Conv4, Rows, TaskNetwork, WideResNet

# norm="running": an image's embedding does not depend on other images
NETWORKS: dict[str, Callable[..., TaskNetwork]] = {
    "wrn28_10": partial(WideResNet, depth=28, width=10, embedding_layer=21, norm="running"),
    "wrn16_4": partial(WideResNet, depth=16, width=4, norm="running"),
    "small": partial(Conv4, filters=64, spatial_mean=True, norm="running", affine="scale_shift"),
}
_EMBEDDED_AT_ONCE = 200


@dataclass(frozen=True)
class Pretraining:
    """Training settings of the classifier.

    Attributes:
        network: a key of `NETWORKS`.
        epochs: passes over the meta-train images.
        batch: images per step.
        lr: initial step size; it falls to 0 along half a cosine wave.
        weight_decay: applied to all parameters.
        flip: mirror each picture with probability one half.
        seed: seed of the initial parameters and of the order of images.

    Raises:
        BadValue: a value out of range.
    """

    network: str = "wrn28_10"
    epochs: int = 60
    batch: int = 64
    lr: float = 0.05
    weight_decay: float = 5e-4
    flip: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        one_of("network", self.network, NETWORKS)
        require(self.epochs >= 1, "epochs", self.epochs, "1 or more")
        require(self.batch >= 2, "batch", self.batch, "2 or more")
        require(self.lr > 0, "lr", self.lr, "more than 0")
        require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "0 or more")
        require(0 <= self.seed < 2**64, "seed", self.seed, f"0 to {2**64 - 1}")


def embed(
    dataset: ImageDataset,
    pretraining: Pretraining,
    out: Path,
    device: torch.device,
    say: Callable[[str], None],
) -> None:
    """Train, then write the embeddings of all splits to `out`.

    After each epoch the state is saved in `<out>.pt`, from which the same call resumes; it is
    removed once `out` is written.

    Args:
        dataset: the pictures and their splits.
        pretraining: network and schedule.
        out: the file to write, in the format that `dataset=embeddings` reads.
        device: where to compute.
        say: called with one line of text per epoch.

    Raises:
        UserError: missing data, a failed write, a saved state of another pretraining, or a loss
            that is not finite.
    """
    if isinstance(dataset, CelebA):
        raise UserError("celeba: has attributes and no classes; accepted is another dataset")
    dataset.load(device)
    images = dataset.read()
    training = _Training(dataset, pretraining, _Labelled.of(dataset, images), out, device)
    training.resume(say)
    while training.epoch < pretraining.epochs:
        say(training.run_epoch())
    classes = dict(enumerate(images.classes))
    for split, own in dataset.split_classes(images).items():
        classes |= {int(number): f"{split}/{images.classes[number]}" for number in own}
    write_embeddings(
        out, training.embeddings(len(images.images)), [*classes.values()], images.counts
    )
    training.path.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Labelled:
    """The meta-train images: their rows among all images, class numbers, and number of classes."""

    rows: np.ndarray
    labels: np.ndarray
    classes: int

    @classmethod
    def of(cls, dataset: ImageDataset, images: ImageSet) -> _Labelled:
        owner = np.repeat(np.arange(len(images.counts)), images.counts)
        train = np.sort(dataset.split_classes(images)["train"])  # Omniglot's are in random order
        rows = np.flatnonzero(np.isin(owner, train))
        return cls(rows, np.searchsorted(train, owner[rows]), len(train))


class _Training:
    def __init__(
        self,
        dataset: ImageDataset,
        pretraining: Pretraining,
        labelled: _Labelled,
        out: Path,
        device: torch.device,
    ) -> None:
        self.dataset, self.pretraining, self.labelled = dataset, pretraining, labelled
        self.device, self.epoch = device, 0
        self.path = out.with_name(f"{out.name}.pt")
        torch.manual_seed(pretraining.seed)
        build = NETWORKS[pretraining.network]
        self.network = build(dataset.input_shape, labelled.classes).to(device)
        self.optimizer = torch.optim.SGD(
            self.network.parameters(),
            lr=pretraining.lr,
            momentum=0.9,
            weight_decay=pretraining.weight_decay,
            nesterov=True,
        )
        steps = pretraining.epochs * -(-len(labelled.rows) // pretraining.batch)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, steps)
        for layer in self.network.norms():
            layer.recording = True
        self.identity = json.dumps([asdict(pretraining), dataset.sha256, self._inputs_hash()])

    def _inputs_hash(self) -> str:
        """Hash of the images' rows and labels, and of one image after the dataset's options."""
        first = self._images(self.labelled.rows[:1]).cpu().numpy()
        seen = [self.labelled.rows, self.labelled.labels, first.round(4)]  # equal on all devices
        return hashlib.sha256(b"".join(array.tobytes() for array in seen)).hexdigest()

    def resume(self, say: Callable[[str], None]) -> None:
        """Resume from the state beside the output, if there is one."""
        if not self.path.is_file():
            return
        state = checkpoint.load(self.path)
        if state.get("identity") != self.identity:
            raise UserError(f"{self.path}: is from another pretraining; remove it to start over")
        for name in ("network", "optimizer", "schedule"):
            getattr(self, name).load_state_dict(state[name])
        self.epoch = state["epoch"]
        say(f"goes on after epoch {self.epoch}, from {self.path}")

    def run_epoch(self) -> str:
        """Make one pass over the images and save the state; returns a line about it."""
        began, self.epoch = time.monotonic(), self.epoch + 1
        words = f"epoch {self.epoch} of {self.pretraining.epochs}"
        self.network.train()
        sums = torch.zeros(2, device=self.device)
        for x, y in self._batches(words):
            logits = self.network(x[None], Rows())[0]
            loss = F.cross_entropy(logits, y)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.schedule.step()
            right = (logits.argmax(-1) == y).float().mean()
            sums += len(y) * torch.stack([loss.detach(), right])
        loss_, accuracy = (sums / len(self.labelled.rows)).tolist()
        if not np.isfinite(loss_):
            raise UserError(f"{words}: the loss is not finite; try a smaller --lr")
        parts = ("network", "optimizer", "schedule")
        state = {name: getattr(self, name).state_dict() for name in parts}
        checkpoint.save(self.path, state | {"epoch": self.epoch, "identity": self.identity})
        took = time.monotonic() - began
        return f"{words}: loss {loss_:.3f}, accuracy {accuracy:.3f}, {took:.0f} s"

    def _batches(self, words: str) -> Iterator[tuple[Tensor, Tensor]]:
        """The images in an order that depends only on the seed and the epoch."""
        key = np.array([self.pretraining.seed, self.epoch], dtype=np.uint64)
        generator = np.random.Generator(np.random.Philox(key=key))
        order = generator.permutation(len(self.labelled.rows))
        for chosen in counted(_portions(order, self.pretraining.batch), words):
            rows, labels = self.labelled.rows[chosen], self.labelled.labels[chosen]
            x = self._images(rows)
            if self.pretraining.flip:
                mirrored = torch.from_numpy(generator.random(len(rows)) < 0.5).to(self.device)
                x = torch.where(mirrored.view(-1, 1, 1, 1), x.flip(-1), x)
            yield x, torch.from_numpy(labels).to(self.device)

    @torch.no_grad()
    def embeddings(self, count: int) -> np.ndarray:
        """Vectors of all images, [n, D] float32."""
        self.network.eval()
        return np.concatenate(
            [
                self.network.embedding(self._images(rows)[None], Rows())[0].float().cpu().numpy()
                for rows in counted(_portions(np.arange(count), _EMBEDDED_AT_ONCE), "embedding")
            ]
        )

    def _images(self, rows: np.ndarray) -> Tensor:
        return self.dataset.inputs(torch.from_numpy(rows[None]).to(self.device))[0]


def _portions(rows: np.ndarray, size: int) -> list[np.ndarray]:
    return [rows[first : first + size] for first in range(0, len(rows), size)]
