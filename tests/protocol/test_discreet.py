"""`protocol.discreet`: whoever shows a struct shows no secret. Which structs have one is found in the source."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.config import PeerSettings
from node.identity import Identity
from protocol.discreet import HIDDEN, SECRET_FIELDS, Discreet
from protocol.keys import Invite, format_invite
from protocol.messages import Join
from service.signing_keys import SigningKey
from transport.curve import KeyPair

ROOT = Path(__file__).parents[2]
PACKAGES = ("protocol", "transport", "service", "broker", "node", "zswarm", "cluster", "benchmarks")
KEY, SECRET = "a1" * 32, "5ec7e7" * 10 + "5ec7"
TOKEN = b"5ec7e7" * 4
OF_PUBLIC_KEYS = {("service.key_folder", "Member"), ("node.enrolment", "Network")}
"""Their ``invite`` is the public key of one."""


def with_secrets() -> Iterator[tuple[str, str]]:
    """Module and name of each class with a field that is named as a secret."""
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            for found in ast.parse(path.read_text(encoding="utf-8")).body:
                fields = found.body if isinstance(found, ast.ClassDef) else []
                targets = [field.target for field in fields if isinstance(field, ast.AnnAssign)]
                names = {target.id for target in targets if isinstance(target, ast.Name)}
                if isinstance(found, ast.ClassDef) and names & SECRET_FIELDS:
                    yield module, found.name


def test_every_class_with_a_secret_is_discreet() -> None:
    found = set(with_secrets())
    assert found >= OF_PUBLIC_KEYS
    open_ones = {
        (module, name)
        for module, name in found - OF_PUBLIC_KEYS
        if not issubclass(getattr(importlib.import_module(module), name), Discreet)
    }
    assert open_ones == set()


@pytest.mark.parametrize(
    "struct",
    [
        Invite("tcp://10.0.0.1:5550", KEY, SECRET),
        KeyPair(KEY, SECRET),
        SigningKey(Path("release.key"), SECRET.encode(), KEY),
        Identity(TOKEN, SECRET),
        PeerSettings(invite=format_invite(Invite("tcp://10.0.0.1:5550", KEY, SECRET))),
        Join(1, "peer", TOKEN, "name", "tcp://*:1"),
    ],
    ids=lambda struct: type(struct).__name__,
)
def test_it_shows_everything_else(struct: object) -> None:
    shown = repr([struct])
    assert "5ec7" not in shown
    assert shown.startswith(f"[{type(struct).__name__}(")
    assert f"={HIDDEN!r}" in shown


def test_it_shows_that_there_is_none() -> None:
    assert repr(Identity(TOKEN)) == f"Identity(token={HIDDEN!r}, secret='')"
