"""What plain TCP moves from one machine of a run to another: what content could come to at best over that link.

Measured by two programs, one on each machine, each of which is this module:

    python -m cluster.goodput receive ADDRESS COUNT     # says the port it listens on, and in the end its bytes/s
    python -m cluster.goodput send ADDRESS PORT COUNT
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack

from cluster.interrupts import shielded
from cluster.processes import Host, python_command, python_environment
from protocol.errors import NetworkError

MEASURED_SECONDS = 3.0
WARM_UP_PART = 0.25
"""Of the bytes, the first of which do not count: the links have saved up a burst, and TCP has to find their rate."""
TIMEOUT_FACTOR = 10
"""A link that moves less than this part of its rate is given up."""
CONNECT_SECONDS = 10.0
BLOCK_BYTES = 256 * 1024


def measure_goodput(sender: Host, receiver: Host, rate: float) -> float:
    """Bytes/s of one transfer over links of ``rate`` bytes/s. When it returns nothing is under way any more.

    Raises `NetworkError` when it cannot be measured.
    """
    count = str(round(MEASURED_SECONDS * rate))
    with ExitStack() as ended:
        receiving = _start(receiver, ["receive", receiver.address, count], ended)
        assert receiving.stdout is not None
        port = receiving.stdout.readline().strip()
        if port:
            _said(_start(sender, ["send", receiver.address, port, count], ended))
        return float(_said(receiving))


def _said(process: subprocess.Popen[str]) -> str:
    """All it says until it ends."""
    try:
        said, complaint = process.communicate(timeout=CONNECT_SECONDS + TIMEOUT_FACTOR * MEASURED_SECONDS)
    except subprocess.TimeoutExpired:
        complaint = "it takes too long"
    else:
        if process.returncode == 0:
            return said
    why = (complaint.splitlines() or [f"exit code {process.returncode}"])[-1]
    raise NetworkError(f"cannot measure what the links can do: {why}")


def _start(host: Host, arguments: Sequence[str], ended: ExitStack) -> subprocess.Popen[str]:
    """Killed and reaped when ``ended`` is closed."""
    with shielded():
        process = subprocess.Popen(
            [*host.within, *python_command("cluster.goodput", arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=python_environment(),
            process_group=0,
        )
        ended.callback(_end, process)
    return process


def _end(process: subprocess.Popen[str]) -> None:
    with shielded(), process:  # which closes its pipes, and waits
        process.kill()


def receive(address: str, count: int) -> float:
    """Bytes/s, without the warm-up, of ``count`` bytes that somebody sends to the port that is printed."""
    warm = round(WARM_UP_PART * count)
    received = began_with = 0
    began = ended = 0.0
    block = bytearray(BLOCK_BYTES)
    with socket.create_server((address, 0)) as server:
        server.settimeout(CONNECT_SECONDS)
        print(server.getsockname()[1], flush=True)  # noqa: T201 - for whoever started it
        connection, _ = server.accept()
    with connection:
        while taken := connection.recv_into(block):
            ended = time.monotonic()
            received += taken
            if received >= warm and not began:
                began, began_with = ended, received
    if received < count or ended == began:
        raise NetworkError(f"only {received} of {count} bytes came")
    return (received - began_with) / (ended - began)


def send(address: str, port: int, count: int) -> None:
    """``count`` bytes to that port."""
    block = bytes(BLOCK_BYTES)
    with socket.create_connection((address, port), CONNECT_SECONDS) as connection:
        for start in range(0, count, BLOCK_BYTES):
            connection.sendall(block[: count - start])


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["receive", to, count]:
            print(receive(to, int(count)))  # noqa: T201 - for whoever started it
        case ["send", to, port, count]:
            send(to, int(port), int(count))
        case _:
            sys.exit(__doc__)
