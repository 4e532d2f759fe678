"""What a person names on the command line: paths to share, targets to get, a directory to put them in."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from protocol.errors import DiskError, NotFoundError, SeedError, UsageError
from protocol.limits import PATTERN_BYTES_MAX, SEED_BYTES_MAX
from service.paths import absolute_path, expanded
from service.text import unescaped

LINK_SCHEME = "zswarm://"
SEED_SUFFIX = ".seed"


class GetTarget(Struct, frozen=True):
    """``text`` as given; ``seed`` the canonical manifest when it is a seed file, else empty; ``name`` and ``digest`` of
    the content are empty when only the peer can find them out; ``hint`` is added to the error when nobody has it;
    ``tracker`` is the one that a link names, ``signature`` that of a seed file."""

    text: str
    seed: bytes = b""
    name: str = ""
    digest: str = ""
    hint: str = ""
    tracker: str = ""
    signature: bytes = b""


def existing_path(path: str) -> Path:
    """`absolute_path` of something that exists; `NotFoundError` otherwise."""
    found = absolute_path(path)
    if not os.path.lexists(found):
        raise NotFoundError(f"{path}: no such file or directory")
    return found


def prepare_directory(place: Path, option: str = "-o") -> Path:
    """``place``, which ``option`` gave, as an existing directory, made if missing; `DiskError` when that cannot be."""
    try:
        place.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise DiskError(_no_directory(place, option)) from None
    except OSError as error:
        raise DiskError(f"cannot make directory {place}: {error.strerror}") from error
    if not os.access(place, os.W_OK | os.X_OK):
        raise DiskError(f"cannot write to {place}; choose another directory with {option}")
    return place


def _no_directory(place: Path, option: str) -> str:
    """What is in the way of the directory ``place``."""
    found = next(path for path in (place, *place.parents) if os.path.lexists(path))
    if found.is_symlink() and not found.exists():
        link = f"{found} is a symbolic link to {found.readlink()}, which does not exist"
        return f"{link}; create that, or choose another {option}"
    return f"{found} is a file; {option} takes the directory to put the download in"


def read_target(text: str) -> GetTarget:
    """A seed file if there is one of that name, otherwise a link, digest or name, as it is or as it was shown.

    A file that is no seed is an error only where ``text`` cannot be anything else: `SeedError`. So is an empty
    ``text``: `UsageError`.
    """
    from protocol.link import parse_link

    if not text.strip():
        raise UsageError("the name to get is empty")
    if text.startswith(LINK_SCHEME):
        link = parse_link(text)
        return GetTarget(text, name=link.name, digest=link.digest, tracker=link.tracker)
    if "/" not in text:
        check_pattern(text)
    path = expanded(text)
    must_be_file = "/" in text or text.endswith(SEED_SUFFIX)
    if not path.is_file():
        if "/" in text:
            raise NotFoundError(f"{text}: no such seed file")
        return GetTarget(unescaped(text))
    try:
        return _from_seed(text, path)
    except SeedError as error:
        if must_be_file:
            raise SeedError(f"{text}: not a usable seed: {error}") from None
        return GetTarget(text, hint=f" (the file of that name here is not a seed: {error})")


def check_pattern(text: str) -> None:
    """`UsageError` when ``text`` is longer than what the tracker can be asked for."""
    if len(text.encode()) > PATTERN_BYTES_MAX:
        raise UsageError(f"'{text[:40]}...' is too long for a name: at most {PATTERN_BYTES_MAX} bytes")


def read_seed_file(path: Path) -> bytes:
    """The bytes of a seed file, any format; `SeedError` when it is larger than any seed, `NotFoundError`."""
    try:
        with path.open("rb") as file:
            data = file.read(SEED_BYTES_MAX + 1)
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such file") from None
    except OSError as error:
        raise DiskError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > SEED_BYTES_MAX:
        raise SeedError(f"larger than any seed ({SEED_BYTES_MAX >> 20} MiB)")
    return data


def _from_seed(text: str, path: Path) -> GetTarget:
    from protocol.manifest import encode_manifest
    from protocol.seed_formats import parse_seed

    seed = parse_seed(read_seed_file(path))
    return GetTarget(text, encode_manifest(seed.manifest), seed.name, seed.manifest.digest, signature=seed.signature)


def check_places(targets: Sequence[GetTarget]) -> None:
    """Raise `UsageError` when different contents would get one name, as far as that is known here."""
    named: dict[str, GetTarget] = {}
    for target in targets:
        first = named.setdefault(target.name, target) if target.name else target
        if first.digest != target.digest:
            raise UsageError(
                f"{first.text} and {target.text} are different contents, and both would be called {target.name}; "
                "get them one after another, to different directories with -o"
            )
