"""The command `mamlbench`: one run, or a sweep of them, from a composed config."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from mamlbench.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

USER_ERROR = 2


def main() -> None:
    """Entry point; exits with 0, with 2 after a mistake of the user's, with 128 + n after signal n.

    In a sweep every run is tried; the exit code is that of the first one that failed.
    """
    from mamlbench import help as help_

    arguments = sys.argv[1:]
    if help_.wanted(arguments):
        print(help_.text(arguments))
        return
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors come here instead of being printed
    try:
        sys.argv[1:] = _with_checkpoint_overrides(arguments)
        _hydra_main()
    except UserError as error:
        _fail(str(error))
    except Exception as error:
        from mamlbench.hydra_errors import one_line

        line = one_line(error, arguments)
        if line is None:
            raise
        _fail(line)


def _hydra_main() -> None:
    import hydra

    hydra.main(config_path="pkg://mamlbench.conf", config_name="config", version_base="1.3")(_run)()


def _run(config: DictConfig) -> float | None:
    """One job; gives the test metric, which a sweeper may optimise."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    hydra_config: Any = HydraConfig.get()
    choices, overrides = hydra_config.runtime.choices, list(hydra_config.overrides.task)
    try:
        return _one_run(config, str(choices.algorithm), str(choices.dataset), overrides)
    except UserError as error:
        if hydra_config.mode == RunMode.MULTIRUN:  # the others go on, so it is said here and now
            print(f"mamlbench: {' '.join(overrides)}: {error}", file=sys.stderr)
        raise


def _one_run(
    config: DictConfig, algorithm: str, dataset: str, overrides: list[str]
) -> float | None:
    if config.analysis is not None:
        from mamlbench.config import build

        build(config.analysis, "analysis").run()
        return None
    from mamlbench.experiment import Experiment
    from mamlbench.report.terminal import announce, report
    from mamlbench.training import Stopped

    experiment = Experiment(config, algorithm, dataset, overrides)
    announce(experiment)
    try:
        summary = experiment.run()
    except Stopped as stop:
        where = f"iteration {stop.iteration}, saved in {experiment.folder.path}"
        print(
            f"mamlbench: stopped by {signal.Signals(stop.signal).name} at {where}; "
            "the same command goes on from there",
            file=sys.stderr,
        )
        raise SystemExit(128 + stop.signal) from None
    report(experiment, summary)
    return float(summary["test"][experiment.dataset.objective.metric]["mean"])


def _with_checkpoint_overrides(arguments: list[str]) -> list[str]:
    """For `checkpoint=...`: the overrides of the run that made it come first.

    So the learner is composed as it was, and what is typed now has the last word.
    """
    typed = {argument.split("=", 1)[0]: argument for argument in arguments if "=" in argument}
    if "checkpoint" not in typed or typed["checkpoint"] in ("checkpoint=", "checkpoint=null"):
        return arguments
    from pathlib import Path

    from mamlbench import checkpoint

    path = checkpoint.resolve(Path(typed["checkpoint"].split("=", 1)[1].strip("'\"")))
    made_by = checkpoint.load(path, "cpu").get("overrides", [])
    kept = [o for o in made_by if o.lstrip("+~").split("=", 1)[0] not in typed]
    return kept + arguments


def _fail(line: str) -> None:
    print(f"mamlbench: {line}", file=sys.stderr)
    raise SystemExit(USER_ERROR)
