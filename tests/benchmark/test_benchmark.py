"""The benchmark compares equal computations, and prints and writes its results."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import runs
import torch

from mamlbench.benchmark import measure, scaling
from mamlbench.benchmark.command import AGREE, main
from mamlbench.benchmark.rivals import Ours, implementations
from mamlbench.benchmark.roofline import arithmetic, convolution_rate, reached
from mamlbench.benchmark.works import WORKS, Work
from mamlbench.hardware.device import Hardware
from mamlbench.networks.convolution import convolve
from mamlbench.networks.grid import Grid
from mamlbench.replay.replay import Count

pytestmark = pytest.mark.usefixtures("_keep_threads")

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark.py"


def small(work: Work) -> Work:
    image = work.image and (work.image[0], work.image[1] // 2)
    return replace(work, tasks=3, filters=4, steps=min(work.steps, 3), image=image)


@pytest.mark.usefixtures("l2l")
@pytest.mark.parametrize("name", WORKS)
def test_all_rivals_compute_the_same(name):
    apart = measure.disagreement(small(WORKS[name]), Hardware(precision="float64"))
    assert len(apart) == len(implementations(WORKS[name])) - 1
    assert max(apart.values()) < AGREE


@pytest.mark.parametrize("name", ["sinusoid", "omniglot", "reptile"])
def test_a_step_calls_as_often_for_many_tasks_as_for_few(name):
    """A larger batch makes operations larger, not more numerous."""
    few, many = (calls(replace(small(WORKS[name]), tasks=tasks)) for tasks in (16, 64))
    assert many <= 1.1 * few


def test_sinusoids_are_few_calls():
    """A step on sinusoids is nearly all overhead, so every further call shows."""
    assert calls(WORKS["sinusoid"]) <= 150


def calls(work: Work) -> int:
    """How many operations torch runs in one outer step."""
    ours = Ours(work, Hardware())
    ours.learner.task_chunk = None
    for _ in range(2):  # replayed from its third step on
        ours.step()
    with Count() as count:
        ours.step()
    return count.operations


def test_arithmetic_by_hand():
    a, b = torch.rand(3, 5), torch.rand(5, 7)
    assert arithmetic(lambda: torch.mm(a, b)) == 2 * 3 * 5 * 7
    ways, filters = 5, 64
    work = replace(
        WORKS["omniglot"],
        image=(1, 16),
        filters=filters,
        tasks=1,
        ways=ways,
        steps=1,
        first_order=True,
    )
    places = [8 * 8, 4 * 4, 2 * 2, 1]
    forward = ways * 2 * (9 * filters * places[0] + sum(9 * filters**2 * p for p in places[1:]))
    head = ways * 2 * filters * ways
    first_layer = ways * 2 * 9 * filters * places[0]
    counted = arithmetic(Ours(work, Hardware(replay=False)).step)
    # support and query: one pass forward and two back; the first layer's images need no gradient
    expected = 2 * (3 * (forward + head) - first_layer)
    assert expected <= counted <= 1.1 * expected  # sums over rows are products too


def test_the_rate_of_convolutions():
    """The time of a convolution alone is less than that of the whole step."""
    runs.needing_kernels()
    x, weight = torch.rand(2, 3, 8, 8, 4), torch.rand(2, 5, 3, 3, 4)
    grid = Grid((8, 8), 3, 2)
    operations = 2 * 2 * 3 * 4 * 4 * 9 * 4 * 5

    def step():
        convolve(x, weight, torch.zeros(2, 5), grid)
        time.sleep(0.2)

    assert arithmetic(step) == operations
    assert convolution_rate(step, step) > operations / 0.2
    assert convolution_rate(lambda: None, lambda: None) is None


def test_the_kernels_of_a_replayed_step_are_clocked():
    runs.needing_kernels()
    work = replace(WORKS["omniglot"], image=(1, 16), filters=4, tasks=2)
    eager, replayed = Ours(work, Hardware(replay=False)), Ours(work, Hardware())
    for _ in range(3):
        replayed.step()
    assert replayed.learner._replay.trusted == 1
    assert convolution_rate(eager.step, replayed.step) > 0


def test_what_a_step_makes_of_the_machine():
    whole = {"gflop": 1.0, "gflops": 0.5, "matmul_gflops": 2.0, "of_matmul_rate": 0.25}
    assert reached(2e9, 1e9, 2.0) == whole
    alone = {"convolutions_of_matmul_rate": 0.5}
    assert reached(2e9, 1e9, 2.0, convolutions=1e9) == whole | alone


@pytest.mark.usefixtures("l2l")
def test_the_command(tmp_path):
    command = [
        sys.executable,
        SCRIPT,
        "sinusoid",
        "--repeats=1",
        "--seconds=0",
        f"--csv={tmp_path / 'times.csv'}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr
    assert "times as fast as learn2learn" in done.stdout
    (case,) = pd.read_csv(tmp_path / "times.csv").to_dict("records")
    assert list(case)[:5] == ["case", "ours_s", "learn2learn_s", "ratio", "max_grad_diff"]
    assert case["case"] == "sinusoid"
    assert case["ratio"] == pytest.approx(case["learn2learn_s"] / case["ours_s"])
    assert 0 < case["max_grad_diff"] < 1e-8
    assert case["gflop"] > 0
    for who in ("ours", "learn2learn", "vmap"):
        assert case[f"{who}_s"] > 0
        assert case[f"{who}_first_step_s"] > 0


def test_peaks_are_those_of_the_process_itself(tmp_path):
    """Not of the parent process, which Linux's getrusage includes."""
    command = "from mamlbench.benchmark.measure import _resident_peak; print(_resident_peak())"
    ballast = b"x" * 2**30
    child = subprocess.run([sys.executable, "-c", command], capture_output=True, check=True)
    assert len(ballast) == 2**30
    assert float(child.stdout) < 900


def test_an_unknown_work(capsys):
    assert main([str(SCRIPT), "omniglt"]) == 2
    told = f"benchmark.py: omniglt: accepted is {', '.join(WORKS)} (did you mean 'omniglot'?)\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize(
    "arguments",
    [
        ["--repeats=0"],
        *(["--scaling", more] for more in ("sinusoid", "--seconds=2", "--only-times")),
    ],
)
def test_options_that_would_do_nothing(arguments, capsys):
    assert main([str(SCRIPT), *arguments]) == 2
    assert f"benchmark.py: {arguments[0].replace('=', ' ')}: " in capsys.readouterr().err


def test_the_figure(tmp_path):
    rows = [
        {"sweep": sweep, "value": value, "who": who, "ms": value * factor}
        for sweep, (_, values) in scaling.SWEEPS.items()
        for value in values
        for who, factor in (("mamlbench", 1.0), ("learn2learn", 5.0))
    ]
    scaling.draw(pd.DataFrame(rows), tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").stat().st_size > 10_000
