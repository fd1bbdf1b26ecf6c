"""Which file system a path is on."""

from __future__ import annotations

from pathlib import Path

import pytest

from aepo.tools import mounts
from aepo.tools.mounts import file_system, network_file_system

TABLE = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
23 22 0:5 / /proc rw - proc proc rw
40 22 0:40 / /home rw,relatime shared:20 - nfs4 server:/home rw,vers=4.2
41 40 0:41 / /home/me/local rw - tmpfs tmpfs rw
42 22 0:42 / /mnt/my\040disk rw - fuse.sshfs me@server: rw
43 22 0:43 / /mnt/twice rw - nfs server:/a rw
44 22 254:1 / /mnt/twice rw - xfs /dev/vdb rw
45 22 254:1 / /hom rw master:2 propagate_from:1 - cifs //server/share rw
a line that means nothing
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/var/cache/x", "ext4"),
        ("/home", "nfs4"),
        ("/home/me/x.sqlite", "nfs4"),
        ("/home/me/local/x.sqlite", "tmpfs"),
        ("/mnt/my disk/x", "fuse.sshfs"),
        ("/mnt/twice/x", "xfs"),
        ("/hom/x", "cifs"),
        ("/homely/x", "ext4"),
    ],
)
def test_a_path_is_on_the_mount_that_is_deepest_and_newest(path: str, kind: str) -> None:
    assert file_system(Path(path), TABLE) == kind


def test_an_empty_table_says_nothing() -> None:
    assert file_system(Path("/x"), "") is None


@pytest.mark.parametrize(
    ("kind", "network"),
    [
        *[(kind, True) for kind in ("nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "9p", "ceph", "gpfs", "afs")],
        *[(kind, True) for kind in ("fuse.sshfs", "fuse.s3fs", "fuse.glusterfs", "fuse.rclone", "fuse.juicefs")],
        *[(kind, False) for kind in ("ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs", "fuseblk", "fuse.mergerfs")],
    ],
)
def test_network_file_systems_are_known(
    kind: str, network: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(f"1 1 0:1 / / rw - {kind} x rw\n")
    monkeypatch.setattr(mounts, "MOUNTS", table)
    assert network_file_system(tmp_path / "x") == (kind if network else None)


def test_a_link_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to(tmp_path / "far")
    table = tmp_path / "mountinfo"
    table.write_text(f"1 1 0:1 / / rw - ext4 x rw\n2 1 0:2 / {tmp_path.resolve()}/far rw - nfs x rw\n")
    monkeypatch.setattr(mounts, "MOUNTS", table)
    assert network_file_system(tmp_path / "near" / "x") == "nfs"


def test_where_there_is_no_table_nobody_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "MOUNTS", tmp_path / "none")
    assert network_file_system(tmp_path) is None
