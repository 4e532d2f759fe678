"""zswarm from Python: share, get and list through a peer of this machine, as the command line does.

`Peer` is the peer that runs on the data directory. If none is running, the program gets one of its own, which ends when
the `Peer` is closed; no other program can use that one. ``share`` and ``get`` return a `Job` at once:

>>> import zswarm
>>> with zswarm.Peer() as peer:
...     shared = peer.share("model.bin").wait()
...     print(shared.name, shared.length, shared.link == peer.status().shared[0].link)
...     print([(content.name, content.have) for content in peer.list("*.bin")])
model.bin 1000000 True
[('model.bin', 1)]

`Job.wait` returns the `Outcome`, or raises what went wrong. Iterating over a job yields its `Progress`; ``get`` also
takes a function ``progress``, which is called with each:

>>> import threading
>>> there, done = threading.Event(), threading.Event()
>>> def another_machine():
...     with zswarm.Peer("other-data") as peer:
...         peer.share("model.bin").wait()
...         there.set()
...         done.wait()
>>> thread = threading.Thread(target=another_machine)
>>> thread.start()
>>> there.wait()
True
>>> with zswarm.Peer() as peer:
...     for progress in peer.get("model.bin", to="copies"):
...         percent = 100 * progress.done_bytes // progress.length if progress.length else 0
...     print(progress.phase, percent)
...     copy = peer.get("model.bin", to="more-copies", progress=lambda progress: None).wait(timeout=60)
...     print(copy.verified, copy.path.endswith("/more-copies/model.bin"))
...     try:
...         peer.get("no-such.bin").wait()
...     except zswarm.NotFoundError as error:
...         print(error)
done 100
True True
nobody in the network has no-such.bin
>>> done.set()
>>> thread.join()

Errors are `Error` and its subclasses; ``str`` of one says what happened and what to do. Sizes are in bytes, rates in
bytes a second, times in seconds.
"""

from node.api_messages import StatusReport
from node.client.view import Outcome
from protocol.errors import (
    ConfigError,
    DiskError,
    NetworkError,
    NotFoundError,
    SeedError,
    SignatureError,
    UsageError,
    VerificationError,
)
from protocol.errors import ZswarmError as Error
from protocol.messages import PeerEntry, TorrentEntry
from zswarm.peer import Job, Peer, Progress

__all__ = [
    "ConfigError",
    "DiskError",
    "Error",
    "Job",
    "NetworkError",
    "NotFoundError",
    "Outcome",
    "Peer",
    "PeerEntry",
    "Progress",
    "SeedError",
    "SignatureError",
    "StatusReport",
    "TorrentEntry",
    "UsageError",
    "VerificationError",
]
