"""nginx with sendfile, and a program for each receiver: what people do without any of this.

curl verifies nothing. aria2 fetches over several connections and checks a SHA-256 of the whole at the end.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from benchmarks.contenders.contender import (
    ROUND_SECONDS,
    START_SECONDS,
    ContenderError,
    Round,
    Task,
    children_cpu,
    cpu_seconds,
    directories,
    remove_copies,
)
from cluster.local import free_ports
from cluster.processes import HERE

PAUSE_SECONDS = 0.05
CURL = ("curl", "--silent", "--show-error", "--fail", "--max-time", str(int(ROUND_SECONDS)))
ARIA2 = (
    *("aria2c", "--quiet", "--no-conf", "--split=4", "--max-connection-per-server=4", "--min-split-size=4M"),
    *("--file-allocation=none", "--check-integrity=true", f"--timeout={int(ROUND_SECONDS)}"),
)
DEBIAN = {"nginx": "nginx-light", "aria2c": "aria2"}
"""Packages that are not called as their programs."""
CONFIGURATION = """\
daemon off;
{user}
worker_processes {workers};
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    sendfile_max_chunk 0;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{ listen {host}:{port}; location / {{ root {root}; }} }}
}}
"""


class NginxCurl:
    name = "nginx + curl"
    verifies = "nothing"

    def missing(self) -> str:
        return _to_install("nginx", "curl")

    @contextmanager
    def start(self, task: Task) -> Iterator[RunningNginx]:
        with _nginx(task) as (pids, url):
            yield RunningNginx(task, pids, [*CURL, url, "--output"])


class NginxAria2:
    name = "nginx + aria2"
    verifies = "whole"

    def missing(self) -> str:
        return _to_install("nginx", "curl", "aria2c")

    @contextmanager
    def start(self, task: Task) -> Iterator[RunningNginx]:
        with task.content.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        with _nginx(task) as (pids, url):
            yield RunningNginx(task, pids, [*ARIA2, f"--checksum=sha-256={digest}", url, "--dir=/", "--out"])


class RunningNginx:
    """``command`` is followed by the path of the copy."""

    def __init__(self, task: Task, pids: list[int], command: list[str]) -> None:
        self._pids, self._command = pids, command
        self._copies = [directory / task.content.name for directory in directories(task)]

    def run(self) -> Round:
        before, children_before = cpu_seconds(self._pids), children_cpu()
        began = time.monotonic()
        started = [subprocess.Popen([*self._command, str(copy)], stdout=subprocess.DEVNULL) for copy in self._copies]
        codes = [process.wait() for process in started]
        seconds = time.monotonic() - began
        if any(codes):
            raise ContenderError(f"{self._command[0]} ended with {codes}")
        cpu = cpu_seconds(self._pids) - before + children_cpu() - children_before
        return Round(seconds, cpu, self._copies)

    def clear(self) -> None:
        remove_copies(self._copies)


@contextmanager
def _nginx(task: Task) -> Iterator[tuple[list[int], str]]:
    """Its process ids and the address of the content."""
    directory = task.directory / "nginx"
    directory.mkdir()
    port = free_ports(1)
    configuration = directory / "nginx.conf"
    configuration.write_text(
        CONFIGURATION.format(
            user="user root;" if os.geteuid() == 0 else "",
            workers=os.cpu_count(),
            directory=directory,
            host=HERE.address,
            port=port,
            root=task.content.parent,
        )
    )
    errors = directory / "error.log"
    program = _program("nginx")
    assert program is not None
    server = subprocess.Popen([program, "-e", str(errors), "-c", str(configuration)], process_group=0)
    try:
        deadline = time.monotonic() + START_SECONDS
        url = f"http://{HERE.address}:{port}/{task.content.name}"
        while subprocess.run(["curl", "--silent", "--head", "--fail", "-o", "/dev/null", url], check=False).returncode:
            if server.poll() is not None or time.monotonic() > deadline:
                raise ContenderError(f"nginx does not serve: {errors.read_text() if errors.exists() else ''}")
            time.sleep(PAUSE_SECONDS)
        workers = psutil.Process(server.pid).children()
        yield [server.pid, *(worker.pid for worker in workers)], url
    finally:
        server.terminate()
        server.wait()


def _to_install(*names: str) -> str:
    absent = [DEBIAN.get(name, name) for name in names if _program(name) is None]
    return f"apt install {' '.join(absent)}" if absent else ""


def _program(name: str) -> str | None:
    """Debian has nginx where only root looks for programs."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
