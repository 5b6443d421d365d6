"""Builds objects from a composed config: constructors are the schema, YAML holds the values."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ConfigDict, TypeAdapter, ValidationError

from mamlbench.errors import BadValue, UserError, did_you_mean, with_its_place

Built = TypeVar("Built")


def build(node: Mapping[str, Any], group: str, **context: Any) -> Any:
    """Construct the class that `node._target_` names from the node's other values.

    Args:
        node: a config node with `_target_`.
        group: its place in the config, for messages.
        context: arguments that do not come from the config; the class need not take all of them.

    Raises:
        UserError: an unknown class or option, a wrong type, a value that the class refuses, or an
            error in a user's module.
    """
    values = dict(options_of(plain(node), group))
    target = values.pop("_target_", None)
    if target is None:
        raise UserError(f"{group}: has no _target_; accepted is the path of a class")
    try:
        cls = _class_at(str(target))
    except UserError as error:
        accepted = "accepted is the path of a class that can be imported"
        raise UserError(f"{group}._target_={target}: {error}; {accepted}") from error
    if not isinstance(cls, type):
        raise UserError(f"{group}._target_={target}: accepted is the path of a class")
    try:
        return construct(cls, values, group, **context)
    except (NameError, TypeError, ValueError) as error:
        raise UserError(f"{group}._target_={target}: {with_its_place(error)}") from error


def _class_at(target: str) -> Any:
    """Import the object at a dotted path.

    Raises:
        UserError: the module does not exist, fails to import, or lacks the name.
    """
    module, _, name = target.rpartition(".")
    if not all(part.isidentifier() for part in target.split(".")) or not module:
        raise UserError("not a dotted path")
    try:
        known = import_module(module)
    except Exception as error:  # a user's module may fail in any way
        raise UserError(_why_not_imported(error, module)) from error
    if not hasattr(known, name):
        raise UserError(f"module '{module}' has no attribute '{name}'")
    return getattr(known, name)


def _why_not_imported(error: Exception, module: str) -> str:
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing is not None and f"{module}.".startswith(f"{missing}."):
        return str(error).splitlines()[0]
    return with_its_place(error)


def construct(cls: type[Built], values: Mapping[str, Any], group: str, **context: Any) -> Built:
    """`cls(**values, **context)`, with each value checked against the constructor's annotation.

    Raises:
        UserError: see `build`.
    """
    values = options_of(values, group)
    schema, required = constructor_options(cls)
    own = [name for name in schema if name not in context]
    for name in values:
        if name not in own:
            accepted = ", ".join(own) + did_you_mean(name, own)
            raise UserError(f"{_key(group, name)}: unknown to {cls.__name__}; accepted: {accepted}")
    checked = {name: _checked(_key(group, name), v, schema[name]) for name, v in values.items()}
    given = {name: value for name, value in context.items() if name in schema}
    missing = required - checked.keys() - given.keys()
    if missing:
        raise UserError(f"{_key(group, min(missing))}: {cls.__name__} needs a value for it")
    try:
        return cls(**checked, **given)
    except BadValue as error:
        raise (error if error.group else error.under(group)) from error


def options_of(values: Any, group: str) -> Mapping[str, Any]:
    """Return `values`, which must be a mapping of options.

    Raises:
        UserError: `values` is not a mapping, because the user wrote `group=value`.
    """
    if isinstance(values, Mapping):
        return values
    raise UserError(f"{group}={json.dumps(values)}: accepted are its options, as {group}.key=value")


def plain(node: Any) -> Any:
    """A config node as dicts, tuples and plain values, with interpolations resolved."""
    if isinstance(node, DictConfig):
        try:
            node = OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
        except OmegaConfBaseException as error:
            raise UserError(f"{error.full_key}: {str(error).splitlines()[0]}") from error
    if isinstance(node, Mapping):
        return {key: plain(value) for key, value in node.items()}
    return tuple(map(plain, node)) if isinstance(node, (list, tuple)) else node


def constructor_options(cls: type) -> tuple[dict[str, Any], set[str]]:
    """Annotations of a constructor's arguments by name, and the names without a default.

    If a constructor takes `**options`, the arguments of the next base class are included.

    Raises:
        UserError: an annotation has a name that is unknown at run time.
    """
    schema: dict[str, Any] = {}
    required: set[str] = set()
    for init, parameters in _parameters(cls):
        hints = _hints(init)
        for parameter in parameters:
            schema[parameter.name] = hints.get(parameter.name, Any)
            if parameter.default is parameter.empty:
                required.add(parameter.name)
    return schema, required


def _hints(init: Callable[..., None]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(init)
    except NameError as error:
        code = inspect.unwrap(init).__code__
        where = f"{code.co_filename}, line {code.co_firstlineno}: {init.__qualname__}"
        accepted = "accepted is an import that TYPE_CHECKING does not guard"
        raise UserError(f"{where}: an annotation's {error}; {accepted}") from error


def constructor_defaults(cls: type) -> dict[str, Any]:
    """Defaults of a constructor's optional arguments; see `constructor_options`."""
    named = [parameter for _, parameters in _parameters(cls) for parameter in parameters]
    return {p.name: p.default for p in named if p.default is not p.empty}


def _parameters(cls: type) -> Iterator[tuple[Callable[..., None], list[inspect.Parameter]]]:
    """Constructors from the class upwards, each with the named arguments that no subclass has."""
    seen: set[str] = set()
    for ancestor in cls.__mro__:
        init = ancestor.__dict__.get("__init__")
        if init is None:
            continue
        parameters = list(inspect.signature(init).parameters.values())[1:]
        named = [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        yield init, [p for p in named if p.name not in seen]
        seen.update(p.name for p in named)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break


def _key(group: str, name: str) -> str:
    return f"{group}.{name}" if group else name


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint, config=ConfigDict(strict=True, arbitrary_types_allowed=True))


def _checked(key: str, value: Any, hint: Any) -> Any:
    try:
        return _adapter(hint).validate_python(value)
    except ValidationError as error:
        with suppress(TypeError, ValueError):  # JSON mode makes tuples, sets and paths
            return _adapter(hint).validate_json(json.dumps(value, allow_nan=False))
        first = error.errors()[0]
        places = () if first["type"] == "missing" else first["loc"]
        where = "".join(f"[{place}]" for place in places if type(place) is int)
        found = json.dumps(value, default=str)
        accepted = _in_words(hint)
        if accepted == "text" and isinstance(value, (int, float)):
            accepted += f""", as "{key}='{found}'\""""
        raise UserError(f"{key}{where}={found}: accepted is {accepted}") from error


_PLURALS: dict[Any, str] = {int: "whole numbers", float: "numbers"}


def _in_words(hint: Any) -> str:
    names = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "text",
        type(None): "null",
    }
    if hint in names:
        return names[hint]
    parts = typing.get_args(hint)
    if typing.get_origin(hint) in (dict, Mapping):
        return "options, as {name: value}"
    if typing.get_origin(hint) is typing.Literal:
        return ", ".join(map(str, parts))
    if typing.get_origin(hint) is tuple:
        if Ellipsis in parts:
            return f"a list of {_PLURALS.get(parts[0]) or _in_words(parts[0])}"
        return f"[{', '.join(_in_words(part).removeprefix('a ') for part in parts)}]"
    return " or ".join(map(_in_words, parts)) if parts else getattr(hint, "__name__", str(hint))
