"""``seed`` and ``verify``: no peer, real files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from node.disk.hashing import make_seed
from protocol.link import parse_link
from protocol.seed_formats import parse_seed
from tests.node.cli.fakes import World


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.bin").write_bytes(bytes(range(256)) * 2000)
    (tmp_path / "tree/below").mkdir(parents=True)
    (tmp_path / "tree/below/a").write_bytes(b"a")
    (tmp_path / "tree/b").write_bytes(b"b" * 300_000)
    return tmp_path


def test_a_file_gets_a_text_seed_beside_where_one_stands(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert World().run("seed", "model.bin") == 0
    assert (here / "model.bin.seed").read_bytes() == make_seed(here / "model.bin")
    out = capsys.readouterr().out
    assert out.startswith(f"{here}/model.bin.seed  model.bin, 500.0 KiB in 8 pieces, blake3:")


def test_a_directory_gets_a_msgpack_seed(here: Path) -> None:
    assert World().run("seed", "tree", "-o", "t.seed", "--hash", "sha256") == 0
    seed = parse_seed((here / "t.seed").read_bytes())
    assert (seed.name, seed.manifest.algorithm, seed.manifest.length) == ("tree", "sha256", 300_001)


def test_seed_to_standard_output(here: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert World().run("seed", "model.bin", "-o", "-", "-q") == 0
    assert capfdbinary.readouterr().out == make_seed(here / "model.bin")
    assert not (here / "model.bin.seed").exists()


def test_seed_json_has_the_link(capsys: pytest.CaptureFixture[str]) -> None:
    assert World().run("seed", "model.bin", "--format", "msgpack", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["format"] == "msgpack"
    link, seed = parse_link(found["link"]), parse_seed(Path(found["seed"]).read_bytes())
    assert link.digest == found["digest"] == seed.manifest.digest
    assert link.name == found["name"] == seed.name == "model.bin"


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["missing"], 3),
        (["tree", "--format", "text"], 2),
        (["model.bin", "-o", "missing/x.seed"], 3),
        (["model.bin", "-o", "tree"], 6),
        (["model.bin", "-o", "tree/b"], 6),
        (["model.bin", "--json", "-o", "-"], 2),
        (["model.bin", "--format", "xml"], 2),
    ],
)
def test_what_seed_refuses(here: Path, argv: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(here.rglob("*"))
    assert World().run("seed", *argv) == code
    assert sorted(here.rglob("*")) == before
    assert capsys.readouterr().err.startswith("error: ")


def test_seed_replaces_only_with_force(here: Path) -> None:
    (here / "x.seed").write_text("mine")
    assert World().run("seed", "model.bin", "-o", "x.seed") == 6
    assert (here / "x.seed").read_text() == "mine"
    assert World().run("seed", "model.bin", "-o", "x.seed", "--force") == 0
    assert parse_seed((here / "x.seed").read_bytes()).name == "model.bin"


def test_seed_never_replaces_what_is_no_file(here: Path) -> None:
    os.mkfifo(here / "pipe")
    assert World().run("seed", "model.bin", "-o", "pipe", "--force") == 6
    assert (here / "pipe").is_fifo()


@pytest.mark.parametrize("path", ["model.bin", "tree"])
def test_verify_of_right_content(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert World().run("seed", path, "-o", "x.seed", "-q") == 0
    assert World().run("verify", path, "x.seed") == 0
    assert "matches the seed" in capsys.readouterr().out


def test_verify_names_what_differs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert World().run("seed", "tree", "-o", "x.seed", "-q") == 0
    (here / "tree/below/a").unlink()
    assert World().run("verify", "tree", "x.seed") == 5
    captured = capsys.readouterr()
    assert "below/a" in captured.out
    last = captured.err.splitlines()[-1]
    assert last.startswith(f"error: {here}/tree does not match x.seed")
    assert last.endswith(f"fetch it again with: get x.seed -o {here} --force"), "to where it is"


def test_verify_tells_what_the_seed_does_not_name(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "tree/hollow").mkdir()
    assert World().run("seed", "tree", "-o", "x.seed", "-q") == 0
    assert World().run("verify", "tree", "x.seed") == 0
    assert capsys.readouterr().err.count("note") == 0
    (here / "tree/below").rename(here / "elsewhere")
    (here / "tree/below").symlink_to(here / "elsewhere")
    for name in ("d", "c", "below/x", "e"):
        (here / "tree" / name).write_text("more")
    (here / "tree/empty").mkdir()
    assert World().run("verify", "tree", "x.seed") == 0
    captured = capsys.readouterr()
    assert "matches the seed" in captured.out
    assert f"note: {here}/tree also has 4 entries not in the seed: c, d, e, ...; 'get' takes" in captured.err
    assert World().run("verify", "tree", "x.seed", "--json") == 0
    assert json.loads(capsys.readouterr().out)["extra"] == ["c", "d", "e", "empty"]


def test_verify_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert World().run("seed", "model.bin", "-o", "x.seed", "-q") == 0
    assert capsys.readouterr().out == f"{here / 'x.seed'}\n"
    (here / "model.bin").write_bytes(b"other")
    assert World().run("verify", "model.bin", "x.seed", "--json") == 5
    found = json.loads(capsys.readouterr().out)
    assert not found["ok"]
    assert found["problems"]


@pytest.mark.parametrize(("name", "code"), [("missing.seed", 3), ("tree/b", 2)])
def test_verify_without_a_usable_seed(name: str, code: int) -> None:
    assert World().run("verify", "model.bin", name) == code


def test_quiet_commands_print_a_path_at_most(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert World().run("seed", "tree", "-o", "x.seed", "-q") == 0
    assert World().run("verify", "tree", "x.seed", "-q") == 0
    assert capsys.readouterr() == (f"{here / 'x.seed'}\n", "")


def test_progress_without_a_terminal_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    assert World().run("seed", "model.bin") == 0
    err = capsys.readouterr().err
    assert "model.bin: hashing" in err
    assert "\x1b" not in err
    assert "\r" not in err
