"""What is hashed while it is written has the hash of the file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from aepo.files.hashed import HashedFile


def test_the_hash_is_that_of_the_file(tmp_path: Path) -> None:
    with HashedFile(tmp_path / "file") as file:
        assert file.write(b"abc") == 3
        assert file.write(memoryview(bytearray(range(8))).cast("I")) == 8
    assert (tmp_path / "file").read_bytes() == b"abc" + bytes(range(8))
    assert file.sha256() == hashlib.sha256((tmp_path / "file").read_bytes()).hexdigest()


def test_torch_writes_into_it_from_beginning_to_end(tmp_path: Path) -> None:
    saved = {"moments": [torch.randn(1000, 70), torch.zeros(3, dtype=torch.bfloat16)], "step": 3}
    with HashedFile(tmp_path / "file") as file:
        torch.save(saved, file)
    assert file.sha256() == hashlib.sha256((tmp_path / "file").read_bytes()).hexdigest()
    loaded = torch.load(tmp_path / "file", weights_only=True)
    assert all(torch.equal(one, other) for one, other in zip(loaded["moments"], saved["moments"], strict=True))


def test_a_disk_that_is_full_is_told(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    (tmp_path / "file").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"), HashedFile(tmp_path / "file") as file:
        torch.save({"x": torch.zeros(1 << 16)}, file)
