"""The README's example of a sweep written down as an experiment."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import runs
import yaml

README = Path(__file__).parents[2] / "README.md"


def test_it_is_run_from_a_folder_of_ones_own(mamlbench, tmp_path):
    (text,) = re.findall(
        r"```yaml\n(# @package _global_\nname: my_sweep.*?)```", README.read_text(), re.S
    )
    folder = tmp_path / "my_conf"
    (folder / "experiment").mkdir(parents=True)
    (folder / "experiment" / "my_sweep.yaml").write_text(text)
    result = mamlbench(f"--config-dir={folder}", "-m", "experiment=my_sweep", *runs.RUN[1:])
    assert result.code == 0, result.err
    found = [path.parts[2] for path in Path("outputs/my_sweep").rglob("summary.json")]
    assert sorted(found) == ["fomaml", "fomaml", "maml", "maml"]
    summary = next(Path("outputs/my_sweep").rglob("summary.json"))
    command = json.loads(summary.read_text())["command"]
    assert command.startswith(f"mamlbench --config-dir={folder} ")
    written = yaml.safe_load((summary.parent / "config.yaml").read_text())
    assert written["about"]["command"] == command
    again = mamlbench(*shlex.split(command)[1:])
    assert again.code == 0
    assert f"{summary.parent}; restart=true starts over" in again.err
    alone = mamlbench(f"--config-dir={folder}", "experiment=my_sweep", *runs.RUN[1:])
    assert alone.code == 2
    assert alone.complaint.startswith("experiment=my_sweep: is a sweep, which needs -m; ")
