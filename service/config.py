"""YAML configuration files into typed structs, with errors that say file, key and what was expected.

Owns where they are looked for, reading and complaining. What the keys are is said by the struct a caller passes; a
struct checks what types cannot say in ``__post_init__``, by raising `ValueError` or `UsageError`, whose text then
follows the file's name.
Sizes, rates and durations are fields of type ``str | int | float`` that go through the parsers of `service.units`.
Not for child processes: they get their settings as JSON, and PyYAML is slow to import.
"""

from __future__ import annotations

import difflib
import os
import re
import stat
import typing
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from protocol.errors import ConfigError, UsageError
from service.paths import absolute_path, expanded

S = TypeVar("S")

CONFIG_BYTES_MAX = 1024 * 1024
CONFIG_NAME = "zswarm"
SYSTEM_DIR = Path("/etc") / CONFIG_NAME
KEYS_NAME, KEYS_ENVIRONMENT = "keys", "ZSWARM_KEYS"
NO_KEYS = "none"
"""In place of a key folder: none, though there is one at the default place."""

_AT = re.compile(r"(?P<problem>.*?)(?: - at (?P<in_key>`key` in )?`(?P<path>[^`]*)`)?", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<key>.*)`", re.DOTALL)
_WRONG_TYPE = re.compile(r"Expected `(?P<expected>[^`]*)`(?P<bound> [<>]=? \S+)?(?:, got `(?P<got>[^`]*)`)?")
_UNQUOTED = ("int", "float", "bool", "date", "datetime")
"""What YAML makes of text that happens to look like it."""
_GOT = {
    "str": "text",
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "keys of its own",
    "null": "nothing",
    "date": "a date",
    "datetime": "a date",
    "bytes": "binary data",
}
_EXPECTED = _GOT | {"int": "a whole number"}
_MISSING = re.compile(r"Object missing required field `(?P<key>.*)`", re.DOTALL)


def settings_of(path: Path | None, name: str, kind: type[S]) -> S:
    """The settings in ``path`` or, where that is None, in the default file called ``name``; where there is none of that
    name either, the defaults of ``kind``. Raises `ConfigError` as `load_settings` does."""
    found = find_default(name) if path is None else path
    return kind() if found is None else load_settings(found, kind)


def find_default(name: str) -> Path | None:
    """The configuration file ``name`` of this user or else of this machine; None when there is neither.

    The user's is below ``$XDG_CONFIG_HOME`` (XDG Base Directory Specification) or ``~/.config``. A home that cannot be
    entered is another user's, after ``sudo`` for example, and nothing is expected of it.
    """
    own = _own_dir()
    for directory in (own, SYSTEM_DIR) if own is not None else (SYSTEM_DIR,):
        path = directory / name
        try:
            path.lstat()  # a link that leads nowhere is an error, which the reader tells
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as error:
            if directory is own:
                continue
            raise _unreadable(path, error) from None
        except OSError as error:
            raise _unreadable(path, error) from None
        if _is_fifo(path):  # of which a read may never end, and nobody has asked for it
            raise ConfigError(f"{path}: is a named pipe; remove it, or give a configuration file with --config")
        return path
    return None


def keys_place(given: str) -> Path:
    """The key folder (`service.key_folder`) that is ``given``, or that of the environment, or the one of this user or
    else of this machine; where there is neither, the place for this user's. Raises `UsageError`."""
    given = given or os.environ.get(KEYS_ENVIRONMENT, "")
    if given:
        return absolute_path(given)
    own = _own_dir()
    places = [directory / KEYS_NAME for directory in (own, SYSTEM_DIR) if directory is not None]
    return next((place for place in places if has_keys(place)), places[0])


def keys_in_force(given: str) -> str:
    """The key folder that a tracker heeds: as `keys_place` has it, if it was named or there is one; empty: none."""
    given = given or os.environ.get(KEYS_ENVIRONMENT, "")
    if given == NO_KEYS:
        return ""
    place = keys_place(given)
    return str(place) if given or has_keys(place) else ""


def has_keys(place: Path) -> bool:
    """Whether there is a key folder at ``place``, this user's or not, and whole or not: of one that lost its secret, is
    closed to this user or cannot be looked at, nobody must make a network without keys."""
    try:
        place.lstat()
    except PermissionError:
        return place.parent == SYSTEM_DIR  # elsewhere it is another user's, after sudo for example
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        pass
    return True


def _is_fifo(path: Path) -> bool:
    try:
        return stat.S_ISFIFO(path.stat().st_mode)
    except OSError:
        return False  # the reader tells


def _own_dir() -> Path | None:
    """This user's directory of configuration files; None when the home directory is not known."""
    given = os.environ.get("XDG_CONFIG_HOME", "")
    if given.startswith("/"):
        return Path(given) / CONFIG_NAME
    try:
        return expanded("~/.config") / CONFIG_NAME
    except UsageError:
        return None


def signing_folder() -> Path:
    """Where this user's signing keys are. `UsageError` when the home directory is not known."""
    own = _own_dir()
    if own is None:
        raise UsageError("this user's home directory is not known; give the path of the signing key")
    return own / "signing"


def load_settings(path: Path, kind: type[S]) -> S:
    """Read ``path`` as a ``kind``, a msgspec struct that forbids unknown fields.

    Raises `ConfigError` when the file cannot be read, is no YAML, is empty, or does not fit ``kind``.
    """
    document = _read(path)
    if document is None:
        raise ConfigError(f"{path}: is empty; {_expected_keys(kind)}")
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: expected `key: value` lines, got {_yaml_type(document)}; {_expected_keys(kind)}")
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_explain(str(error), kind)}") from None
    except UsageError as error:
        raise ConfigError(f"{path}: {error}") from None


def _read(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            text = file.read(CONFIG_BYTES_MAX + 1)  # of a device there is no end
        if len(text) > CONFIG_BYTES_MAX:
            raise ConfigError(f"{path}: larger than 1 MiB, so it is hardly a configuration file")
        return yaml.load(text, _Loader)  # which is a SafeLoader
    except OSError as error:
        raise _unreadable(path, error) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {_yaml_problem(error)}") from None
    except (ValueError, RecursionError) as error:  # a date such as 2026-13-45, a nest of brackets
        raise ConfigError(f"{path}: is not valid YAML: {error}") from None


def _unreadable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{path}: {error.strerror}; give a readable configuration file with --config")


class _Loader(yaml.SafeLoader):
    """Refuses a key given twice, of which YAML would quietly take the last, and text that cannot be encoded."""

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        value = super().construct_scalar(node)
        if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
            raise yaml.constructor.ConstructorError(None, None, "a lone surrogate is not text", node.start_mark)
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"key `{key.value}` is given twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _yaml_problem(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem or 'is not valid YAML'}"
    return f"is not valid YAML: {' '.join(str(error).split())}"


def _explain(problem: str, kind: Any) -> str:
    """A validation error of msgspec in terms of the file's keys."""
    found = _AT.fullmatch(problem)
    text, path = (found["problem"], found["path"] or "$") if found else (problem, "$")
    key = path.removeprefix("$").removeprefix(".")
    prefix = f"{key}." if key else ""
    if unknown := _UNKNOWN.fullmatch(text):
        known = list(_keys(_struct_in(_annotation_at(kind, key))))
        return f"unknown key `{prefix}{unknown['key']}`; {_closest(unknown['key'], prefix, known)}"
    if missing := _MISSING.fullmatch(text):
        return f"key `{prefix}{missing['key']}` is missing"
    if found and found["in_key"]:
        return f"a key{f' in `{key}`' if key else ''} is not text; put it in quotes"
    if text.startswith("Invalid enum value"):
        allowed = ", ".join(str(value) for value in typing.get_args(_annotation_at(kind, key)))
        text = f"expected one of {allowed}, got{text.removeprefix('Invalid enum value')}"
    elif wrong := _WRONG_TYPE.fullmatch(text):
        text = _type_problem(wrong["expected"], wrong["bound"] or "", wrong["got"])
    return f"key `{key}`: {text}" if key else text


def _type_problem(expected: str, bound: str, got: str | None) -> str:
    """What msgspec says of a value of a wrong type or size, in the words of a YAML file."""
    text = f"expected {' or '.join(_EXPECTED.get(kind, kind) for kind in expected.split(' | '))}{bound}"
    if got is None:
        return text
    quotes = "; put it in quotes" if expected == "str" and got in _UNQUOTED else ""
    return f"{text}, got {_GOT.get(got, got)}{quotes}"


def _closest(key: str, prefix: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    if near:
        return f"did you mean `{prefix}{near[0]}`?"
    return "known are " + ", ".join(f"`{prefix}{name}`" for name in known)


def _annotation_at(kind: Any, key: str) -> Any:
    """The annotation that a dotted key leads to, through lists and unions; None when there is none."""
    for part in filter(None, re.split(r"\.|\[[^]]*\]", key)):
        kind = _keys(_struct_in(kind)).get(part)
    return kind


def _struct_in(kind: Any) -> Any:
    """The struct in an annotation such as ``list[S] | None``."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind
    for member in typing.get_args(kind):
        found = _struct_in(member)
        if found is not None:
            return found
    return None


def _keys(kind: Any) -> dict[str, Any]:
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return {}
    return {field.encode_name: field.type for field in msgspec.structs.fields(kind)}


def _expected_keys(kind: Any) -> str:
    return "expected keys such as " + ", ".join(f"`{name}`" for name in list(_keys(kind))[:5])


def _yaml_type(document: Any) -> str:
    return "a list" if isinstance(document, list) else f"{document!r:.60}"
