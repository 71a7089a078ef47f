"""Running real pipelines in tests: real processes, real sockets, free ports, and a look at what is left behind."""

import contextlib
import json
import os
import random
import signal
import socket
import struct
import subprocess
import threading
import time
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import psutil

from zpipe.engines.local import ZPIPE
from zpipe.transport.endpoints import free_ports
from zpipe.transport.run_folder import folder_of

MODELS = Path(__file__).parent / "models"
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def until(condition: Callable[[], Any], timeout_s: float = 30.0, what: str = "") -> Any:
    """Poll until the condition gives something true; its value."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"not within {timeout_s} s: {what or condition}")


def png(colour: tuple[int, int, int], size: int = 24) -> bytes:
    """A picture of one RGB colour as PNG, written by hand: fast enough for thousands."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0))
    rows = (b"\0" + bytes(colour) * size) * size
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")


def make_frames(folder: Path, count: int, poison: dict[int, tuple[int, int, int]] | None = None) -> Path:
    """`count` small pictures of colours that differ; `poison` maps numbers (from 1) to pure colours."""
    folder.mkdir(parents=True, exist_ok=True)
    for seq in range(1, count + 1):
        colour = (seq * 7 % 250 + 1, seq * 13 % 250 + 1, seq * 29 % 250 + 1)
        (folder / f"img{seq}.png").write_bytes(png((poison or {}).get(seq, colour)))
    return folder


def make_config(folder: Path, frames: Path | list[Path], /, **changes: Any) -> Path:
    """A config with the probe models; `changes` are sections merged into it."""
    sources = frames if isinstance(frames, list) else [frames]
    config: dict[str, Any] = {
        "name": f"t{uuid.uuid4().hex[:12]}",
        "ingest": [{"path": str(source), "stream": source.name.replace("_", "-")} for source in sources],
        "detect": {"model": "probe:Detect", "count": 2},
        "classify": {"model": "probe:Classify", "count": 2},
        "sink": {"results": str(folder / "results.jsonl"), "linger_s": 5},
    }
    for section, change in changes.items():
        if isinstance(change, dict):
            config.setdefault(section, {}).update(change)
        elif change is None:
            del config[section]
        else:
            config[section] = change
    path = folder / "config.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(config))
    probe = folder / "probe.py"
    if not probe.exists():
        probe.write_text((MODELS / "probe.py").read_text())
    return path


def with_faults(folder: Path, *faults: dict[str, Any]) -> dict[str, str]:
    """Environment for a `Pipeline` whose workers have these faults: see models/faults.py."""
    path = folder / "faults"
    path.mkdir(parents=True)
    (path / "sitecustomize.py").write_text((MODELS / "faults.py").read_text())
    (path / "faults.json").write_text(json.dumps(faults))
    return {"PYTHONPATH": str(path)}


class Pipeline:
    """`zpipe up --json` as a process."""

    living: ClassVar[list["Pipeline"]] = []
    """All whose end was not waited for: what a failed test leaves is ended by the fixture of tests/faults."""

    def __init__(
        self, config: Path, *options: str, env: dict[str, str] | None = None, limits: str = "", shared: str = ""
    ) -> None:
        """`env`: more environment; `limits`: arguments of the shell's `ulimit` for it and its workers; `shared`: how
        large /dev/shm is for them, which nobody else sees then (only root may)."""
        self.config: dict[str, Any] = json.loads(config.read_text())
        self.name = self.config["name"]
        self.results = Path(self.config["sink"]["results"])
        self.stderr = config.parent / "stderr.txt"
        command = [*ZPIPE, "up", str(config), "--json", *options]
        if limits:
            command = ["sh", "-c", f'ulimit {limits} && exec "$@"', "sh", *command]
        if shared:
            mount = f'mount -t tmpfs -o size={shared} none /dev/shm && exec "$@"'
            command = ["unshare", "-m", "sh", "-c", mount, "sh", *command]
        with open(self.stderr, "ab") as stderr:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=stderr, stdin=subprocess.DEVNULL,
                env={**os.environ, **(env or {})},
            )  # fmt: skip
        Pipeline.living.append(self)
        self.events: list[dict[str, Any]] = []
        self.reader = threading.Thread(target=self.read_events, daemon=True)
        self.reader.start()

    def read_events(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            for line in self.process.stdout:
                if line.endswith(b"\n"):  # it may be killed in the middle of one
                    self.events.append(json.loads(line))

    def event(self, kind: str) -> dict[str, Any]:
        """The first event of this kind; waits for it."""

        def found() -> dict[str, Any] | None:
            return next((event for event in self.events if event["event"] == kind), None)

        until(lambda: found() or not self.reader.is_alive(), what=f"event {kind}")
        event = found()
        assert event is not None, f"it ended: {self.said()}"
        return event

    def started(self) -> dict[str, Any]:
        return self.event("started")

    def status(self) -> dict[str, Any]:
        from zpipe.transport.control import Request, ask

        return ask(self.name, Request("status"))

    def count(self) -> int:
        """Whole lines in the results file."""
        return self.results.read_bytes().count(b"\n") if self.results.exists() else 0

    def reaches(self, count: int) -> None:
        """Wait until the results file has so many lines."""
        until(lambda: self.count() >= count or not self.reader.is_alive(), what=f"{count} results")
        assert self.count() >= count, f"it ended: {self.said()}"

    def pid_of(self, worker: str) -> int:
        """pid of the living worker of this name; waits for one."""
        return int(until(lambda: self.workers().get(worker), what=f"a worker {worker}"))

    def workers(self) -> dict[str, int]:
        """pid of every living worker by name."""
        return {w["worker"]: w["pid"] for stage in self.status()["stages"] for w in stage["workers"]}

    def wait(self, timeout_s: float = 90.0) -> int:
        """Exit code; checks that nothing is left behind."""
        code = self.process.wait(timeout_s)
        self.ended()
        self.check_clean()
        return code

    def check_clean(self) -> None:
        assert not folder_of(self.name).exists(), "the run folder is left behind"
        assert not self.children(), "processes are left behind"

    def children(self) -> list[int]:
        """Workers of this pipeline that live, whoever their parent is now."""
        found = []
        for process in psutil.process_iter(["cmdline", "status"]):
            arguments = process.info["cmdline"] or []
            if (
                any(f'"folder":"{folder_of(self.name)}"' in argument for argument in arguments)
                and process.info["status"] != psutil.STATUS_ZOMBIE
            ):
                found.append(process.pid)
        return found

    def said(self) -> str:
        return self.stderr.read_text()

    def kill(self) -> None:
        """SIGKILL `zpipe up`, as the out-of-memory killer would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.ended()

    def ended(self) -> None:
        """Its process is reaped."""
        self.reader.join()
        if self in Pipeline.living:
            Pipeline.living.remove(self)


def workers_of(pid: int) -> list[psutil.Process]:
    """Living worker processes of a `zpipe up`, without asking it."""
    try:
        return [p for p in psutil.Process(pid).children() if p.status() != psutil.STATUS_ZOMBIE]
    except psutil.NoSuchProcess:
        return []


def role_of(process: psutil.Process) -> str:
    """`detect`, `classify`, `sink`, `ingest`; empty while it has not become one yet."""
    try:
        arguments = process.cmdline()
    except psutil.Error:
        return ""
    return json.loads(arguments[3])["role"] if arguments[1:3] == [ZPIPE[1], "worker"] else ""


VOLATILE = ("run", "timestamp", "timing_ms", "attempts")


def essence(line: str | bytes) -> dict[str, Any]:
    """A published line without what may differ between runs."""
    found = json.loads(line)
    return {key: value for key, value in found.items() if key not in VOLATILE}


def essences(path: Path) -> list[dict[str, Any]]:
    """A results file without what may differ between runs, stream by stream."""
    lines = [essence(line) for line in path.read_bytes().splitlines()]
    return sorted(lines, key=lambda line: line["stream"])  # stable: the order within a stream stays


def run(config: Path, *options: str, env: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """A whole run; the essence of its results file."""
    pipeline = Pipeline(config, *options, env=env)
    code = pipeline.wait()
    assert code == 0, pipeline.said()
    return essences(pipeline.results)


def free_port() -> int:
    """A TCP port of this machine that was free a moment ago, and the next one too."""
    while True:
        port = random.choice(free_ports())
        with socket.socket() as first, socket.socket() as second, contextlib.suppress(OSError):
            first.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + 1))
            return port


def fd_count(pid: int) -> int:
    """Open file descriptors of a process."""
    return len(os.listdir(f"/proc/{pid}/fd"))
