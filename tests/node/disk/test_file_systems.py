"""node.disk.file_systems: the mount of a path, and its links one at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.disk import file_systems
from node.disk.file_systems import Mount, follow_link, mount_of

TABLE = r"""27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
31 27 0:25 / /mnt/nfs rw,relatime shared:1 - nfs4 server:/export rw
32 27 0:26 / /mnt/my\040disk rw - xfs /dev/sdb rw
33 27 0:27 / /run rw master:7 propagate_from:2 - tmpfs tmpfs rw
34 27 0:28 / /home rw - autofs /etc/auto.home rw
35 34 0:29 / /home rw - nfs server:/home rw
"""


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "mountinfo"
    path.write_text(TABLE)
    monkeypatch.setattr(file_systems, "_TABLE", path)
    return path


@pytest.mark.parametrize(
    ("path", "mount"),
    [
        ("/", Mount("/", "ext4")),
        ("/mnt/nfs", Mount("/mnt/nfs", "nfs4")),
        ("/mnt/nfs/a/b", Mount("/mnt/nfs", "nfs4")),
        ("/mnt/nfs2/a", Mount("/", "ext4")),
        ("/mnt/my disk/a", Mount("/mnt/my disk", "xfs")),
        ("/run/a", Mount("/run", "tmpfs")),
        ("/home/me", Mount("/home", "nfs")),
    ],
)
@pytest.mark.usefixtures("table")
def test_a_path_is_on_the_nearest_mount_above_it(path: str, mount: Mount) -> None:
    assert mount_of(path) == mount


def test_without_a_table_nothing_is_known(table: Path) -> None:
    table.unlink()
    assert mount_of("/a") == Mount("/", "")
    assert not mount_of("/a").is_in_memory
    assert not mount_of("/a").is_cached


def test_the_table_of_this_machine_is_read(tmp_path: Path) -> None:
    assert Path(mount_of(str(tmp_path)).point).stat().st_dev == tmp_path.stat().st_dev
    assert mount_of("/proc/self/stat").type == "proc"


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("{}/real", "{}/real/a/b"),
        ("real", "{}/real/a/b"),
        ("../{name}/./real", "{}/real/a/b"),
        ("/elsewhere/x", "/elsewhere/x/a/b"),
        ("not/there", "{}/not/there/a/b"),
    ],
)
def test_a_link_is_followed(target: str, found: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(target.format(tmp_path, name=tmp_path.name))
    for mount in (Mount("/", "ext4"), Mount(str(tmp_path), "ext4")):
        assert follow_link(f"{tmp_path}/link/a/b", mount) == found.format(tmp_path)


def test_a_path_without_links_stays(tmp_path: Path) -> None:
    for path in (str(tmp_path), f"{tmp_path}/not/there"):
        assert follow_link(path, mount_of(path)) == path
    assert follow_link("/", Mount("/", "ext4")) == "/"


def test_what_is_above_the_mount_is_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("real")
    path = f"{tmp_path}/link/a"
    assert follow_link(path, Mount(f"{tmp_path}/link", "nfs")) == path
