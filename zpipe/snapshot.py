"""What a running pipeline says of itself (`zpipe status`, progress, JSON events), and its account at the end.

Only values: taking a snapshot is `run/status.py`'s, showing it `show/`'s. Rates are per second, memory in bytes, `busy`
is a share of the workers' time.
"""

import msgspec


class FailureCount(msgspec.Struct, frozen=True):
    """So many frames failed in this stage for this reason."""

    stage: str
    reason: str
    count: int


class WorkerSnapshot(msgspec.Struct, frozen=True):
    """One worker. `state`: starting, idle, busy or retiring; `beat_s`: seconds since its last sign of life, if idle."""

    worker: str
    pid: int
    state: str
    held: int
    done: int
    beat_s: float


class StageSnapshot(msgspec.Struct, frozen=True):
    """One stage. `queue`: frames that wait for a worker; `attempts`: deaths that frames in flight have caused here;
    `failed`: frames that failed here in this run."""

    stage: str
    role: str
    wanted: int
    workers: list[WorkerSnapshot]
    queue: int
    held: int
    done: int
    failed: int
    frames_per_s: float
    busy: float
    attempts: int
    restarts: int

    @property
    def has_models(self) -> bool:
        """Whether its workers' number is anybody's choice: ingest and sink are one each."""
        return self.role not in ("ingest", "sink")


class StreamSnapshot(msgspec.Struct, frozen=True):
    """The account of one stream. `total`: frames to come in all, where that is known."""

    stream: str
    read: int
    published: int
    ok: int
    failed: int
    dropped: int
    in_flight: int
    total: int | None
    skipped: int
    closed: bool


class SourceState(msgspec.Struct, frozen=True):
    """Where the frames of a stream come from: a path, a sender. `state`: listening (for senders), waiting (for its
    process), reading, leaving (no more of it is wanted), read (to its end), published (its end too)."""

    stream: str
    source: str
    state: str
    read: int


class MemorySnapshot(msgspec.Struct, frozen=True):
    """Memory of the frames in flight, and of all processes beside that."""

    frames_bytes: int
    processes_bytes: int


class Snapshot(msgspec.Struct, frozen=True):
    """The pipeline at one moment; `stages` in the order of the chain, ingest first.

    `kept`: where the results of the finished run before it are kept when it starts, empty if there were none.
    `elapsed_s`: since the sources may read, 0 before; `eta_s`: until the end, where that can be said; `failures`: why
    frames failed, the most frequent reasons; `keys`: the folder of keys, where it has some.
    """

    name: str
    run: str
    pid: int
    state: str
    publish: str
    history: str
    results: str
    wait_subscribers: int
    elapsed_s: float
    frames_per_s: float
    published: int
    in_flight: int
    slots: int
    stages: list[StageSnapshot]
    streams: list[StreamSnapshot]
    memory: MemorySnapshot
    stale: int
    rejected: int
    eta_s: int | None
    failures: list[FailureCount]
    kept: str = ""
    keys: str | None = None

    @property
    def total(self) -> int | None:
        """Frames of all streams together, where all are known."""
        totals = [stream.total for stream in self.streams]
        return None if None in totals else sum(total for total in totals if total is not None)

    @property
    def failed(self) -> int:
        """Failed frames of all streams."""
        return sum(stream.failed for stream in self.streams)


class StreamAccount(msgspec.Struct, frozen=True):
    """What became of one stream's frames; `skipped` things in its source were no frames."""

    stream: str
    read: int
    ok: int
    failed: int
    dropped: int
    skipped: int


class Account(msgspec.Struct, frozen=True):
    """The ledger at the end of a run. `balanced`: read = ok + failed + dropped, and every stream's end is published.

    `failures`: the most frequent reasons of this run (of those before it, with `--resume`, only the counts are known).
    """

    name: str
    run: str
    results: str
    elapsed_s: float
    streams: list[StreamAccount]
    drained: bool
    balanced: bool
    failures: list[FailureCount]

    @property
    def failed(self) -> int:
        """Failed frames of all streams."""
        return sum(stream.failed for stream in self.streams)

    @property
    def is_of_a_run(self) -> bool:
        """Whether the run began: before a first frame is read, its error says all that there is to say."""
        return self.balanced or any(stream.read for stream in self.streams)
