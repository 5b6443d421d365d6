"""Where a run computes, and how exactly."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch

from mamlbench.errors import BadValue, UserError, one_of, require
from mamlbench.hardware.heap import keep_freed_memory
from mamlbench.hardware.processes import Place, here, share_of
from mamlbench.networks.layers import take_products_in
from mamlbench.tasks import Examples, TaskBatch

if TYPE_CHECKING:
    from mamlbench.algorithms.base import MetaLearner

PRECISIONS = ("float32", "float64", "tf32", "bf16")

_TORCH_THREADS = torch.get_num_threads()
_VALUES_WORTH_THREADS = 20_000
"""For smaller meta-batches, such as sinusoids', threads wait longer than they save in computing,
and many times longer where other processes hold the cores."""

_CPU_VALUES = 5_000_000
"""Input values of a chunk of tasks on a CPU. On Omniglot, with tasks of 80 images of 28x28, chunks
of 32 took half the time of single tasks (calls cost less), and chunks of 8 a seventh more; on
mini-ImageNet, with tasks of 100 images of 84x84, chunks of two took four fifths of the time of
single tasks, and chunks of four hardly less."""

_REPLAYED_VALUES = 130_000
"""The same if steps are replayed, where calls cost little. Compared with all of 32 tasks of 10
images of 28x28 at once, chunks of 16 took nine tenths of the time and half the memory; with 80
images, chunks of 2 took the same time and a tenth of the memory. With 20-way 1-shot and 5 steps,
single tasks took a quarter more time than chunks of 16 and a tenth of the memory."""

_TESTED_VALUES = {"cpu": _CPU_VALUES, "cuda": 10_000_000}
"""The same for tests. Convolutions hold a hundred and more numbers per input value: some gigabytes
on a GPU, however many tasks there are."""

_KEPT_VALUES = {"cpu": 2**26, "cuda": 2**29}
"""Adapted parameters to keep at a time, 256 MB and 2 GB in float32: the parameters of every
particle after every inner step can take far more memory than activations."""

_SAMPLED_VALUES, _MOST_BATCHES = {"cpu": 100_000, "cuda": 50_000_000}, 64
"""Input values, and meta-batches, to sample at a time."""

_MANY_ROWS, _LEAST_VALUES = 1000, 64
"""With 1,000 rows per task or more, as policies have, a row counts as at least 64 values: hidden
layers, which fill the memory, are wider than its few inputs. Products with the Fisher matrix of 4
policies took two thirds of the time in chunks of 2."""


@contextmanager
def told_of_full_memory(more: str = "") -> Iterator[None]:
    """Turn torch's error about a full GPU memory into one that says what needs less.

    Args:
        more: what else is accepted.

    Raises:
        UserError: the GPU's memory is full.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        accepted = " ".join(["accepted is a smaller hardware.task_chunk", more]).strip()
        raise UserError(f"the GPU's memory is full; {accepted}") from error


@dataclass(frozen=True)
class Hardware:
    """Device and precision.

    Attributes:
        device: `cpu`, `cuda` or `cuda:N`.
        precision: `float32` or `float64`; or `tf32` (NVIDIA GPUs) or `bf16` for the products of
            convolutions and linear layers, with everything else in float32.
        compile: compile the meta-gradient before the first step, which takes a minute or more.
        replay: repeat the tensor operations of a step without its Python code (see `Replay`), on a
            GPU as a CUDA graph; a debugger or a print sees only the first two steps.
        task_chunk: tasks to process at a time (None: as many as suit the device).
        checkpoint_inner_steps: recompute the activations of inner steps instead of keeping them;
            for second order with deep networks and many steps.
        threads: CPU threads of a process (None: one per core, or a single one if the work is
            small).
        processes: how many share each meta-batch, or `gpus`: one per GPU. The command starts them,
            unless torchrun or srun already did; then their number counts.

    Raises:
        BadValue: the device does not exist, or a value is out of range.
    """

    device: str = "cpu"
    precision: str = "float32"
    _: KW_ONLY
    compile: bool = False
    replay: bool = True
    task_chunk: int | None = None
    checkpoint_inner_steps: bool = False
    threads: int | None = None
    processes: int | Literal["gpus"] = 1

    def __post_init__(self) -> None:
        one_of("precision", self.precision, PRECISIONS)
        for option, value in (("task_chunk", self.task_chunk), ("threads", self.threads)):
            require(value is None or value >= 1, option, value, "1 or more, or null")
        kind, _, number = self.device.partition(":")
        known = kind in ("cpu", "cuda") and (not number or (number.isdigit() and kind == "cuda"))
        require(known, "device", self.device, "cpu, cuda or cuda:N")
        accepted = "float32, float64 or bf16, on a CPU"
        require(kind == "cuda" or self.precision != "tf32", "precision", "tf32", accepted)
        count = torch.cuda.device_count() if kind == "cuda" else 1
        if count == 0:
            raise BadValue("device", self.device, "cpu: this machine has no GPU that torch can use")
        if int(number or 0) >= count:
            raise BadValue("device", self.device, f"cuda:0 to cuda:{count - 1} on this machine")
        self._check_processes(kind, number, count)

    def _check_processes(self, kind: str, number: str, gpus: int) -> None:
        place, count = here(), self.processes
        counted = count >= 1 if isinstance(count, int) else kind == "cuda"
        require(counted, "processes", count, "1 or more, or gpus with hardware.device=cuda")
        several = place.size > 1 or count not in (1, "gpus")
        accepted = "cpu or cuda, if several processes share a batch: each takes its own GPU"
        require(not (several and number), "device", self.device, accepted)
        if kind == "cpu":
            return
        if place.size == 1:
            accepted = f"gpus, or 1 to {gpus}, one per GPU"
            require(count == "gpus" or int(count) <= gpus, "processes", count, accepted)
        elif _own_gpu(place) >= gpus:
            found = f"cuda with {place.local_size} processes on this machine"
            raise BadValue("device", found, f"one process per GPU, {gpus} in all")

    @property
    def started_processes(self) -> int:
        """How many processes the command starts; 1 means that it starts no others."""
        if here().size > 1:
            return 1
        return torch.cuda.device_count() if self.processes == "gpus" else self.processes

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type of parameters and data."""
        return torch.float64 if self.precision == "float64" else torch.float32

    @property
    def torch_device(self) -> torch.device:
        """The device as torch's object; each of several processes has its own GPU."""
        place = here()
        if place.size > 1 and self.device == "cuda":
            return torch.device("cuda", _own_gpu(place))
        return torch.device(self.device)

    @property
    def name(self) -> str:
        """The device in words, as results record it."""
        if self.torch_device.type == "cuda":
            return torch.cuda.get_device_name(self.torch_device)
        threads = torch.get_num_threads()
        return f"cpu, {threads} thread{'s' * (threads > 1)}"

    def chunk(self, rows: int, input_shape: tuple[int, ...], replayed: bool = False) -> int | None:
        """Tasks to process at a time, for tasks of `rows` inputs of this shape (None: all).

        On a CPU, as many as suit its cache and memory, fewer if steps are replayed; on a GPU, all.
        """
        if self.task_chunk is not None or self.torch_device.type == "cuda":
            return self.task_chunk
        most = _REPLAYED_VALUES if replayed else _CPU_VALUES
        return max(1, most // _values(rows, input_shape))

    def chunk_to_test(self, rows: int, input_shape: tuple[int, ...], kept: int) -> int:
        """Tasks to test at a time, at least 1: as many as suit the device and its memory.

        Args:
            rows: of a task, that go through a network.
            input_shape: of a row.
            kept: number of adapted parameters that are kept for a task.
        """
        if self.task_chunk is not None:
            return self.task_chunk
        kind = self.torch_device.type
        at_once = _TESTED_VALUES[kind] // _values(rows, input_shape)
        return max(1, min(at_once, _KEPT_VALUES[kind] // max(1, kept)))

    def batches_at_once(self, values: int) -> int:
        """How many meta-batches of `values` input values to sample at a time, to save time on each.

        More on a GPU, which can take a step in the time that sampling one batch takes.
        """
        most = _SAMPLED_VALUES[self.torch_device.type]
        return max(1, min(most // values, _MOST_BATCHES))

    def apply(self, values: int) -> None:
        """Apply the settings of the process, for meta-batches of `values` input values."""
        cores = share_of(_TORCH_THREADS)
        torch.set_num_threads(self.threads or (1 if values < _VALUES_WORTH_THREADS else cores))
        if self.torch_device.type == "cpu":
            keep_freed_memory()
        elif self.torch_device.index is not None:
            torch.cuda.set_device(self.torch_device)
        tf32 = self.precision == "tf32"  # torch's default for convolutions, so set it either way
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32

    def prepare(
        self,
        learner: MetaLearner,
        support: int,
        query: int,
        input_shape: tuple[int, ...],
    ) -> None:
        """Move a learner to the device and make it compute as these options say.

        Args:
            learner: newly built.
            support: support examples of one task.
            query: query examples of one task.
            input_shape: of one example.

        Raises:
            BadValue: the learner does not support an option.
        """
        learner.to(self.torch_device, self.dtype)
        if self.checkpoint_inner_steps and not learner.recomputable:
            why = f"{type(learner).__name__} keeps the activations of its inner steps"
            raise BadValue("checkpoint_inner_steps", True, f"false: {why}", "hardware")
        learner.checkpoint_inner_steps = self.checkpoint_inner_steps
        if self.precision == "bf16" and not learner.takes_short_products:
            accepted = f"float32 or float64: {type(learner).__name__} computes some products itself"
            raise BadValue("precision", "bf16", accepted, "hardware")
        if self.precision == "bf16" and not take_products_in(learner.network, torch.bfloat16):
            accepted = "float32 or float64: this network has no layers of mamlbench.networks.layers"
            raise BadValue("precision", "bf16", accepted, "hardware")
        if self.compile:
            learner.task_chunk = self.task_chunk
            if not learner.replay(compiled=True):
                why = f"{type(learner).__name__}'s steps depend on more than tasks and parameters"
                raise BadValue("compile", True, f"false: {why}", "hardware")
            return
        # a replay on a GPU would keep the activations that recomputed inner steps free
        keeps = self.checkpoint_inner_steps and self.torch_device.type == "cuda"
        replayed = self.replay and not keeps and learner.replay() and learner.replayable
        # the graph of the inner loop holds the support set's activations of every step
        held = support * max(1, learner.inner_steps) + query
        learner.task_chunk = self.chunk(held, input_shape, replayed)

    def cast(self, tasks: TaskBatch) -> TaskBatch:
        """The tasks in this precision; class numbers are unchanged."""
        if self.dtype is torch.float32:
            return tasks
        return replace(tasks, support=self._cast(tasks.support), query=self._cast(tasks.query))

    def _cast(self, examples: Examples) -> Examples:
        y = examples.y.to(self.dtype) if examples.y.is_floating_point() else examples.y
        return replace(examples, x=examples.x.to(self.dtype), y=y)


def _own_gpu(place: Place) -> int:
    """The number of a process's GPU; a task of srun may see only its own, as number 0."""
    sees_its_own = place.address is not None and torch.cuda.device_count() == 1
    return 0 if sees_its_own else place.local_rank


def _values(rows: int, input_shape: tuple[int, ...]) -> int:
    """Input values of a task with this many rows, as counted for chunks."""
    least = _LEAST_VALUES if rows >= _MANY_ROWS else 1
    return max(1, rows) * max(math.prod(input_shape), least)
