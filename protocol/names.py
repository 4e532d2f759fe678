"""Which names may reach a file system (PROTOCOL.md, section 3.2).

A name from a seed, a link or the wire becomes a path on a stranger's disk. Nothing may land outside its destination,
and what one machine can share every machine is to store, so names are portable: the rules are those of the strictest
system. Only the paths of a manifest that says so (``posix_names``) need no more than POSIX does. Checked where a
manifest or link is parsed; whoever holds a `Manifest` may rely on it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from protocol.errors import SeedError
from protocol.limits import NAME_BYTES_MAX, PATH_BYTES_MAX

_NUMBERED = (f"{port}{digit}" for port in ("COM", "LPT") for digit in "123456789\u00b9\u00b2\u00b3")
_RESERVED = frozenset(("CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", *_NUMBERED))
"""Names Windows gives to devices, whatever the extension."""

_CONTROL = re.compile("[\x01-\x1f\x7f-\x9f\u2028\u2029]")
"""Control characters, and the two separators that end a line in many programs."""
_WINDOWS = re.compile(r'[\\:<>"|?*]')
"""A path separator, a separator of drives and streams, and what else Windows reads a meaning into."""
_PARTIAL = re.compile(r"\..+\.part", re.IGNORECASE | re.DOTALL)
"""What a download is called while it takes shape beside its destination."""
_WILDCARD = re.compile(r"\*+|\?|\[!?\]?[^]]*\]")
"""What in a shell pattern stands for other characters."""
_SURROGATE = re.compile("[\ud800-\udfff]")
_PLAIN = r"(?!(?:con|prn|aux|nul|com\d|lpt\d)(?:[./]|\Z))[a-z0-9_-](?:[a-z0-9_.-]{0,253}[a-z0-9_-])?"
_PLAIN_PATH = re.compile(f"(?:{_PLAIN}/)*{_PLAIN}", re.ASCII | re.IGNORECASE)
"""Paths that most trees have no others of: right beyond doubt, and found to be so in a third of the time. What else is
right, and what is wrong with the rest, is a longer story."""


def check_name(text: str) -> str:
    """``text``, when it may be the name of a content; `SeedError` that says why it may not."""
    problem = _problem(text) or _unportable(text)
    problem = problem or ("is reserved for downloads in progress" if is_partial(text) else None)
    if problem:
        raise SeedError(f"name {_shown(text)} {problem}")
    return text


def check_name_pattern(text: str) -> str:
    """``text``, when there can be a name that it matches as a whole: a shell pattern if there is ``*`` or ``?`` in it,
    else a name. `SeedError` that says why none can."""
    try:
        check_name(_WILDCARD.sub("x", text) if "*" in text or "?" in text else text)
    except SeedError as error:
        raise SeedError(f"no content can have a name that matches {_shown(text)}: {error}") from None
    return text


def is_partial(name: str) -> bool:
    """Whether a download may be called ``name`` while it is not complete."""
    return _PARTIAL.fullmatch(name) is not None


def check_path(text: str, posix_names: bool = False) -> str:
    """``text``, when it may be a path inside a tree: names joined by ``/``; `SeedError` that says why it may not.
    ``posix_names``: names that only POSIX systems can store may be in it."""
    if len(text) <= PATH_BYTES_MAX and _PLAIN_PATH.fullmatch(text):
        return text
    if text.startswith("/"):
        raise SeedError(f"path {_shown(text)} is absolute")
    if len(text) > PATH_BYTES_MAX or _utf8_length(text) > PATH_BYTES_MAX:
        raise SeedError(f"path {_shown(text)} is over {PATH_BYTES_MAX} bytes long")
    for part in text.split("/"):
        problem = _problem(part) or (None if posix_names else _unportable(part))
        if problem:
            where = "" if part == text else f": the part {_shown(part)}"
            raise SeedError(f"path {_shown(text)}{where} {problem}")
    return text


def check_distinct(paths: Iterable[str], posix_names: bool = False) -> None:
    """Refuse paths that cannot stand side by side in one directory: each is a file or an empty directory, so none may
    equal another or lie inside it, nor, without ``posix_names``, differ from another in case or Unicode composition
    only. Raises `SeedError`."""
    for problem in _collisions(paths, posix_names):
        raise SeedError(problem)


def path_problems(paths: Iterable[str], posix_names: bool = False) -> Iterator[str]:
    """All that is wrong with the ``paths`` of a tree, one after another: what `check_path` and `check_distinct` say."""
    right = []
    for path in paths:
        try:
            right.append(check_path(path, posix_names))
        except SeedError as error:
            yield str(error)
    yield from _collisions(right, posix_names)


def _collisions(paths: Iterable[str], posix_names: bool) -> Iterator[str]:
    # With the separator sorted before every other character, what lies inside a path directly follows it.
    keyed = sorted(((path if posix_names else _folded(path)).replace("/", "\0"), path) for path in paths)
    previous, previous_path = None, ""
    for key, path in keyed:
        if previous is not None and key.startswith(previous):
            if key == previous:
                same = "twice" if path == previous_path else "in two spellings that some file systems treat as one"
                yield f"path {_shown(path)} is there {same} ({_shown(previous_path)})"
            elif key[len(previous)] == "\0":
                yield f"path {_shown(path)} lies inside {_shown(previous_path)}, which has no room for it"
        previous, previous_path = key, path


def _problem(name: str) -> str | None:
    """What keeps one name from being stored anywhere, as the end of a sentence."""
    if not name:
        return "is empty"
    if name in (".", ".."):
        return "points elsewhere"
    if "/" in name:
        return "contains a path separator"
    if "\0" in name:
        return "contains a NUL"
    if _SURROGATE.search(name):
        return "is not valid Unicode"
    if len(name) > NAME_BYTES_MAX or _utf8_length(name) > NAME_BYTES_MAX:
        return f"is over {NAME_BYTES_MAX} bytes long"
    return None


def _unportable(name: str) -> str | None:
    """What keeps one name from being stored on every system, as the end of a sentence."""
    if _CONTROL.search(name):
        return "contains a control character"
    found = _WINDOWS.search(name)
    if found:
        return f"contains {found[0]!r}, which Windows cannot store"
    if name[-1] in ". ":
        return "ends in a dot or a space"
    if name.partition(".")[0].rstrip(" ").upper() in _RESERVED:
        return "is reserved by Windows"
    return None


def _utf8_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


def _folded(path: str) -> str:
    """The same for paths that some file system takes for one: Unicode's canonical caseless matching (D145)."""
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())


def _shown(text: str) -> str:
    """A name as an error shows it: on one line, not too long."""
    return ascii(text) if len(text) <= 80 else f"{text[:77]!a}..."
