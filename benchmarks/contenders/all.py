"""Everybody `benchmarks.versus` can measure, ours first."""

from __future__ import annotations

from benchmarks.contenders.contender import Kind
from benchmarks.contenders.floor import Floor
from benchmarks.contenders.libtorrent import Libtorrent
from benchmarks.contenders.nginx import NginxAria2, NginxCurl
from benchmarks.contenders.zswarm import Zswarm

KINDS: tuple[Kind, ...] = (Zswarm(), Floor(), NginxCurl(), NginxAria2(), Libtorrent())
