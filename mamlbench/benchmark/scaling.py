"""How the time of an outer step grows with tasks, inner steps, ways and image size."""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from mamlbench.benchmark import measure
from mamlbench.benchmark.rivals import Learn2LearnLoop, Ours
from mamlbench.benchmark.works import WORKS
from mamlbench.figures import style
from mamlbench.files import write_atomically
from mamlbench.hardware.device import Hardware

BASE = replace(WORKS["omniglot"], tasks=8)
SWEEPS: dict[str, tuple[str, list[int]]] = {
    "tasks": ("tasks in a meta-batch", [1, 4, 16, 64, 256]),
    "steps": ("inner steps", [1, 2, 5, 10]),
    "ways": ("ways", [2, 5, 10, 20]),
    "side": ("side of the image (pixels)", [14, 28, 56, 84]),
}


def run(out: Path, hardware: Hardware, repeats: int) -> None:
    """Time ours and learn2learn's over each sweep; write a CSV and a figure next to it."""
    rows: list[dict[str, Any]] = []
    for name, (_, values) in SWEEPS.items():
        for value in values:
            changes: dict[str, Any] = {name: value}
            if name == "side":
                changes = {"image": (1, value)}
            work = replace(BASE, **changes)
            hardware.apply(work.values)
            built = [kind(work, hardware) for kind in (Ours, Learn2LearnLoop)]
            measure.warm(built)
            for label, times in measure.seconds(built, repeats, 0.0).items():
                milliseconds = statistics.median(times) * 1e3
                rows.append({"sweep": name, "value": value, "who": label, "ms": milliseconds})
                print(f"{name:6s} {value:4d}  {label:12s} {milliseconds:10.1f} ms", flush=True)
    table = pd.DataFrame(rows)
    write_atomically(out, table.to_csv(index=False))
    draw(table, out.with_suffix(".png"))
    print(f"table: {out}\nfigure: {out.with_suffix('.png')}")


def draw(table: pd.DataFrame, out: Path) -> None:
    """Draw one panel per sweep, with both axes logarithmic.

    Args:
        table: columns `sweep`, `value`, `who`, `ms`.
        out: PNG file.
    """
    colors = {Ours.label: style.BLUE, Learn2LearnLoop.label: style.ORANGE}
    with style.figure(out, 10.0, 2.9) as figure:
        panels = figure.subplots(1, len(SWEEPS), squeeze=False)[0]
        for axes, (name, (title, values)) in zip(panels, SWEEPS.items(), strict=True):
            for who, color in colors.items():
                line = table[(table["sweep"] == name) & (table["who"] == who)]
                axes.loglog(line["value"], line["ms"], "o-", ms=4, color=color, label=who)
            axes.set_xticks(values, [str(value) for value in values])
            axes.minorticks_off()
            axes.set_xlabel(title)
        panels[0].set_ylabel("ms for one outer step")
        panels[0].legend()
