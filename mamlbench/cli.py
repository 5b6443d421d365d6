"""The command `mamlbench`: one run, or a sweep of them, from a composed config."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING, Any, NoReturn

from mamlbench import __version__
from mamlbench.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

USER_ERROR = 2


def main() -> None:
    """Entry point; exits with 0, with 2 after a mistake of the user's, with 128 + n after signal n.

    In a sweep every run is tried; the exit code is that of the first one that failed.
    """
    arguments = sys.argv[1:]
    if "--version" in arguments:  # Hydra would tell its own
        print(f"mamlbench {__version__}")
        return
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors come here instead of being printed
    try:
        arguments = _in_order(arguments)
        _command(arguments)
    except UserError as error:
        _fail(str(error))
    except BrokenPipeError:  # whoever reads, say `head`, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        from mamlbench.hydra_errors import one_line

        line = one_line(error, arguments)
        if line is None:
            raise
        _fail(line)


def _command(arguments: list[str]) -> None:
    from mamlbench import help as help_
    from mamlbench.config_tree import options_of_each_job

    if help_.wanted(arguments):
        print(help_.text(arguments))
    else:
        in_order = _in_order(_with_overrides_of_checkpoint(arguments))
        sys.argv[1:] = options_of_each_job(in_order)
        _hydra_main()


def _hydra_main() -> None:
    import hydra

    hydra.main(config_path="pkg://mamlbench.conf", config_name="config", version_base="1.3")(_run)()


def _run(config: DictConfig) -> float | None:
    """One job; gives the test metric, which a sweeper may optimise."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    hydra_config: Any = HydraConfig.get()
    choices, overrides = hydra_config.runtime.choices, _as_typed(hydra_config.overrides.task)
    in_sweep = hydra_config.mode == RunMode.MULTIRUN
    try:
        return _one_run(config, str(choices.algorithm), str(choices.dataset), overrides)
    except UserError as error:
        if not in_sweep:
            _fail(str(error))  # at once: Hydra would say its own word about it first
        print(f"mamlbench: {' '.join(overrides)}: {error}", file=sys.stderr)
        raise  # the others go on, and the sweep then fails with the first of its errors
    except Exception:
        if in_sweep:  # the sweep itself shows the first error only
            traceback.print_exc()
        raise


def _as_typed(overrides: Any) -> list[str]:
    """A list of OmegaConf's, its interpolations left as they are."""
    from omegaconf import OmegaConf

    typed: Any = OmegaConf.to_container(overrides, resolve=False)
    return [str(override) for override in typed]


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


def _in_order(arguments: list[str]) -> list[str]:
    """Flags first, as Hydra wants them, and `+experiment=x` as `experiment=x`, so for every group.

    All groups are in the defaults list, where Hydra takes no plus; people write it all the same.
    """
    from mamlbench.config_tree import ConfigTree, parsed

    groups, flags, overrides = ConfigTree(arguments).groups(), list(arguments), []
    for override in parsed(arguments).overrides:
        flags.remove(override)
        name = override.partition("=")[0].removeprefix("+")
        overrides.append(override.removeprefix("+") if name in groups else override)
    return flags + overrides


def _with_overrides_of_checkpoint(arguments: list[str]) -> list[str]:
    if not any(argument.lstrip("+").startswith("checkpoint=") for argument in arguments):
        return arguments
    from mamlbench.made_by import with_overrides_of_checkpoint  # imports torch: seconds

    return with_overrides_of_checkpoint(arguments)


def _fail(line: str) -> NoReturn:
    print(f"mamlbench: {line}", file=sys.stderr)
    raise SystemExit(USER_ERROR)
