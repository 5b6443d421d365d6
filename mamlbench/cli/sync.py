"""`mamlbench-sync`: send runs to W&B that are missing or incomplete there."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mamlbench.cli.arguments import OneLineParser, exit_code_of
from mamlbench.errors import USER_ERROR, Busy, UserError

_ABOUT = """Send runs to W&B from their metrics.csv, config.yaml and summary.json: runs that were
logged offline, or without W&B, or while it did not answer. Runs that W&B has only in part are
completed."""

_LEFT_OUT = "; W&B already has later rows and refuses the others, even those that it lacks"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command: 0 on success, 2 after a user's mistake or if a run could not be sent."""
    return exit_code_of("mamlbench-sync", lambda: _sync(_parser().parse_args(arguments)))


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser("mamlbench-sync", description=_ABOUT)
    parser.add_argument(
        "outputs", metavar="OUTPUTS", type=Path, nargs="+", help="runs, or folders of runs"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be sent")
    parser.add_argument(
        "--mode",
        choices=("online", "offline"),
        default="online",
        help="offline: only write W&B's files below each run (default: online)",
    )
    parser.add_argument(
        "--timeout", type=float, default=300.0, help="seconds to wait for W&B (default: 300)"
    )
    return parser


def _sync(options: argparse.Namespace) -> int:
    from mamlbench.loggers.sync import KeptRun, find_runs, send
    from mamlbench.loggers.wandb_logger import is_logged_in, resolved_mode

    folders = find_runs(options.outputs)
    # WANDB_MODE=offline, as set on clusters, is meant for runs; this command exists to send
    can_send = is_logged_in() or resolved_mode("auto") == "online"
    if not (options.dry_run or options.mode == "offline" or can_send):
        raise UserError(
            "W&B: not logged in; accepted is `wandb login` or WANDB_API_KEY; --mode offline and "
            "--dry-run need neither"
        )
    failed = 0
    for folder in folders:
        left_out = 0
        try:
            run = KeptRun.read(folder)
            if not options.dry_run:
                left_out = send(run, options.mode, options.timeout)
        except (Busy, UserError) as error:  # still send the other runs
            print(f"mamlbench-sync: {error}", file=sys.stderr)
            failed += 1
            continue
        state = "finished" if run.summary is not None else "unfinished"
        sent = "written below it" if options.mode == "offline" else "sent"
        done = "would be sent" if options.dry_run else sent
        count = f"{len(run.rows) - left_out} of {len(run.rows)}" if left_out else len(run.rows)
        note = _LEFT_OUT if left_out else ""
        told = f"{done} as {run.run_info.run_id} ({count} rows, {state}){note}"
        print(f"{folder}: {told}", flush=True)
    return USER_ERROR if failed else 0


if __name__ == "__main__":
    sys.exit(main())
