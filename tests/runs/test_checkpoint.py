import errno
import hashlib
import os
import random
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from aepo.runs import checkpoint
from aepo.runs.checkpoint import CheckpointError, CheckpointWarning
from tests.kept import step_of

SOURCE = str(Path(checkpoint.__file__).parents[2])

# Saves steps as told: two files that must agree, written in pieces, with a line on standard output at every event,
# which is every call that changes the disk.
WRITER = """
import os, shutil, signal, sys
sys.path.insert(0, {source!r})
from pathlib import Path
from aepo.runs import checkpoint

events, kill_at = 0, 0

def event(name):
    global events
    events += 1
    print(name, flush=True)
    if events == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)

def watched(name):
    real = getattr(os, name)
    def call(*args, **kwargs):
        event("before " + name)
        result = real(*args, **kwargs)
        event("after " + name)
        return result
    setattr(os, name, call)

# A kill loses nothing that the system has taken: the wait for the disk would only cost time.
os.fsync = lambda handle: None
for name in ("fsync", "rename", "unlink", "rmdir", "mkdir"):
    watched(name)

def save(folder, step, pieces):
    def write(into):
        (into / "part").mkdir()
        for name in ("model", "part/optimizer"):
            with open(into / name, "wb") as file:
                for _ in range(pieces):
                    file.write(step.to_bytes(4, "big") * 16384)
                    event("piece")
    checkpoint.save(folder, step, write, keep=2)
    event("saved " + str(step))
"""

# A process that saves on and on, to be killed from outside.
ENDLESS = """
step = int(sys.argv[2])
while True:
    save(Path(sys.argv[1]), step, 16)
    step += 1
"""

# Saves `step` after steps 1 to 3, once for every event of that save, killing itself there.
EVERY_EVENT = """
root, step = Path(sys.argv[1]), int(sys.argv[2])
for earlier in (1, 2, 3):
    save(root / "before", earlier, 1)
killed, at = True, 0
while killed:
    at += 1
    shutil.copytree(root / "before", root / str(at))
    child = os.fork()
    if child == 0:
        events, kill_at = 0, at
        save(root / str(at), step, 1)
        os._exit(0)
    killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
    print("killed" if killed else "done", at, flush=True)
"""


def writer(script, folder, step):
    code = WRITER.format(source=SOURCE) + script
    arguments = [sys.executable, "-S", "-c", code, str(folder), str(step)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def step_in(path):
    """The step that all files of a checkpoint agree on."""
    contents = [(path / name).read_bytes() for name in ("model", "part/optimizer")]
    assert len(contents[0]) == len(contents[1]) > 0
    steps = {int.from_bytes(content[i : i + 4], "big") for content in contents for i in range(0, len(content), 4)}
    assert len(steps) == 1
    return steps.pop()


def files(**texts):
    def write(into):
        for name, text in texts.items():
            (into / name).write_text(text)

    return write


def no_warning_latest(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return checkpoint.latest(folder)


def test_the_newest_are_kept_and_found(tmp_path):
    folder = tmp_path / "run" / "checkpoints"
    assert checkpoint.latest(folder) is None
    for step in (1, 2, 10):
        assert checkpoint.save(folder, step, files(model=f"of {step}")) == folder / f"step-{step:06d}"
    assert sorted(p.name for p in folder.iterdir()) == ["step-000002", "step-000010"]
    found = no_warning_latest(folder)
    assert (found.name, step_of(found)) == ("step-000010", 10)
    assert (found / "model").read_text() == "of 10"


def test_the_same_step_may_be_saved_again(tmp_path):
    checkpoint.save(tmp_path, 3, files(model="old", extra="x"), keep=1)
    checkpoint.save(tmp_path, 3, files(model="new"), keep=1)
    assert [p.name for p in tmp_path.iterdir()] == ["step-000003"]
    assert sorted(p.name for p in no_warning_latest(tmp_path).iterdir()) == ["manifest.json", "model"]
    assert (tmp_path / "step-000003" / "model").read_text() == "new"


def test_later_steps_are_left_alone(tmp_path):
    checkpoint.save(tmp_path, 9, files(model="later"), keep=1)
    checkpoint.save(tmp_path, 4, files(model="gone back"), keep=1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000004", "step-000009"]


def test_all_is_on_the_disk_before_it_is_in_place(tmp_path, monkeypatch):
    log = []
    names = {}
    real_open, real_rename = os.open, os.rename

    def opened(path, *args, **kwargs):
        handle = real_open(path, *args, **kwargs)
        names[handle] = Path(path).name
        return handle

    def renamed(old, new):
        log.append("rename")
        real_rename(old, new)

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "fsync", lambda handle: log.append(names[handle]))
    monkeypatch.setattr(os, "rename", renamed)

    def write(into):
        (into / "part").mkdir()
        (into / "part" / "optimizer").write_text("o")
        (into / "model").write_text("m")

    checkpoint.save(tmp_path, 1, write)
    assert log[:2] == ["model", "optimizer"]
    assert log[2:4] == ["manifest.json", "part"]
    assert log[4].startswith(".tmp-1-")
    assert log[5:] == ["rename", tmp_path.name]


def test_keeping_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match="keep is 0"):
        checkpoint.save(tmp_path, 1, files(model="x"), keep=0)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-2])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("harm", [truncate, flip, Path.unlink])
@pytest.mark.parametrize("name", ["model", "manifest.json"])
def test_a_damaged_checkpoint_is_passed_over_by_name(tmp_path, harm, name):
    for step in (1, 2):
        checkpoint.save(tmp_path, step, files(model="weights" * 100, state="s"))
    harm(tmp_path / "step-000002" / name)
    with pytest.warns(CheckpointWarning, match="step-000002 is passed over: "):
        assert checkpoint.latest(tmp_path).name == "step-000001"


def test_any_flipped_bit_of_the_manifest_is_noticed_or_harmless(tmp_path):
    path = checkpoint.save(tmp_path, 1, files(model="weights"))
    manifest = path / "manifest.json"
    whole = manifest.read_bytes()
    harmless = set()
    for at in range(len(whole)):
        manifest.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        if checkpoint.damage(path) is None:
            harmless.add(whole[at : at + 1])
    assert harmless <= {b" ", b"\n"}


def whole(into):
    (into / "policy").mkdir()
    for name in ("policy/model", "optimizer.pt", "state.json"):
        (into / name).write_text(f'{{"of": "{name}"}}')


def test_only_the_newest_keep_their_optimizer(tmp_path):
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, step, whole, keep=3)
    for step in (4, 5):
        checkpoint.save(tmp_path, step, whole, keep=3, keep_optimizer=2)
    assert [(tmp_path / f"step-00000{step}" / "optimizer.pt").exists() for step in (3, 4, 5)] == [False, True, True]
    assert all(checkpoint.damage(path) is None for path in tmp_path.iterdir())
    assert checkpoint.resumable(tmp_path).name == "step-000005"
    flip(tmp_path / "step-000005" / "optimizer.pt")
    with pytest.warns(CheckpointWarning, match=r"step-000005 is passed over: optimizer\.pt has changed"):
        assert checkpoint.resumable(tmp_path).name == "step-000004"


def test_what_has_no_optimizer_is_not_gone_on_from(tmp_path):
    folder = tmp_path / "checkpoints"
    for step in (1, 2):
        checkpoint.save(folder, step, whole, keep_optimizer=1)
    truncate(folder / "step-000002" / "policy" / "model")
    with pytest.warns(CheckpointWarning), pytest.raises(ValueError, match=r"step-000001 with model\.path=") as caught:
        checkpoint.resumable(folder)
    assert str(caught.value).endswith(f"model.path={tmp_path}") and "\n" not in str(caught.value)
    with pytest.warns(CheckpointWarning):
        assert checkpoint.latest(folder).name == "step-000001"
    assert checkpoint.resumable(tmp_path / "none") is None


def test_keeping_no_optimizer_is_refused(tmp_path):
    with pytest.raises(ValueError, match="keep_optimizer is 0"):
        checkpoint.save(tmp_path, 1, whole, keep_optimizer=0)


def test_an_optimizer_is_named_until_it_is_gone(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, 1, whole)
    monkeypatch.setattr(Path, "unlink", lambda *args, **kwargs: (_ for _ in ()).throw(OSError("killed here")))
    checkpoint.save(tmp_path, 2, whole, keep_optimizer=1)
    monkeypatch.undo()
    first = tmp_path / "step-000001"
    assert (first / "optimizer.pt").exists() and checkpoint.damage(first) is None
    checkpoint.save(tmp_path, 3, whole, keep=3, keep_optimizer=1)
    assert not (first / "optimizer.pt").exists() and checkpoint.damage(first) is None


def test_who_needs_a_part_reads_that_part_only(tmp_path):
    checkpoint.save(tmp_path, 1, whole)
    checkpoint.save(tmp_path, 2, whole)
    newest = tmp_path / "step-000002"
    flip(newest / "optimizer.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert checkpoint.latest(tmp_path, checkpoint.POLICY) == newest
        assert checkpoint.state(tmp_path) == {"of": "state.json"}
    flip(newest / "policy" / "model")
    with pytest.warns(CheckpointWarning, match="policy/model has changed"):
        assert checkpoint.latest(tmp_path, checkpoint.POLICY).name == "step-000001"
    with pytest.warns(CheckpointWarning, match="it has no nothing"):
        assert checkpoint.latest(tmp_path, "nothing") is None


def test_a_hash_that_was_made_while_writing_is_what_a_file_must_have(tmp_path):
    """So a file that differs on the disk from what was written is noticed."""
    hashed = {"model": hashlib.sha256(b"as it was meant").hexdigest()}

    def write(into):
        (into / "model").write_bytes(b"as it was meant")
        return hashed

    assert checkpoint.damage(checkpoint.save(tmp_path, 1, write)) is None
    hashed["model"] = hashlib.sha256(b"something else.").hexdigest()
    assert "SHA-256 differs" in checkpoint.damage(checkpoint.save(tmp_path, 2, write))


def test_a_renamed_checkpoint_is_not_taken_for_another_step(tmp_path):
    checkpoint.save(tmp_path, 1, files(model="x")).rename(tmp_path / "step-000007")
    with pytest.warns(CheckpointWarning, match="says step 1"):
        assert checkpoint.latest(tmp_path) is None


def test_a_full_disk_leaves_one_line_and_the_last_good_one(tmp_path):
    checkpoint.save(tmp_path, 1, files(model="x"))

    def write(into):
        (into / "model").write_text("half of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(CheckpointError) as caught:
        checkpoint.save(tmp_path, 2, write)
    message = str(caught.value)
    assert "\n" not in message
    for part in ("step-000002", str(tmp_path), "No space left on device", "make room", "step-000001, is kept"):
        assert part in message
    assert [p.name for p in tmp_path.iterdir()] == ["step-000001"]
    assert no_warning_latest(tmp_path).name == "step-000001"


def test_a_folder_that_is_a_file_is_refused_in_one_line(tmp_path):
    (tmp_path / "checkpoints").write_text("")
    with pytest.raises(CheckpointError, match=r"Not a directory|File exists"):
        checkpoint.save(tmp_path / "checkpoints", 1, files(model="x"))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), TypeError("a bug")])
def test_other_errors_pass_and_leave_nothing(tmp_path, error):
    checkpoint.save(tmp_path, 1, files(model="x"))

    def write(into):
        (into / "model").write_text("half of it")
        raise error

    with pytest.raises(type(error)):
        checkpoint.save(tmp_path, 2, write)
    assert [p.name for p in tmp_path.iterdir()] == ["step-000001"]


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    try:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True)
    except FileNotFoundError:
        pytest.skip("no mount command")
    if mounted.returncode:
        pytest.skip("this machine allows no mounts")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def plain_bytes(into):
    (into / "model").write_bytes(bytes(2 << 20))


def torch_save(into):
    import torch

    torch.save({"model": torch.zeros(1 << 19)}, into / "model.pt")


def safetensors_save(into):
    import torch
    from safetensors.torch import save_file

    save_file({"model": torch.zeros(1 << 19)}, into / "model.safetensors")


@pytest.mark.parametrize("write", [plain_bytes, torch_save, safetensors_save])
def test_a_disk_that_is_really_full_keeps_the_last_good_one(tiny_disk, write):
    checkpoint.save(tiny_disk, 1, files(model="x" * 1000))
    with pytest.raises(CheckpointError, match=r"No space left on device.*step-000001, is kept"):
        checkpoint.save(tiny_disk, 2, write)
    assert [p.name for p in tiny_disk.iterdir()] == ["step-000001"]
    assert no_warning_latest(tiny_disk).name == "step-000001"
    checkpoint.save(tiny_disk, 2, files(model="fits"))
    assert no_warning_latest(tiny_disk).name == "step-000002"


@pytest.mark.parametrize("step", [3, 4], ids=["in place of the same step", "after it"])
def test_a_kill_at_any_event_of_a_save_leaves_a_whole_latest(tmp_path, step, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    with writer(EVERY_EVENT, tmp_path, step) as process:
        output = process.communicate()[0].splitlines()
    kills = [int(line.split()[1]) for line in output if line.startswith("killed")]
    assert len(kills) > 20
    found = [no_warning_latest(tmp_path / str(kill)) for kill in kills]
    steps = [step_in(path) for path in found]
    assert steps == sorted(steps)
    assert {steps[0], steps[-1]} == {3, step}
    assert steps == [step_of(path) for path in found]
    # What a kill left is swept by the next save.
    for kill in kills:
        checkpoint.save(tmp_path / str(kill), 5, files(model="x"), keep=1)
        assert [p.name for p in (tmp_path / str(kill)).iterdir()] == ["step-000005"]


def test_a_kill_at_a_random_moment_leaves_a_whole_latest(tmp_path):
    rng = random.Random(0)
    saved = left_over = 0
    for _ in range(10):
        with writer(ENDLESS, tmp_path, saved + 1) as process:
            seen = [process.stdout.readline() for _ in range(rng.randrange(1, 300))]
            process.kill()
            seen += process.communicate()[0].splitlines()
        reported = [int(line.split()[1]) for line in seen if line.startswith("saved")]
        left_over += any(tmp_path.glob(".tmp*"))
        found = no_warning_latest(tmp_path)
        if found is None:
            assert not reported
            continue
        # The kill may have come after the rename and before its report.
        assert max([saved, *reported]) <= step_in(found) == step_of(found)
        saved = step_of(found)
    assert saved > 2
    assert left_over > 0
