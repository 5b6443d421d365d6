"""Keep a finished run as one of our own measured results: all but its checkpoints.

python scripts/keep_reference.py outputs/default/maml/sinusoid/10shot/<hash>/seed0 maml_sinusoid
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

REFERENCE = Path(__file__).parent.parent / "outputs" / "reference"
KEPT = ("summary.json", "config.yaml", "metrics.csv", "figures")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="the folder of a finished run")
    parser.add_argument("name", help="its folder below outputs/reference")
    arguments = parser.parse_args()
    if not (arguments.run / "summary.json").is_file():
        print(f"{arguments.run}: not the folder of a finished run", file=sys.stderr)
        return 2
    target = REFERENCE / arguments.name
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in KEPT:
        source = arguments.run / name
        if source.is_dir():
            shutil.copytree(source, target / name)
        elif source.is_file():
            shutil.copy2(source, target / name)
    print(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
