"""What the system knows of a TCP connection that libzmq has, and of the memory of this process."""

from __future__ import annotations

import array
import ctypes
import fcntl
import os
import socket as sockets
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from protocol.endpoints import ip_of

_TCP_INFO = struct.Struct("=52xI72xQ")
"""``tcpi_last_data_recv`` (milliseconds) and ``tcpi_bytes_received`` of ``struct tcp_info``."""
_STATM = Path("/proc/self/statm")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class TcpInfo(NamedTuple):
    """``silent_seconds``: how long ago something came. ``read_bytes``: of what came, as much as libzmq has read."""

    silent_seconds: float
    read_bytes: int


def tcp_info(fd: int) -> TcpInfo | None:
    """Of the connection ``fd``; None when it has ended meanwhile."""
    waiting = array.array("i", [0])
    try:
        with _borrowed(fd) as borrowed:
            info = borrowed.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_INFO, _TCP_INFO.size)
            fcntl.ioctl(fd, termios.FIONREAD, waiting)
    except OSError:
        return None
    if len(info) < _TCP_INFO.size:
        return None
    milliseconds, came = _TCP_INFO.unpack(info)
    return TcpInfo(milliseconds / 1_000, came - waiting[0])


def address_of(fd: int) -> str:
    """Where connection ``fd`` comes from, as `transport.sockets.peer_address` has it; empty when it has ended."""
    try:
        with _borrowed(fd) as borrowed:
            return str(ip_of(borrowed.getpeername()[0]) or "")
    except OSError:
        return ""


def shut_down(fd: int) -> None:
    """libzmq reads the end of connection ``fd``, and closes it; `OSError` when it has ended already."""
    with _borrowed(fd) as borrowed:
        borrowed.shutdown(sockets.SHUT_RDWR)


class Memory(NamedTuple):
    """Of this process: what it has in memory, and what counts against its limit (``ulimit -d``), in bytes."""

    resident: int
    data: int


def memory() -> Memory:
    fields = _STATM.read_bytes().split()
    return Memory(int(fields[1]) * _PAGE_BYTES, int(fields[5]) * _PAGE_BYTES)


def give_back_memory() -> None:
    """Have the allocator return what is free to the system, if it is glibc's."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


@contextmanager
def _borrowed(fd: int) -> Iterator[sockets.socket]:
    """``fd`` as a socket that is not closed; with room for an address of either family."""
    borrowed = sockets.socket(sockets.AF_INET6, sockets.SOCK_STREAM, 0, fileno=fd)
    try:
        yield borrowed
    finally:
        borrowed.detach()
