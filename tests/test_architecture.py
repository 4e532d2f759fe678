"""The architecture, kept: who may import whom, what a pure module must not touch, what a child process must not load.

Works on the source: nothing is imported. The rules are those of docs/ARCHITECTURE.md.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]

MAY_IMPORT = {
    "protocol": {"protocol"},
    "transport": {"transport", "protocol"},
    "service": {"service", "transport", "protocol"},
    "broker": {"broker", "service", "transport", "protocol"},
    "node": {"node", "broker", "service", "transport", "protocol"},
    "zswarm": {"zswarm", "node", "service", "transport", "protocol"},
    "cluster": {"cluster", "node", "broker", "service", "transport", "protocol"},
    "benchmarks": {"benchmarks", "cluster", "node", "broker", "service", "transport", "protocol"},
}
"""By package, the packages of ours that its modules may import. Nothing here imports tests."""
OURS = {*MAY_IMPORT, "tests", "run_cluster"}

PURE = (
    *("broker.events", "broker.registry", "broker.registrar_core", "broker.replica", "broker.queries"),
    *(
        "node.downloader.pieces",
        "node.downloader.source",
        "node.downloader.download",
        "node.piece_server.uploads",
        "node.rate_limit",
        "node.agent.membership",
        "node.disk.layout",
    ),
)
"""Pure besides all of ``protocol`` and every module whose docstring says "Pure"."""

IMPURE = {
    *("asyncio", "concurrent", "ctypes", "fcntl", "glob", "io", "logging", "mmap", "multiprocessing", "os", "pathlib"),
    *("queue", "secrets", "select", "selectors", "shutil", "signal", "socket", "sqlite3", "subprocess", "sys"),
    *("tempfile", "threading", "time", "uuid", "zmq"),
}
ALLOWED_NAMES = {("pathlib", "PurePath"), ("pathlib", "PurePosixPath")}
IMPURE_BUILTINS = {"open", "print", "input"}

CHILDREN = (
    *("node.agent.__main__", "node.piece_server.__main__", "node.downloader.__main__"),
    *("broker.registrar", "broker.lookup", "broker.web.__main__", "node.metrics.__main__", "cluster.load.worker"),
)
HEAVY = {"rich", "click", "psutil", "yaml"}


class Import(NamedTuple):
    """``module`` as written; ``names`` taken from it, none for a plain import."""

    module: str
    names: tuple[str, ...]
    line: int


@cache
def sources() -> dict[str, Path]:
    """Every module of the packages above, by dotted name; a package itself by its name."""
    found = {}
    for package in MAY_IMPORT:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def parsed(module: str) -> ast.Module:
    return ast.parse(sources()[module].read_text(encoding="utf-8"))


@cache
def imports(module: str) -> list[Import]:
    """All import statements, those inside functions and those for types alone included."""
    found = []
    for node in ast.walk(parsed(module)):
        if isinstance(node, ast.Import):
            found += [Import(alias.name, (), node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: imports are written out in full"
            found.append(Import(node.module or "", tuple(alias.name for alias in node.names), node.lineno))
    return found


def reached_from(module: str) -> dict[str, str]:
    """Every module that ``module`` imports, directly or not, and through which one it does."""
    reached: dict[str, str] = {}
    waiting = [module]
    while waiting:
        current = waiting.pop()
        for found in imports(current):
            for name in (found.module, *(f"{found.module}.{taken}" for taken in found.names)):
                if name not in reached and (name in sources() or name == found.module):
                    reached[name] = current
                    if name in sources():
                        waiting.append(name)
    return reached


def is_pure(module: str) -> bool:
    if module in PURE or module.split(".")[0] == "protocol":
        return True
    return re.search(r"\bPure\b", ast.get_docstring(parsed(module)) or "") is not None


def impurities(module: str) -> Iterator[str]:
    for found in imports(module):
        top = found.module.partition(".")[0]
        if top in IMPURE and not (found.names and all((found.module, name) in ALLOWED_NAMES for name in found.names)):
            yield f"line {found.line} imports {found.module}"
        if found.module == "random" and any(name != "Random" for name in found.names):
            yield f"line {found.line} takes the module's own randomness"
    for node in ast.walk(parsed(module)):
        match node:
            case ast.Attribute(value=ast.Name(id="random"), attr=attr) if attr != "Random" and _imports_random(module):
                yield f"line {node.lineno} uses random.{attr}"
            case ast.Call(func=ast.Name(id=name)) if name in IMPURE_BUILTINS:
                yield f"line {node.lineno} calls {name}()"


def _imports_random(module: str) -> bool:
    return any(found.module == "random" and not found.names for found in imports(module))


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_packages_import_only_what_is_below_them(package: str) -> None:
    wrong = [
        f"{module}:{found.line} imports {found.module}"
        for module in sources()
        if module.split(".")[0] == package
        for found in imports(module)
        if found.module.split(".")[0] in OURS - MAY_IMPORT[package]
    ]
    assert wrong == [], "\n".join(wrong)


def test_of_a_peer_only_what_runs_a_tracker_imports_it() -> None:
    importers = {
        module
        for module in sources()
        if module.split(".")[0] == "node"
        for found in imports(module)
        if found.module.split(".")[0] == "broker"
    }
    assert importers == {"node.own_tracker"}


def test_no_module_reaches_itself() -> None:
    """Not for types alone either: of two modules that import each other neither is understood without the other."""
    assert [module for module in sources() if module in reached_from(module)] == []


def test_pure_modules_touch_nothing_outside() -> None:
    wrong = [f"{module}: {what}" for module in sources() if is_pure(module) for what in impurities(module)]
    assert wrong == [], "\n".join(wrong)


@pytest.mark.parametrize("module", PURE)
def test_named_modules_exist(module: str) -> None:
    assert module in sources()


@pytest.mark.parametrize("child", CHILDREN)
def test_children_start_lean(child: str) -> None:
    through = reached_from(child)
    assert {name: via for name, via in through.items() if name.partition(".")[0] in HEAVY} == {}


def test_what_is_installed_has_all_it_imports() -> None:
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages = {pattern.removesuffix("*") for pattern in setup["packages"]["find"]["include"]}
    assert packages == MAY_IMPORT["zswarm"] | MAY_IMPORT["node"]
    assert all((path.parent / "__init__.py").exists() for path in sources().values())
    files = [path for package in packages for path in (ROOT / package).rglob("*") if path.is_file()]
    data = {ROOT / package / name for package, names in setup["package-data"].items() for name in names}
    assert {path for path in files if path.suffix not in (".py", ".pyc")} == data
    assert setup["dynamic"]["dependencies"]["file"] == ["requirements.txt"]


WEB_LIBRARIES = {"starlette", "uvicorn", "jinja2", "prometheus_client"}
WEB = ("broker.web", "node.metrics", "service.web")


def test_only_the_processes_that_serve_http_have_its_libraries() -> None:
    """If one of them fails, or takes long to import, the tracker and its peers do not."""
    importers = {module for module in sources() for found in imports(module) if _is_of_the_web(found)}
    assert [module for module in importers if module.rpartition(".")[0] not in WEB] == []
    assert "asyncio" not in {name.partition(".")[0] for child in CHILDREN for name in _reached_elsewhere(child)}


def _is_of_the_web(found: Import) -> bool:
    own = (found.module == package or found.module.startswith(f"{package}.") for package in WEB)
    return found.module.partition(".")[0] in WEB_LIBRARIES or any(own)


def _reached_elsewhere(child: str) -> dict[str, str]:
    return {} if child.rpartition(".")[0] in WEB else reached_from(child)


def test_supervisor_has_no_sockets() -> None:
    through = reached_from("service.supervisor")
    assert {name: via for name, via in through.items() if name.partition(".")[0] == "zmq"} == {}


def test_the_wall_clock_is_read_only_where_a_person_or_an_epoch_needs_it() -> None:
    """It jumps: durations and deadlines are differences of the monotonic clock, but for invites, which expire in days,
    through restarts. Signatures have its moments."""
    sources = [path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py")]
    found = {str(path.relative_to(ROOT)) for path in sources if re.search(r"\btime\.time\(", path.read_text())}
    expiry, signed = "service/key_folder.py", "service/signing_keys.py"
    assert found == {"broker/tracker.py", "node/agent/__main__.py", "node/cli/rollout.py", expiry, signed}
