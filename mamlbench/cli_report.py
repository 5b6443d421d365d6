"""`mamlbench-report`: the papers' tables beside our runs, and any runs beside one another."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mamlbench.errors import UserError

if TYPE_CHECKING:
    from mamlbench.report.report import Report
    from mamlbench.report.sheets import Sheet

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
    """Run the command; 0 where all is well, 2 after a user's mistake."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except UserError as error:
        print(f"mamlbench-report: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever reads, say `head`, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "mamlbench-report",
        description="Put runs beside what the papers published, and beside one another.",
        epilog="examples:" + EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("what", nargs="*", metavar="+table=NAME | FOLDER", help="tables (several as a,b; or all) "
        "and folders with runs below them (default with a table: outputs)")  # fmt: skip
    add("--format", choices=FORMATS, default="terminal", help="of what is printed or written")
    add("--out", type=Path, metavar="FILE", help="write it there instead of printing it")
    add("--html", type=Path, metavar="FILE", help="write one self-contained page")
    add("--figures", type=Path, metavar="FOLDER", help="draw curves and the papers' figures there")
    add("--readme", type=Path, metavar="FILE", help="rewrite the part of it that is marked for us")
    add("--compare", nargs=2, type=Path, metavar="RUN", help="what differs between two run folders")
    add("--status", type=Path, metavar="FOLDER", help="which runs below it stand where")
    add("--strict", action="store_true", help="refuse results of different protocols in one table")
    return parser


def _run(options: argparse.Namespace) -> int:
    if options.status is not None:
        from mamlbench.report.status import show

        print(show(options.status))
        return 0
    if options.compare is not None:
        _compare(options)
        return 0
    found = _report(*_tables_and_folders(options.what), options.strict)
    for entry in found.skipped:
        print(f"mamlbench-report: skipped {entry.path}: {entry.why}", file=sys.stderr)
    _write(options, found)
    return 0


def _compare(options: argparse.Namespace) -> None:
    for name in ("html", "figures", "readme"):
        if (asked := getattr(options, name)) is not None:
            accepted = "accepted beside --compare are --format, --out and --strict"
            raise UserError(f"--{name} {asked}: not of two runs; {accepted}")
    from mamlbench.report.compare import compare

    one, other = options.compare
    found = compare(one, other, options.strict)
    if options.format == "csv":
        from mamlbench.report.table_csv import comparison_to_csv

        _put(options.out, comparison_to_csv(found))
    else:
        _write_sheets(options, found.sheets())


def _tables_and_folders(words: Sequence[str]) -> tuple[list[str], list[Path]]:
    tables: list[str] = []
    folders: list[Path] = []
    for word in words:
        name, equals, value = word.lstrip("+").partition("=")
        if equals and name == "table":
            tables += [part for part in value.split(",") if part]
        elif equals and not Path(word).exists():
            raise UserError(f"{word}: accepted is +table=NAME or a folder")
        else:
            folders.append(Path(word))
    if not tables and not folders:
        raise UserError("accepted is +table=NAME, a folder, --compare or --status; see --help")
    return tables, folders


def _report(tables: Sequence[str], folders: Sequence[Path], strict: bool) -> Report:
    from mamlbench.report.report import report_folders, report_tables

    if not tables:
        return report_folders(folders, strict)
    default = [Path("outputs")] if Path("outputs").is_dir() else []
    return report_tables(tables, folders or default, strict)


def _write(options: argparse.Namespace, found: Report) -> None:
    """Whatever was asked for; the tables themselves, where nothing else was."""
    others = (options.html, options.figures, options.readme)
    if options.html is not None:
        from mamlbench.report.page import write_page

        write_page(found, options.html)
        print(f"page: {options.html}")
    if options.figures is not None:
        from mamlbench.report.curves import draw_all

        for path in draw_all(found, options.figures):
            print(f"figure: {path}")
    if options.readme is not None:
        from mamlbench.report.readme import rewrite

        rewrite(options.readme, found)
        print(f"rewritten: {options.readme}")
    if options.format == "csv":
        from mamlbench.report.table_csv import to_csv

        _put(options.out, to_csv(found.papers, found.folders))
    elif options.out is not None or all(other is None for other in others):
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
    print(f"written: {out}")


if __name__ == "__main__":
    sys.exit(main())
