"""`mamlbench-report`: compare runs with the papers' tables, and with one another."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mamlbench.cli.arguments import OneLineParser, exit_code_of, find_own_modules
from mamlbench.config.overrides import list_of
from mamlbench.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from mamlbench.config.tree import ConfigTree
    from mamlbench.report.report import Report
    from mamlbench.report.sheets import Sheet

PARTS: dict[str, type[str] | type[int]] = {"table.rows": str, "table.seeds": int}
FORMATS = ("terminal", "markdown", "latex", "csv")
EXAMPLES = """
  mamlbench-report outputs                                  all runs below a folder
  mamlbench-report +table=maml_sinusoid                     a paper's table beside our runs
  mamlbench-report +table=all --html report.html            all tables in one page
  mamlbench-report +table=maml_sinusoid --format latex --out table.tex
  mamlbench-report --compare outputs/.../seed0 outputs/.../seed0
  mamlbench-report --status outputs
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command: 0 on success, 2 after a user's mistake."""
    typed = sys.argv[1:] if arguments is None else arguments
    find_own_modules()
    return exit_code_of("mamlbench-report", lambda: _run(_parser().parse_intermixed_args(typed)))


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        "mamlbench-report",
        description="Compare runs with the papers' published results, and with one another.",
        epilog="examples:" + EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("what", nargs="*", metavar="+table=NAME | FOLDER", help="tables (NAME, or A,B "
        "for several, or all) and folders with runs below them (default with a table: outputs); "
        "for a part of one table, add 'table.rows=[ROW]' 'table.seeds=[0,1]'")  # fmt: skip
    add("--format", choices=FORMATS, default="terminal", help="of the tables (default: "
        "terminal; for a page: --html FILE)")  # fmt: skip
    add("--out", type=Path, metavar="FILE", help="write the tables there instead of printing them")
    add("--html", type=Path, metavar="FILE", help="write one self-contained HTML page")
    add("--figures", type=Path, metavar="FOLDER", help="draw curves and the papers' figures there")
    add("--readme", type=Path, metavar="FILE", help="replace the results between the marks in FILE")
    add("--compare", nargs=2, type=Path, metavar=("RUN_A", "RUN_B"), help="show what differs "
        "between two runs, given their folders")  # fmt: skip
    add("--status", type=Path, metavar="FOLDER", help="show the state of each run below it")
    add("--config-dir", type=Path, metavar="FOLDER", help="also find your own tables and "
        "experiments there: FOLDER/table/NAME.yaml")  # fmt: skip
    add("--strict", action="store_true", help="refuse results of different protocols in one table")
    return parser


def _run(options: argparse.Namespace) -> int:
    if options.status is not None:
        from mamlbench.report.status import show

        if options.what:
            raise UserError(f"{options.what[0]}: accepted with --status is one folder")
        beside = ("format", "out", "html", "figures", "readme", "compare", "config_dir", "strict")
        _refuse(options, beside, "accepted with --status is no other option")
        print(show(options.status))
        return 0
    if options.compare is not None:
        _compare(options)
        return 0
    found = _report(options)
    for entry in found.skipped:
        print(f"mamlbench-report: skipped {entry.path}: {entry.why}", file=sys.stderr)
    _write(options, found)
    return 0


def _compare(options: argparse.Namespace) -> None:
    why = "accepted with --compare are --format, --out and --strict"
    _refuse(options, ("html", "figures", "readme", "config_dir"), why)
    if options.what:
        raise UserError(f"{options.what[0]}: {why}")
    from mamlbench.report.compare import compare

    one, other = options.compare
    found = compare(one, other, options.strict)
    if options.format == "csv":
        from mamlbench.report.table_csv import comparison_to_csv

        _put(options.out, comparison_to_csv(found))
    else:
        _write_sheets(options, found.sheets())


def _refuse(options: argparse.Namespace, names: Sequence[str], why: str) -> None:
    """Raise `UserError` if one of the options `names` is given."""
    unset = vars(_parser().parse_args([]))
    for name in names:
        value = getattr(options, name)
        if value != unset[name]:
            shown = " ".join(map(str, value)) if isinstance(value, list) else value
            option = name.replace("_", "-")
            raise UserError(f"--{option}{'' if value is True else f' {shown}'}: {why}")


def _report(options: argparse.Namespace) -> Report:
    from mamlbench.report.report import report_folders, report_tables

    tables: list[str] = []
    folders: list[Path] = []
    part: dict[str, str] = {}
    for word in options.what:
        name, equals, value = word.lstrip("+").partition("=")
        if equals and name == "table":
            tables += [entry for entry in value.split(",") if entry]
        elif equals and name in PARTS:
            part[name] = word.lstrip("+")
        elif equals and not Path(word).exists():
            near = did_you_mean(name, ("table", *PARTS))
            raise UserError(f"{word}: accepted is +table=NAME or a folder{near}")
        else:
            folders.append(Path(word))
    if part and (len(tables) != 1 or "all" in tables):
        raise UserError(f"{next(iter(part.values()))}: accepted with it is one +table=NAME")
    if not tables and not folders:
        raise UserError("accepted is +table=NAME, a folder, --compare or --status; see --help")
    tree = _tree(options.config_dir)
    if not tables:
        return report_folders(folders, options.strict, tree)
    if not folders and Path("outputs").is_dir():
        folders = [Path("outputs")]
    if options.readme is not None and "all" not in tables:
        accepted = "a folder or +table=all; with fewer tables, the rest would count as not run"
        raise UserError(f"--readme {options.readme}: accepted with it is {accepted}")
    rows, seeds = (list_of(part[key], kind) if key in part else None for key, kind in PARTS.items())
    return report_tables(tables, folders, options.strict, rows, seeds, tree)


def _tree(config_dir: Path | None) -> ConfigTree:
    """The configs with the tables: mamlbench's own and those in the user's folder."""
    from mamlbench.config.tree import ConfigTree

    if config_dir is None:
        return ConfigTree()
    if not config_dir.is_dir():
        accepted = "accepted is one with table/NAME.yaml in it"
        raise UserError(f"--config-dir {config_dir}: there is no such folder; {accepted}")
    return ConfigTree([f"--config-dir={config_dir}"])


def _write(options: argparse.Namespace, found: Report) -> None:
    """Write what the options ask for, or print the tables if they ask for nothing."""
    others = (options.html, options.figures, options.readme)
    if options.html is not None:
        from mamlbench.report.page import write_page

        write_page(found, options.html)
        _say(f"page: {options.html}")
    if options.figures is not None:
        from mamlbench.report.curves import draw_all

        for path in draw_all(found, options.figures):
            _say(f"figure: {path}")
    if options.readme is not None:
        from mamlbench.report.readme import rewrite

        rewrite(options.readme, found)
        _say(f"rewritten: {options.readme}")
    is_asked_for = options.format != "terminal" or options.out is not None
    if options.format == "csv":
        from mamlbench.report.table_csv import to_csv

        _put(options.out, to_csv(found.papers, found.folders))
    elif is_asked_for or all(other is None for other in others):
        _write_sheets(options, found.sheets())


def _write_sheets(options: argparse.Namespace, sheets: Sequence[Sheet]) -> None:
    from mamlbench.report.sheets import to_latex, to_markdown, to_terminal

    if options.format == "latex":
        _put(options.out, to_latex(sheets))
    elif options.format == "markdown" or options.out is not None:
        _put(options.out, to_markdown(sheets))
    else:
        to_terminal(sheets)


def _put(out: Path | None, text: str) -> None:
    if out is None:
        print(text, end="")
        return
    from mamlbench.files import write_atomically

    write_atomically(out, text)
    _say(f"written: {out}")


def _say(what: str) -> None:
    """Print to stderr, because stdout may be piped."""
    print(what, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
