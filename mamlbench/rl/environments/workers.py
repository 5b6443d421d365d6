"""Processes that each run part of the episodes; their death is detected."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple, Protocol

import numpy as np

from mamlbench.errors import UserError, with_its_place


class Episodes(NamedTuple):
    """Observations [E, D] and rewards [E] of E episodes, and which are done, [E] bool."""

    observations: np.ndarray
    rewards: np.ndarray
    done: np.ndarray


class Runner(Protocol):
    """What a worker runs: several episodes, stepped one after another."""

    def reset(self, goals: np.ndarray, seeds: np.ndarray) -> Episodes:
        """Start one episode for each goal [E, ...] and seed [E]."""

    def step(self, actions: np.ndarray) -> Episodes:
        """Step each episode, with actions [E, A] in [-1, 1]."""

    def close(self) -> None:
        """Free resources."""


class _Worker(NamedTuple):
    process: BaseProcess
    pipe: Connection


class Workers:
    """Runners in separate processes; with count 0, one runner in this process.

    Args:
        make: makes a runner; must be importable by name, with picklable arguments.
        count: number of processes.

    Raises:
        UserError: a worker died or its environment raised; names the worker and its tasks.
    """

    def __init__(self, make: Callable[[], Runner], count: int) -> None:
        self._local = make() if count == 0 else None
        self._workers = [_start(make) for _ in range(count)]
        self._parts: list[np.ndarray] = []
        self._episodes = 1

    @property
    def processes(self) -> list[BaseProcess]:
        """The workers' processes."""
        return [worker.process for worker in self._workers]

    def reset(self, goals: np.ndarray, seeds: np.ndarray) -> Episodes:
        """Start episodes of goals [T, ...] with seeds [T, R]; E = T R episodes, task by task."""
        self._episodes = seeds.shape[1]
        goals, seeds = np.repeat(goals, seeds.shape[1], axis=0), seeds.reshape(-1)
        if self._local is not None:
            return _here(self._local.reset, goals, seeds)
        self._parts = np.array_split(np.arange(len(seeds)), len(self._workers))
        return self._ask("reset", [(goals[part], seeds[part]) for part in self._parts])

    def step(self, actions: np.ndarray) -> Episodes:
        """Step every episode, with actions [E, A]."""
        if self._local is not None:
            return _here(self._local.step, actions)
        return self._ask("step", [(actions[part],) for part in self._parts])

    def close(self) -> None:
        """End the processes."""
        if self._local is not None:
            self._local.close()
        for worker in self._workers:
            worker.pipe.close()  # tells the worker to end
        for worker in self._workers:
            worker.process.join(timeout=5.0)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        self._workers = []

    def _ask(self, what: str, arguments: Sequence[tuple[np.ndarray, ...]]) -> Episodes:
        for number, (worker, values) in enumerate(zip(self._workers, arguments, strict=True)):
            try:
                worker.pipe.send((what, values))
            except OSError:
                self._died(number)
        answers: list[Any] = [None] * len(self._workers)
        pending: dict[Any, int] = {w.pipe: number for number, w in enumerate(self._workers)}
        while pending:
            for pipe in wait(list(pending)):
                number = pending.pop(pipe)
                answers[number] = self._answer(number)
        return Episodes(*map(np.concatenate, zip(*answers, strict=True)))

    def _answer(self, number: int) -> Episodes:
        try:
            answer = self._workers[number].pipe.recv()
        except (EOFError, OSError):
            self._died(number)
        if isinstance(answer, str):
            raise UserError(f"{self._name(number)}: its environment failed: {answer}")
        return Episodes(*answer)

    def _died(self, number: int) -> None:
        process = self._workers[number].process
        process.join(timeout=5.0)
        code = process.exitcode
        how = f"exit code {code}"
        if code is not None and code < 0:
            how = signal.Signals(-code).name
        raise UserError(f"{self._name(number)} died ({how}); the same command continues the run")

    def _name(self, number: int) -> str:
        process, part = self._workers[number].process, self._parts[number]
        name = f"environment worker {number} of {len(self._workers)} (process {process.pid}"
        if len(part) == 0:
            return f"{name})"
        first, last = part[[0, -1]] // self._episodes
        return f"{name}, tasks {first} to {last} of the batch)"


def _start(make: Callable[[], Runner]) -> _Worker:
    # a fork would copy locks that this process's threads may hold
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, make), daemon=True)
    process.start()
    theirs.close()  # so that the pipe ends when the worker does
    return _Worker(process, ours)


def _here(method: Callable[..., Episodes], *arguments: np.ndarray) -> Episodes:
    try:
        return method(*arguments)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"the environment failed: {with_its_place(error)}") from error


def _work(pipe: Connection, make: Callable[[], Runner]) -> None:
    os.setsid()  # signals of the terminal or `timeout` to the group reach the parent, which decides
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # SLURM warns every process of the time limit
    runner = None
    while True:
        try:
            what, arguments = pipe.recv()
        except (EOFError, OSError):
            break
        try:
            runner = make() if runner is None else runner
            pipe.send(tuple(getattr(runner, what)(*arguments)))
        except UserError as error:
            pipe.send(str(error))
        except Exception as error:
            pipe.send(with_its_place(error))
    if runner is not None:
        runner.close()
