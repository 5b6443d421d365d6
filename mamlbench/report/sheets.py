"""Tables of texts, written to a terminal, as Markdown or as LaTeX."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich import box
from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.table import Table


@dataclass(frozen=True)
class Marked:
    """A text and the numbers of its footnotes; as a string, `text[1][2]`."""

    text: str
    marks: tuple[int, ...] = ()

    def __str__(self) -> str:
        return self.text + "".join(f"[{mark}]" for mark in self.marks)


@dataclass
class Notes:
    """Footnotes, each text once."""

    texts: list[str] = field(default_factory=list)

    def mark(self, text: str) -> int:
        """The footnote's number, counted from 1; a new text is added."""
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text) + 1


def numbered(footnotes: Iterable[str]) -> list[str]:
    """`[1] text`, one for each."""
    return [f"[{number}] {text}" for number, text in enumerate(footnotes, 1)]


@dataclass(frozen=True)
class Sheet:
    """A table as a reader sees it.

    Attributes:
        title: shown above it.
        columns: column names; the first column names the rows.
        rows: texts, one for each column.
        footnotes: texts that marks in the table refer to, counted from 1.
        remarks: on the whole table, below the footnotes.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | Marked]]
    footnotes: Sequence[str] = ()
    remarks: Sequence[str] = ()

    @property
    def notes(self) -> list[str]:
        """Lines below the table: the footnotes with their numbers, then the remarks."""
        return [*numbered(self.footnotes), *self.remarks]


def print_result_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    console: Console | None = None,
) -> None:
    """Print a table to stdout: drawn on a terminal, as Markdown if stdout is piped.

    The first column names the rows and is aligned to the left, the others to the right.
    """
    console = console or Console(highlight=False)
    cells = [[str(cell) for cell in row] for row in rows]
    if not console.is_terminal:
        text = f"{title}\n\n{markdown_table(columns, cells)}"
        console.print(text, markup=False, soft_wrap=True)
        return
    table = Table(title=escape(title), title_justify="left", box=box.ROUNDED)
    for number, column in enumerate(columns):
        justify: JustifyMethod = "right" if number else "left"
        table.add_column(escape(column), justify=justify, overflow="fold")
    for row in cells:
        table.add_row(*map(escape, row))
    console.print(table)


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A Markdown table, aligned to be readable as plain text.

    The first `left` columns are aligned to the left, the others to the right.
    """
    columns, *rows = ([_escaped(cell) for cell in row] for row in (columns, *rows))
    widths = [max(3, *map(len, column)) for column in zip(columns, *rows, strict=True)]
    rule = ["-" * width if n < left else "-" * (width - 1) + ":" for n, width in enumerate(widths)]
    lines = []
    for row in (columns, rule, *rows):
        cells = enumerate(zip(row, widths, strict=True))
        aligned = [c.ljust(width) if n < left else c.rjust(width) for n, (c, width) in cells]
        lines.append("| " + " | ".join(aligned) + " |")
    return "\n".join(lines)


def to_terminal(sheets: Sequence[Sheet]) -> None:
    """Print sheets: drawn on a terminal, as Markdown if stdout is piped."""
    for number, sheet in enumerate(sheets):
        if number:
            print()
        print_result_table(sheet.title, sheet.columns, sheet.rows)
        if sheet.notes:
            print()
        for note in sheet.notes:
            print(note)


def to_markdown(sheets: Sequence[Sheet]) -> str:
    """A section for each sheet, with its table and notes."""
    parts = []
    for sheet in sheets:
        rows = [list(map(str, row)) for row in sheet.rows]
        parts += [f"### {sheet.title}", markdown_table(sheet.columns, rows)]
        parts += ["\n".join(f"- {note}" for note in sheet.notes)] if sheet.notes else []
    return "\n\n".join(parts) + "\n"


def to_latex(sheets: Sequence[Sheet]) -> str:
    r"""`table` environments for a document that uses the package booktabs."""
    import pandas as pd

    parts = []
    for sheet in sheets:
        rows = [list(map(_tex_cell, row)) for row in sheet.rows]
        frame = pd.DataFrame(rows, columns=list(map(_tex, sheet.columns)))
        body = frame.style.hide(axis="index").to_latex(
            hrules=True, column_format="l" * 2 + "r" * (len(sheet.columns) - 2)
        )
        notes = [rf"\par\footnotesize {_tex(note)}" for note in sheet.notes]
        parts.append(
            "\n".join(
                [
                    r"\begin{table}",
                    r"\centering",
                    rf"\caption{{{_tex(sheet.title)}}}",
                    body.strip(),
                    *notes,
                    r"\end{table}",
                ]
            )
        )
    return "% needs \\usepackage{booktabs}\n" + "\n\n".join(parts) + "\n"


def _escaped(text: str) -> str:
    """The text in one line, with `|` escaped."""
    return " ".join(text.split()).replace("|", r"\|")


_TEX = {
    **{sign: "\\" + sign for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": r"$-$",
    "–": "--",
}


def _tex(text: str) -> str:
    return "".join(_TEX.get(sign, sign) for sign in text)


def _tex_cell(cell: str | Marked) -> str:
    if isinstance(cell, str):
        return _tex(cell)
    marks = ",".join(map(str, cell.marks))
    return _tex(cell.text) + (rf"\textsuperscript{{{marks}}}" if marks else "")
