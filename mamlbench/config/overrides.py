"""Overrides as Hydra reads them: keys, quoting, a command line, several lists of them in one."""

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
    """`dataset.shots` and `5` of `+dataset.shots=5`; no value, an empty one."""
    key, _, value = override.lstrip("+~").partition("=")
    return key, value


def quoted(value: Any) -> str:
    """A value as an override has it: text in quotes, lists in brackets."""
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(quoted, value)) + "]"
    if isinstance(value, str):
        # a backslash counts only where quotes follow it
        return "'" + _BEFORE_QUOTES.sub(lambda m: 2 * m[1] + m[2].replace("'", "\\'"), value) + "'"
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))


def command_line(overrides: Iterable[str], searchpath: Sequence[str] = ()) -> str:
    """`mamlbench` with these overrides, as a shell takes it.

    Args:
        overrides: of the run.
        searchpath: where config files are besides mamlbench's own, as `file:///home/me/conf`.
    """
    return " ".join(["mamlbench", *map(_in_a_shell, [*config_flags(searchpath), *overrides])])


def config_flags(searchpath: Sequence[str]) -> list[str]:
    """What has a command look for config files there too: Hydra's flag, which takes one folder."""
    if not searchpath:
        return []
    scheme, found, folder = searchpath[0].partition("file://")
    flags = [f"--config-dir={folder}"] if found and not scheme else []
    others = list(searchpath[len(flags) :])
    return [*flags, *([f"hydra.searchpath={quoted(others)}"] if others else [])]


def _in_a_shell(override: str) -> str:
    # Hydra's own quotes are single ones
    if "'" in override and not set(override) & set('"$`\\!'):
        return f'"{override}"'
    return shlex.quote(override)


def parsed(arguments: Sequence[str]) -> Namespace:
    """The command line as Hydra takes it apart; flags may also stand among the overrides.

    Raises:
        UserError: a flag that there is not.
    """
    from hydra._internal.utils import get_args_parser

    def refuse(message: str) -> NoReturn:
        raise UserError(f"{message}; mamlbench --help lists the flags")

    parser = get_args_parser()
    parser.error = refuse  # type: ignore[method-assign] # its own prints the whole usage
    return parser.parse_intermixed_args(list(arguments))


def sweep_of(override: str) -> Any:
    """Hydra's own reading of an override that has several values, or None."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_override(override)
    return parsed if parsed.is_sweep_override() else None


def first_of(override: str) -> str:
    """An override with the first of its values, where it has several."""
    sweep = sweep_of(override)
    if sweep is None:
        return override
    first = (
        sweep.value().start if sweep.is_interval_sweep() else next(sweep.sweep_string_iterator())
    )
    return f"{sweep.get_key_element()}={first}"


def over(overrides: Iterable[str], later: Iterable[str]) -> list[str]:
    """Both, of which the later has the last word: of each key, the last override alone is left."""
    return list({key_of(override): override for override in (*overrides, *later)}.values())


def other_test(made_by: Sequence[str], test: Sequence[str], checkpoint: str) -> list[str]:
    """Overrides that test a run's checkpoint otherwise.

    Args:
        made_by: the overrides of the run.
        test: the overrides that make the other test.
        checkpoint: the run's folder.
    """
    kept = [o for o in made_by if key_of(o) not in ("checkpoint", "warm_start", "also_test")]
    return over(kept, [*test, f"checkpoint={quoted(checkpoint)}"])


def list_of(override: str, kind: type[str] | type[int]) -> list[Any]:
    """The values of `key=[a,b]` or `key=a`.

    Raises:
        UserError: something else, or values of another kind.
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
    """Refuse a single run of what is written down as a sweep.

    Args:
        params: `hydra.sweeper.params`, which Hydra heeds in a sweep alone.
        overrides: of the command line. With a value for each of the sweep's options it is one run
            of it; and so is a test of a checkpoint.

    Raises:
        UserError: a value is left to the sweep.
    """
    typed = {key_of(override): override for override in overrides}
    left = [key for key in map(key_of, params or {}) if key not in typed]
    if left and "checkpoint" not in typed:
        what = typed.get("experiment", "hydra.sweeper.params")
        one = " ".join(f"{key}=..." for key in left)
        raise UserError(f"{what}: is a sweep, which takes -m; accepted without is {one}")


def why_unreadable(override: str) -> str:
    """What is wrong with an override that Hydra's grammar does not take, and what it takes."""
    key, equals, value = (part.strip() for part in override.partition("="))
    if not (key and equals):
        return "accepted is key=value"
    if not _KEY.fullmatch(key):
        return f"accepted is key=value, and {key} is no key"
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
    why = "text with signs in it takes quotes"
    if value.startswith(("[", "{")):
        form = "{name: 'text'}" if value.startswith("{") else "['text','text']"
        form = f"[{form}]" if key == "also_test" else form
        return f'{why}; accepted is "{key}={form}"'
    return f"{why}; accepted is {_with_quotes(key, value)}"


def _readable(key: str, value: str) -> str:
    """An override with this value, as a shell takes it, with quotes where it needs them."""
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
    """Which bracket or quote has no other end, in words; empty where all have."""
    open_: list[str] = []
    unquoted = re.sub(r"'(\\.|[^'\\])*'|\"(\\.|[^\"\\])*\"", "", value)
    for sign in unquoted:
        if sign in "'\"":
            return f"the quote {sign} has no end"
        if sign in _CLOSED_BY:
            open_.append(sign)
        elif sign in _CLOSED_BY.values() and (not open_ or _CLOSED_BY[open_.pop()] != sign):
            return f"there is one {sign} too many"
    return f"{open_[-1]} has no {_CLOSED_BY[open_[-1]]}" if open_ else ""
