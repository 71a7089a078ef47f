"""Subscribers of real runs: whatever happens to them, to their network, to the sink: each result once and in order."""

import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from harness import Pipeline, essence, essences, free_port, make_config, until, with_faults
from proxy import Proxy

from zpipe.client.subscription import Subscription
from zpipe.messages import Result
from zpipe.rules import history
from zpipe.stages.sink import REJOIN_S
from zpipe.transport.endpoints import history_of

TIMEOUT_S = 40


class Watcher(threading.Thread):
    """A zpipe subscriber that keeps what it gets. `pace_s`: how long it dozes after each message."""

    def __init__(self, endpoint: str, pace_s: float = 0.0, **options: Any) -> None:
        super().__init__(daemon=True)
        self.lines: list[dict[str, Any]] = []
        self.error: BaseException | None = None
        self._pace_s = pace_s
        self._results = Subscription(endpoint, ends=True, timeout_s=TIMEOUT_S, **options)
        self.start()

    def run(self) -> None:
        try:
            with self._results:
                while True:
                    self.lines.append(essence(self._results.next_line()[0]))
                    time.sleep(self._pace_s)
        except StopIteration:
            pass
        except BaseException as error:  # shown by `all`
            self.error = error

    def all(self) -> list[dict[str, Any]]:
        """All that came, when the end has come."""
        self.join(TIMEOUT_S)
        assert not self.is_alive()
        assert self.error is None
        return self.lines


class RawWatcher(threading.Thread):
    """A plain SUB socket, as in six lines of any language; `seqs` are the numbers as they came.

    Ends with the end of the stream; or when nothing comes after `stop`, for who misses that too.
    """

    def __init__(self, endpoint: str, context: "zmq.Context[Any]", pace_s: float = 0.0) -> None:
        super().__init__(daemon=True)
        self.seqs: list[int] = []
        self._pace_s = pace_s
        self._sub = context.socket(zmq.SUB)
        self._sub.rcvtimeo = 100
        self._stopping = False
        self._sub.subscribe(b"results/")
        self._sub.connect(endpoint)
        self.start()

    def run(self) -> None:
        with self._sub:
            message = {"type": ""}
            while message["type"] != "eos":
                try:
                    message = json.loads(self._sub.recv_multipart()[1])
                except zmq.Again:
                    if self._stopping:
                        return
                    continue
                self.seqs.append(message["seq"])
                time.sleep(self._pace_s)

    def stop(self) -> list[int]:
        """All that came, when nothing more comes."""
        self._stopping = True
        self.join(TIMEOUT_S)
        assert not self.is_alive()
        return self.seqs


@pytest.fixture
def context() -> Iterator["zmq.Context[Any]"]:
    """For plain sockets; closed with all that is open."""
    context: zmq.Context[Any] = zmq.Context()
    yield context
    context.destroy(linger=0)


def slow_config(folder: Path, frames: Path, **sink: Any) -> Path:
    """A run of a second or two with little in flight."""
    return make_config(
        folder, frames, detect={"count": 1, "options": {"nap_ms": 8}}, classify={"count": 1}, sink=sink,
        frames={"in_flight": 12},
    )  # fmt: skip


def test_whenever_they_join(
    tmp_path: Path, frames: Path, calm: list[dict[str, Any]], context: "zmq.Context[Any]"
) -> None:
    pipeline = Pipeline(slow_config(tmp_path, frames))
    endpoint = pipeline.started()["publish"]
    holding = context.socket(zmq.SUB)  # the sink lingers for who says that it is a zpipe subscriber and has not all
    holding.subscribe(b"subscriber/somebody")
    holding.connect(endpoint)
    early = Watcher(endpoint, first=1)
    pipeline.reaches(60)
    late = [Watcher(endpoint, first=1), Watcher(endpoint, first=50), Watcher(endpoint, first=150), Watcher(endpoint)]
    beyond = Watcher(endpoint, first=1000)
    pipeline.reaches(201)
    last = Watcher(endpoint, first=1)
    assert early.all() == calm
    assert late[0].all() == calm
    assert late[1].all() == calm[49:]
    assert late[2].all() == calm[149:]
    now = late[3].all()
    assert 5 < len(now) <= 142
    assert now == calm[-len(now) :]
    assert beyond.all() == calm[-1:]
    assert last.all() == calm
    with context.socket(zmq.DEALER) as farewell:  # or the sink would wait for it to come back
        farewell.connect(history_of(endpoint))
        farewell.send(history.write_request(history.LinesRequest("somebody", done=True)))
        holding.close()
    assert pipeline.wait() == 0


def test_the_sink_is_killed_again_and_again(
    tmp_path: Path, frames: Path, calm: list[dict[str, Any]], context: "zmq.Context[Any]"
) -> None:
    """A zpipe subscriber sees nothing of it; a plain SUB no gap, and at most the number under way twice."""
    seed = int(os.environ.get("SINK_SEED", random.randrange(1 << 30)))
    print(f"SINK_SEED={seed}")
    rng = random.Random(seed)
    pipeline = Pipeline(slow_config(tmp_path, frames), "--wait-subscribers", "2")
    endpoint = pipeline.started()["publish"]
    raw = RawWatcher(endpoint, context)
    watchers = [Watcher(endpoint, first=1)]
    kills = 0
    while pipeline.count() < 185:
        done = pipeline.count()
        until(lambda: pipeline.count() >= done + 12)  # noqa: B023
        time.sleep(rng.uniform(0, 0.02))  # not a wait for anything: a moment
        os.kill(pipeline.pid_of("sink"), signal.SIGKILL)
        kills += 1
        if kills == 4:
            watchers += [Watcher(endpoint, first=1), Watcher(endpoint)]
    assert pipeline.wait() == 0, pipeline.said()
    raw.stop()
    assert watchers[0].all() == watchers[1].all() == calm
    tail = watchers[2].all()
    assert tail == calm[-len(tail) :]
    assert essences(pipeline.results) == calm
    repeats = len(raw.seqs) - len(set(raw.seqs))
    steps = {after - before for before, after in zip(raw.seqs, raw.seqs[1:], strict=False)}
    print(f"{kills} kills, {repeats} numbers repeated for the plain SUB, steps {sorted(steps)}")
    assert kills >= 8
    assert sorted(set(raw.seqs)) == list(range(1, 202))  # no gap
    assert steps <= {0, 1}  # a number again, or the next: never back
    assert repeats <= kills


def test_a_burst_is_under_way_when_the_sink_is_killed(
    tmp_path: Path, frames: Path, calm: list[dict[str, Any]], context: "zmq.Context[Any]"
) -> None:
    """Frame 1 takes long, so that all in flight wait for it and are published together; the sink dies amid them."""
    env = with_faults(
        tmp_path,
        {"role": "classify", "at": "classify", "seq": 1, "how": "nap"},
        *({"role": "sink", "at": "publish", "seq": seq, "where": "after", "how": "kill"} for seq in (20, 21, 22, 30)),
        {"role": "sink", "at": "publish", "seq": 25, "where": "before", "how": "kill"},
    )
    config = make_config(tmp_path, frames, detect={"count": 1}, classify={"count": 2}, frames={"in_flight": 40})
    pipeline = Pipeline(config, "--wait-subscribers", "2", env=env)
    endpoint = pipeline.started()["publish"]
    raw, watcher = RawWatcher(endpoint, context), Watcher(endpoint, first=1)
    assert pipeline.wait() == 0, pipeline.said()
    raw.stop()
    assert watcher.all() == calm
    assert sorted(set(raw.seqs)) == list(range(1, 202))
    repeats = len(raw.seqs) - len(set(raw.seqs))
    print(f"{repeats} numbers repeated for the plain SUB")
    assert pipeline.said().count("worker.lost worker=sink") == 5
    assert repeats <= 4


def test_they_read_slowly(
    tmp_path: Path, frames: Path, context: "zmq.Context[Any]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Far past every high-water mark: a plain SUB misses much, a zpipe subscriber nothing."""

    class SmallContext(zmq.Context):  # type: ignore[type-arg]
        """Its sockets have room for little."""

        def socket(self, *arguments: Any, **options: Any) -> Any:
            made = super().socket(*arguments, **options)
            made.set_hwm(5)
            made.rcvbuf = 4096
            return made

    env = with_faults(tmp_path, {"role": "sink", "at": "high_water", "seq": 5})
    changes = {"detect": {"count": 1, "options": {"objects": 250}}, "classify": {"count": 1}}
    pipeline = Pipeline(make_config(tmp_path, frames, **changes), "--wait-subscribers", "2", env=env)
    endpoint = pipeline.started()["publish"]
    monkeypatch.setattr(zmq, "Context", SmallContext)
    watcher = Watcher(endpoint, first=1, pace_s=0.01)
    with SmallContext() as small:
        raw = RawWatcher(endpoint, small, pace_s=0.01)
        assert pipeline.wait() == 0, pipeline.said()
        assert len(set(raw.stop())) < 150
    assert watcher.all() == essences(pipeline.results)
    assert len(watcher.lines) == 201


@pytest.mark.parametrize("broken", [False, True], ids=["paused", "cut"])
def test_their_network_is_paused(
    broken: bool, tmp_path: Path, frames: Path, calm: list[dict[str, Any]], context: "zmq.Context[Any]"
) -> None:
    """Between subscriber and sink nothing moves for a while, on either port or both; or connections are cut."""
    seed = int(os.environ.get("NET_SEED", random.randrange(1 << 30)))
    print(f"NET_SEED={seed}")
    rng = random.Random(seed)
    pipeline = Pipeline(slow_config(tmp_path, frames, linger_s=20))
    endpoint = pipeline.started()["publish"]
    with Proxy(endpoint) as live, Proxy(history_of(endpoint)) as history:
        watchers = [
            Watcher(live.endpoint, history_endpoint=history.endpoint, first=1),
            Watcher(live.endpoint, history_endpoint=history.endpoint),
        ]
        for count in range(20, 200, 30):
            pipeline.reaches(count)
            for proxy in rng.choice([[live], [history], [live, history]]):
                proxy.pause()
            pipeline.reaches(count + 15)
            for proxy in (live, history):
                proxy.resume(cut=broken)
        assert watchers[0].all() == calm
        tail = watchers[1].all()
        assert tail == calm[-len(tail) :]
    assert pipeline.wait() == 0, pipeline.said()


@pytest.mark.test_all
def test_up_is_killed_and_resumed(tmp_path: Path, frames: Path, calm: list[dict[str, Any]]) -> None:
    """On a port of its own the run goes on, and its subscribers with it."""
    port = free_port()
    config = slow_config(tmp_path, frames, publish=f"tcp://127.0.0.1:{port}")
    pipeline = Pipeline(config)
    pipeline.started()
    watcher = Watcher(f"tcp://127.0.0.1:{port}", first=1)
    for count in (30, 90):
        pipeline.reaches(count)
        pipeline.kill()
        pipeline = Pipeline(config, "--resume")
    assert pipeline.wait() == 0, pipeline.said()
    assert watcher.all() == calm


def test_the_python_iterator_and_its_types(tmp_path: Path, frames: Path, calm: list[dict[str, Any]]) -> None:
    import zpipe

    pipeline = Pipeline(slow_config(tmp_path, frames))
    endpoint = pipeline.started()["publish"]
    results = list(zpipe.subscribe(endpoint, from_start=True, timeout_s=TIMEOUT_S))
    assert [result.seq for result in results] == list(range(1, 201))
    assert all(isinstance(result, Result) for result in results)
    assert pipeline.wait() == 0
    with pytest.raises(zpipe.ZpipeError, match="nothing was published"):
        next(iter(zpipe.subscribe(endpoint, timeout_s=0.2)))


def test_two_streams(tmp_path: Path, frames: Path, calm: list[dict[str, Any]]) -> None:
    """Each in order and with its own end, though the sink is killed; or one of them alone."""
    sources = [{"path": str(frames), "stream": name} for name in ("left", "right")]
    config = make_config(
        tmp_path, frames, ingest=sources, detect={"count": 1, "options": {"nap_ms": 4}}, classify={"count": 1},
        frames={"in_flight": 12},
    )  # fmt: skip
    pipeline = Pipeline(config)
    endpoint = pipeline.started()["publish"]
    both, right = Watcher(endpoint, first=1), Watcher(endpoint, stream="right", first=1)
    for count in (50, 150, 250):
        pipeline.reaches(count)
        os.kill(pipeline.pid_of("sink"), signal.SIGKILL)
    assert pipeline.wait() == 0, pipeline.said()
    expected = {name: [{**line, "stream": name} for line in calm] for name in ("left", "right")}
    assert right.all() == expected["right"]
    for name in ("left", "right"):
        assert [line for line in both.all() if line["stream"] == name] == expected[name]


def test_the_sink_is_killed_while_it_waits_for_them(
    tmp_path: Path, frames: Path, calm: list[dict[str, Any]], context: "zmq.Context[Any]"
) -> None:
    """Its successor waits for them too: nothing is read before they are there."""
    pipeline = Pipeline(slow_config(tmp_path, frames), "--wait-subscribers", "1")
    endpoint = pipeline.started()["publish"]
    for restarts in (1, 2):
        os.kill(pipeline.pid_of("sink"), signal.SIGKILL)
        until(lambda: pipeline.status()["stages"][-1]["restarts"] == restarts)  # noqa: B023
    until(lambda: [stage["workers"][0]["state"] for stage in pipeline.status()["stages"][:-1]] == ["idle"] * 3)
    assert pipeline.status()["streams"][0]["read"] == 0
    raw = RawWatcher(endpoint, context)
    assert pipeline.wait() == 0, pipeline.said()
    assert raw.stop() == list(range(1, 202))


def test_who_leaves_early_is_not_waited_for(tmp_path: Path, frames: Path) -> None:
    """A farewell, in the middle or at the end, is told from a cut connection, whose subscriber may come back."""
    pipeline = Pipeline(slow_config(tmp_path, frames))
    endpoint = pipeline.started()["publish"]
    with Subscription(endpoint, first=1, timeout_s=TIMEOUT_S) as some:
        next(some)
        with Subscription(endpoint, first=1, timeout_s=TIMEOUT_S) as others:
            next(others)
        pipeline.reaches(201)
    began = time.monotonic()
    assert pipeline.wait() == 0
    assert time.monotonic() - began < REJOIN_S
