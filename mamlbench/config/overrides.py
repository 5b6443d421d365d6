"""Hydra overrides: their keys, values and quoting, whole command lines, and merging of lists."""

from __future__ import annotations

import re
import shlex
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from mamlbench.errors import UserError

_KEY = re.compile(r"(\+{0,2}|~)[\w./@:$-]+", re.ASCII)
_BEFORE_QUOTES = re.compile(r"(\\*)('|\Z)")
_CLOSED_BY = {"[": "]", "{": "}", "(": ")"}


def key_of(override: str) -> str:
    """`dataset.shots` of `+dataset.shots=5`."""
    return key_and_value(override)[0]


def key_and_value(override: str) -> tuple[str, str]:
    """`dataset.shots` and `5` of `+dataset.shots=5`; the value is empty if there is none."""
    key, _, value = override.lstrip("+~").partition("=")
    return key, value


def quoted(value: Any) -> str:
    """A value in override syntax: text in quotes, lists in brackets."""
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(quoted, value)) + "]"
    if isinstance(value, str):
        # Hydra treats a backslash as an escape only before a quote
        return "'" + _BEFORE_QUOTES.sub(lambda m: 2 * m[1] + m[2].replace("'", "\\'"), value) + "'"
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))


def command_line(overrides: Iterable[str], searchpath: Sequence[str] = ()) -> str:
    """The `mamlbench` command with these overrides, quoted for a shell.

    Args:
        overrides: the run's overrides.
        searchpath: additional config folders, such as `file:///home/me/conf`.
    """
    return " ".join(["mamlbench", *map(_in_a_shell, [*config_flags(searchpath), *overrides])])


def config_flags(searchpath: Sequence[str]) -> list[str]:
    """Arguments that add config folders: one by --config-dir, the others by hydra.searchpath."""
    if not searchpath:
        return []
    scheme, found, folder = searchpath[0].partition("file://")
    flags = [f"--config-dir={folder}"] if found and not scheme else []
    others = list(searchpath[len(flags) :])
    return [*flags, *([f"hydra.searchpath={quoted(others)}"] if others else [])]


def _in_a_shell(override: str) -> str:
    # double quotes around Hydra's single quotes are easier to read
    if "'" in override and not set(override) & set('"$`\\!'):
        return f'"{override}"'
    return shlex.quote(override)


def parsed(arguments: Sequence[str]) -> Namespace:
    """Parse a command line as Hydra does; flags may also come between overrides.

    Raises:
        UserError: a flag is unknown.
    """
    from hydra._internal.utils import get_args_parser

    def refuse(message: str) -> NoReturn:
        raise UserError(f"{message}; mamlbench --help lists the flags")

    parser = get_args_parser()
    parser.error = refuse  # type: ignore[method-assign] # its own prints the whole usage
    return parser.parse_intermixed_args(list(arguments))


def sweep_of(override: str) -> Any:
    """Hydra's parsed override if it has several values, otherwise None."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_override(override)
    return parsed if parsed.is_sweep_override() else None


def first_of(override: str) -> str:
    """The override with only the first of its values."""
    sweep = sweep_of(override)
    if sweep is None:
        return override
    first = (
        sweep.value().start if sweep.is_interval_sweep() else next(sweep.sweep_string_iterator())
    )
    return f"{sweep.get_key_element()}={first}"


def over(overrides: Iterable[str], later: Iterable[str]) -> list[str]:
    """Merge two lists of overrides, keeping only the last override of each key."""
    return list({key_of(override): override for override in (*overrides, *later)}.values())


def other_test(made_by: Sequence[str], test: Sequence[str], checkpoint: str) -> list[str]:
    """Overrides of an additional test of a run's checkpoint.

    Args:
        made_by: the run's overrides.
        test: the overrides that change the test.
        checkpoint: the run's folder.
    """
    kept = [o for o in made_by if key_of(o) not in ("checkpoint", "warm_start", "also_test")]
    return over(kept, [*test, f"checkpoint={quoted(checkpoint)}"])


def list_of(override: str, kind: type[str] | type[int]) -> list[Any]:
    """The values of `key=[a,b]` or `key=a`.

    Raises:
        UserError: the override has another form, or a value is not of type `kind`.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        value = OverridesParser.create().parse_override(override).value()
    except HydraException:
        value = None
    values = value if isinstance(value, list) else [value]
    if kind is str:
        values = [str(entry) if isinstance(entry, (int, float)) else entry for entry in values]
    if value is None or not values or not all(type(entry) is kind for entry in values):
        words = "[name, ...]" if kind is str else "[whole number, ...]"
        raise UserError(f"{override}: accepted is a list, {words}")
    return values


def require_one_run(params: Mapping[str, Any] | None, overrides: Sequence[str]) -> None:
    """Without `-m`, refuse a config that defines a sweep.

    Args:
        params: `hydra.sweeper.params`, which Hydra ignores without `-m`.
        overrides: the command line's. One run is accepted if they give a value for each option of
            the sweep, or a `checkpoint` to test.

    Raises:
        UserError: the sweep's options lack a value.
    """
    typed = {key_of(override): override for override in overrides}
    left = [key for key in map(key_of, params or {}) if key not in typed]
    if left and "checkpoint" not in typed:
        what = typed.get("experiment", "hydra.sweeper.params")
        one = " ".join(f"{key}=..." for key in left)
        raise UserError(f"{what}: is a sweep, which needs -m; accepted without it is {one}")


def why_unreadable(override: str) -> str:
    """What is wrong with an override that Hydra's grammar rejects, and what is accepted."""
    key, equals, value = (part.strip() for part in override.partition("="))
    if not (key and equals):
        return "accepted is key=value"
    if not _KEY.fullmatch(key):
        return f"{key} is not a valid key; accepted is key=value"
    if override != f"{key}={value}":
        where = "around =" if re.search(r"\s=|=\s", override) else "before or after"
        return f"accepted is {_readable(key, value)}, without spaces {where}"
    if value.startswith("="):
        return f"accepted is {_readable(key, value.lstrip('= '))}, with one ="
    if unclosed := _unclosed(value):
        return f"{unclosed}; accepted as text is {_with_quotes(key, value)}"
    parts = value.split(",")
    if not all(parts):
        kept = ",".join(filter(None, parts))
        return f"there is no value beside a comma; accepted is {_readable(key, kept)}"
    why = "text with special characters needs quotes"
    if value.startswith(("[", "{")):
        form = "{name: 'text'}" if value.startswith("{") else "['text','text']"
        form = f"[{form}]" if key == "also_test" else form
        return f'{why}; accepted is "{key}={form}"'
    return f"{why}; accepted is {_with_quotes(key, value)}"


def _readable(key: str, value: str) -> str:
    """The override `key=value` for a shell, quoted only if necessary."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        OverridesParser.create().parse_override(f"{key}={value}")
    except HydraException:
        return _with_quotes(key, value)
    return _in_a_shell(f"{key}={value}")


def _with_quotes(key: str, text: str) -> str:
    override = f'{key}="{text}"' if "'" in text and not set(text) & set('"\\') else None
    override = override or f"{key}={quoted(text)}"
    if set(text) & set("$`\\!"):
        return shlex.quote(override)
    return '"' + override.replace('"', '\\"') + '"'


def _unclosed(value: str) -> str:
    """A message about an unbalanced bracket or quote; empty if all are balanced."""
    open_: list[str] = []
    unquoted = re.sub(r"'(\\.|[^'\\])*'|\"(\\.|[^\"\\])*\"", "", value)
    for sign in unquoted:
        if sign in "'\"":
            return f"the quote {sign} is not closed"
        if sign in _CLOSED_BY:
            open_.append(sign)
        elif sign in _CLOSED_BY.values() and (not open_ or _CLOSED_BY[open_.pop()] != sign):
            return f"there is one {sign} too many"
    return f"{open_[-1]} has no {_CLOSED_BY[open_[-1]]}" if open_ else ""
