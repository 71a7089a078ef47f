"""The run folder: one owner, private, and cleared when its owner is dead."""

import fcntl
import os
import signal
import subprocess
import sys

import pytest
from harness import until

from zpipe.errors import AlreadyRunning, NotRunning, ZpipeError
from zpipe.transport import run_folder
from zpipe.transport.run_folder import RunFolder, clear_dead_runs, folder_of, living

HOLDER = """
import sys
from pathlib import Path
from zpipe.transport import run_folder
run_folder.SHARED_MEMORY = Path(sys.argv[1])
folder = run_folder.RunFolder(sys.argv[2])
(folder.path / "slot-0").write_bytes(b"pixels")
print("held", flush=True)
sys.stdin.read()
folder.close()
"""

RUSHER = """
import sys
from pathlib import Path
from zpipe.errors import AlreadyRunning
from zpipe.transport import run_folder
run_folder.SHARED_MEMORY, run_folder.GLANCE_S = Path(sys.argv[1]), 0
for number in range(2000):
    if sys.argv[2] == "clean":
        run_folder.clear_dead_runs()
        continue
    try:
        folder = run_folder.RunFolder(f"yard{number % 3}")
    except AlreadyRunning:
        continue
    mine = [folder.path / "config.json", folder.path / "slot-0"]
    for file in mine:
        file.write_bytes(b"mine")
    assert all(file.read_bytes() == b"mine" for file in mine)
    folder.close()
"""


@pytest.fixture(autouse=True)
def shared_memory(tmp_path, monkeypatch):
    """A folder of its own instead of /dev/shm, so that no other pipeline of this machine matters."""
    monkeypatch.setattr(run_folder, "SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(run_folder, "GLANCE_S", 0.05)
    return tmp_path


@pytest.fixture
def holder(shared_memory):
    """Starts a process that holds the run folder of a name."""
    started = []

    def start(name):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(shared_memory), name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_it_is_private_and_gone_afterwards():
    with RunFolder("yard") as folder:
        assert folder.path == folder_of("yard")
        assert folder.path.stat().st_mode & 0o7777 == 0o700
        assert living() == living("yard") == "yard"
        (folder.path / "slot-0").touch()
    assert not folder.path.exists()
    folder.close()


def test_it_is_private_whatever_the_umask_is():
    before = os.umask(0)
    try:
        with RunFolder("yard") as folder:
            assert folder.path.stat().st_mode & 0o7777 == 0o700
    finally:
        os.umask(before)


def test_a_second_pipeline_of_the_name_is_refused_and_another_is_not(holder):
    process = holder("yard")
    with pytest.raises(AlreadyRunning, match=r"'yard' is already running: stop it with `zpipe stop yard`"):
        RunFolder("yard")
    assert (folder_of("yard") / "slot-0").read_bytes() == b"pixels"
    with RunFolder("gate"):
        assert (folder_of("yard") / "slot-0").exists(), "a living run was cleared"
        with pytest.raises(NotRunning, match=r"several pipelines are running: say which \(gate, yard\)"):
            living()
    process.communicate("")
    with RunFolder("yard") as folder:
        assert os.listdir(folder.path) == ["lock"]


def test_what_a_dead_run_has_left_is_cleared_by_the_next_of_any_name(holder):
    process = holder("yard")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (folder_of("yard") / "slot-0").exists()
    with pytest.raises(NotRunning, match="no pipeline is running"):
        living()
    with RunFolder("gate"):
        assert not folder_of("yard").exists()


def test_a_dead_runs_name_is_free_at_once(holder):
    process = holder("yard")
    process.send_signal(signal.SIGKILL)
    process.wait()
    with RunFolder("yard") as folder:
        assert os.listdir(folder.path) == ["lock"]


def test_a_glance_at_the_lock_is_waited_for(monkeypatch):
    """Who clears what is dead, or asks who lives, holds the lock for a moment; that is no pipeline."""
    folder_of("yard").mkdir(mode=0o700)
    glance = os.open(folder_of("yard") / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(glance, fcntl.LOCK_EX)
    monkeypatch.setattr(run_folder, "GLANCE_S", 30)
    monkeypatch.setattr(run_folder.time, "sleep", lambda seconds: os.close(glance))
    RunFolder("yard").close()


def test_two_who_ask_at_once_do_not_take_each_other_for_a_pipeline():
    folder_of("yard").mkdir(mode=0o700)
    other = os.open(folder_of("yard") / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(other, fcntl.LOCK_SH)
    with pytest.raises(NotRunning):
        living("yard")
    os.close(other)


def test_who_is_asked_for_by_name_must_be_there(holder):
    with pytest.raises(NotRunning, match=r"no pipeline named 'gate' is running$"):
        living("gate")
    holder("yard")
    with pytest.raises(NotRunning, match=r"no pipeline named 'gate' is running \(running: yard\)"):
        living("gate")


def test_many_who_start_at_once_have_one_winner(shared_memory):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(shared_memory), "yard"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(6)
    ]  # fmt: skip
    until(lambda: sum(process.poll() is not None for process in processes) == 5, what="all but one to give up")
    said = [process.communicate("") for process in processes]
    assert sorted(out for out, _ in said) == ["", "", "", "", "", "held\n"]
    assert sum("AlreadyRunning" in error for _, error in said) == 5


@pytest.mark.test_all
def test_a_rush_of_starts_beside_cleaners(shared_memory):
    """Edge 28: 16 of 27,712 starts ended with "not a private folder"."""
    processes = [
        subprocess.Popen([sys.executable, "-c", RUSHER, str(shared_memory), kind], stderr=subprocess.PIPE, text=True)
        for kind in ("start", "start", "start", "clean", "clean")
    ]
    said = [process.communicate(timeout=60)[1] for process in processes]
    assert said == [""] * 5
    assert list(shared_memory.iterdir()) == []


def test_the_lock_is_removed_last(monkeypatch):
    """Edge 28: without its lock a folder is another's at once, while the cleaner still removes what is in there."""
    folder = folder_of("yard")
    folder.mkdir(mode=0o700)
    for name in ("lock", "slot-0", "w-1"):
        (folder / name).touch()
    (folder / "more").mkdir()
    left = []
    unlink = run_folder.Path.unlink
    monkeypatch.setattr(
        run_folder.Path, "unlink", lambda path, **options: (unlink(path, **options), left.append(os.listdir(folder)))
    )
    clear_dead_runs()
    assert left.pop() == []
    assert all("lock" in names for names in left)
    assert not folder.exists()


# ---- what others have put there --------------------------------------------------------------------------------


def test_a_link_in_its_place_is_refused_and_what_it_leads_to_is_not_touched(tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir(mode=0o700)
    (precious / "file").write_text("precious")
    folder_of("yard").symlink_to(precious)
    with pytest.raises(ZpipeError, match="is not a private folder of this user: remove it"):
        RunFolder("yard")
    clear_dead_runs()
    with pytest.raises(NotRunning):
        living("yard")
    assert [path.name for path in precious.iterdir()] == ["file"]


def test_a_link_inside_is_removed_not_followed(tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("precious")
    folder_of("yard").mkdir(mode=0o700)
    (folder_of("yard") / "slot-0").symlink_to(precious)
    clear_dead_runs()
    assert not folder_of("yard").exists()
    assert (precious / "file").read_text() == "precious"


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_folder_that_others_can_enter_is_refused(mode):
    folder_of("yard").mkdir()
    folder_of("yard").chmod(mode)
    with pytest.raises(ZpipeError, match="is not a private folder"):
        RunFolder("yard")
    assert folder_of("yard").exists()


def test_what_is_no_folder_in_its_place_is_refused():
    folder_of("yard").touch(mode=0o600)
    folder_of("gate").symlink_to("/nowhere")
    for name in ("yard", "gate"):
        with pytest.raises(ZpipeError, match="is not a private folder"):
            RunFolder(name)


def test_folders_of_other_users_are_not_looked_at(monkeypatch, shared_memory):
    theirs = shared_memory / "zpipe-4321-yard"
    theirs.mkdir(mode=0o700)
    clear_dead_runs()
    assert theirs.exists()
    monkeypatch.setattr(run_folder.os, "getuid", lambda: 4321)
    clear_dead_runs()  # named as ours, and not ours
    assert theirs.exists()
