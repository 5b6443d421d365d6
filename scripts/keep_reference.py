"""Keep a finished run as one of our own measured results: all but its checkpoints and the
pictures of datasets that are not free.

Scores of single test tasks are kept compressed, so that reports can pair runs by task.

python scripts/keep_reference.py outputs/default/maml/sinusoid/10shot/<hash>/seed0 maml_sinusoid
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

REFERENCE = Path(__file__).parent.parent / "outputs" / "reference"
KEPT = ("summary.json", "config.yaml", "metrics.csv", "active_learning.csv", "figures")
FREE_PICTURES = ("omniglot", "glyphs")  # the terms of others may forbid showing theirs here
STEPS = 10  # of longer adaptations, only the scores after the last step are kept


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="the folder of a finished run")
    parser.add_argument("name", help="its folder below outputs/reference")
    parser.add_argument("--no-figures", action="store_true", help="as for a further seed")
    arguments = parser.parse_args()
    if not (arguments.run / "summary.json").is_file():
        print(f"{arguments.run}: not the folder of a finished run", file=sys.stderr)
        return 2
    target = REFERENCE / arguments.name
    if target.parent != REFERENCE or arguments.name in (".", ".."):
        print(f"{arguments.name}: accepted is the name of one folder", file=sys.stderr)
        return 2
    if REFERENCE.resolve() in arguments.run.resolve().parents:
        print(f"{arguments.run}: is already kept", file=sys.stderr)
        return 2
    REFERENCE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=REFERENCE) as new:
        copied = Path(new) / arguments.name
        copied.mkdir()
        copy(arguments.run, copied, KEPT[:-1] if arguments.no_figures else KEPT)
        # only now, so that a failed copy does not lose an earlier one
        shutil.rmtree(target, ignore_errors=True)
        copied.rename(target)
    print(target)
    return 0


def copy(run: Path, target: Path, names: Sequence[str]) -> None:
    """Copy these files and folders of a run, except pictures that are not free, and its scores."""
    for name in names:
        source = run / name
        if source.is_dir():
            shutil.copytree(source, target / name)
        elif source.is_file():
            shutil.copy2(source, target / name)
    if json.loads((target / "summary.json").read_text()).get("dataset") not in FREE_PICTURES:
        (target / "figures" / "tasks.png").unlink(missing_ok=True)
    if (run / "test_tasks.csv").is_file():
        keep_tests(run / "test_tasks.csv", target / "test_tasks.csv.gz")


def keep_tests(source: Path, target: Path) -> None:
    """Keep six digits of each score, and the loss only if no metric equals it up to its sign."""
    rows = pd.read_csv(source)
    last = rows["step"].max()
    if last > STEPS:
        rows = rows[rows["step"] == last]
    metrics = [name for name in rows.columns if name not in ("task", "step", "loss")]
    loss = rows.get("loss")
    if loss is not None and any(rows[n].equals(loss) or rows[n].equals(-loss) for n in metrics):
        rows = rows.drop(columns="loss")
    # without a timestamp, the same run gives the same file
    packed = {"method": "gzip", "mtime": 0}
    rows.to_csv(target, index=False, float_format="%.6g", compression=packed)


if __name__ == "__main__":
    sys.exit(main())
