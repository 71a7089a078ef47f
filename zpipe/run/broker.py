"""The broker: turns what arrives into the ledger's events and performs the ledger's actions.

One thread, one poll: the inbox, the control socket, the workers' logs, signals (a child has died, Ctrl-C). Nothing
here waits for anything else, and what is periodic (progress, hung workers, the balance) happens on a tick.

    inbox ──▶ wire ──▶ flow.Ledger ──▶ actions ──▶ link
    deaths ─────────────────┘  ▲
    supervisor ◀── wanted counts (config, `zpipe scale`, balance)
"""

import logging
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import zmq

from zpipe import messages, wire
from zpipe.config.keys import Config, ModelConfig
from zpipe.config.loading import dump
from zpipe.engines import machine
from zpipe.engines.signals import Signals
from zpipe.errors import RunFailed, ZpipeError
from zpipe.results import quarantine
from zpipe.rules import balance
from zpipe.rules import ledger as flow
from zpipe.run.plan import make_groups, make_ledger, orders_of
from zpipe.run.resume import open_results
from zpipe.run.status import Meter, status_of
from zpipe.run.supervisor import Death, Supervisor, Worker
from zpipe.transport.board import Board
from zpipe.transport.control import Control, Request
from zpipe.transport.link import Links
from zpipe.transport.run_folder import RunFolder
from zpipe.transport.store import Slot, Store

TICK_S = 0.2
BALANCE_S = 2.0
JOIN_MS = 5
STOP_S = 5.0
"""How long workers may take to end once they are asked to. They are idle then."""

ENDING = ("lingering", "stopping", "done")
"""The states after the last result. Before: `starting`, `waiting` (for subscribers), `running`, perhaps `draining`."""

log = logging.getLogger(__name__)


class Broker:
    """A run of a pipeline. `report` is called on each tick with the broker itself, for a progress display."""

    def __init__(
        self,
        config: Config,
        config_folder: Path,
        resume: bool = False,
        overwrite: bool = False,
        report: Callable[["Broker"], None] = lambda broker: None,
    ) -> None:
        self.config = config
        self.state = "starting"
        self.publish = ""
        self.history = ""
        self.began = time.monotonic()
        self.totals: list[int | None] = [None for _ in config.ingest]
        self.skipped = [0 for _ in config.ingest]
        self._report = report
        self.models = config_folder
        self._joining: list[Worker] = []
        self._outgoing: defaultdict[int, list[wire.ToWorker]] = defaultdict(list)
        self._interrupts = 0
        self._failure: RunFailed | None = None
        self._deadline = float("inf")
        self.subscribers: tuple[int, int] | None = None
        self.deaths: dict[tuple[int, int], str] = {}
        self.under_way: dict[int, int] = {}
        # The name first: who does not get it must not touch the results file of who has it.
        self._folder = RunFolder(config.name)
        try:
            self._open(resume, overwrite)
        except BaseException:
            self._folder.close()
            raise

    def _open(self, resume: bool, overwrite: bool) -> None:
        config, path = self.config, self._folder.path
        self._results = open_results(config, resume, overwrite)
        self.run_id = self._results.run or secrets.token_hex(8)
        (path / "config.json").write_bytes(dump(config))
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.links = Links(self._context, path)
        self._control = Control(
            self._context, path, {"status": self._tell_status, "scale": self._scale, "stop": self._stop}
        )
        self._board = Board(path)
        self.store = Store(path)
        self.supervisor = Supervisor(path, self.links, self._board, partial(orders_of, self))
        self.stages, sources = make_groups(config)
        self.supervisor.groups = [self.stages[-1], *self.stages[:-1], *sources]
        self.ledger = make_ledger(config, self.stages, sources, self._results)
        entries: list[ModelConfig] = [config.detect, *config.classifiers]
        # What a frame costs on another device is not seen in CPU time.
        automatic = [entry.count == "auto" and entry.device.upper() == "CPU" for entry in entries]
        self._balance = balance.Balance(automatic, machine.cores())
        self._next_balance = 0.0
        self.meter = Meter()
        self._poller = zmq.Poller()
        self._wakeup = Signals()
        for item in (self.links.inbox, self._control.socket, self.supervisor.log_events, self._wakeup.fileno()):
            self._poller.register(item, zmq.POLLIN)

    # ---- the loop -----------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run until every stream's end is published, or RunFailed."""
        with self._wakeup:
            next_tick = 0.0
            while self.supervisor.alive or not self._over:
                now = time.monotonic()
                if now >= next_tick:
                    self._tick(now)
                    self._flush()
                    next_tick = now + TICK_S
                wait_ms = JOIN_MS if self._joining else max(1, int((next_tick - now) * 1000))
                self._turn(dict(self._poller.poll(wait_ms)))
                self._flush()
        self.state = "done"
        self._report(self)
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """End every process and remove all that the run has left on the machine; closing twice is harmless."""
        self.supervisor.close()
        self.links.close()
        self._control.close()
        self.store.close()
        self._board.close()
        self._results.close()
        self._folder.close()
        self._context.term()
        self._wakeup.close()

    def _turn(self, ready: dict[Any, int]) -> None:
        if self.links.inbox in ready:
            self._take_messages()
        for worker in list(self._joining):
            self._join(worker)
        if self._wakeup.fileno() in ready:
            self._interrupts += self._wakeup.read()
            if self._interrupts:
                self._interrupted()
            self._take_deaths()
        if self.supervisor.log_events in ready:
            self.supervisor.read_logs()
        if self._control.socket in ready:
            self._control.answer()
        if self.ledger.finished and self.state not in ENDING:
            self._linger()

    def _tick(self, now: float) -> None:
        self._take_deaths()
        self.supervisor.kill_hung(time.monotonic_ns())
        if self.state == "running":
            self._tune()
            self._keep_balance(now)
        if self.state != "stopping":
            self._keep_counts(now)
        if now > self._deadline:
            self._kill_all()
        self._report(self)

    # ---- messages and actions -----------------------------------------------------------------------------

    def _take_messages(self) -> None:
        for message in self.links.receive():
            self._perform(self._event(message))

    def _event(self, message: wire.FromWorker) -> Sequence[flow.Action]:
        """The ledger's event for a message."""
        ledger = self.ledger
        match message:
            case wire.Output(worker, stream, seq, failed, body):
                return ledger.output(worker, stream, seq, body, failed)
            case wire.Published(worker, stream, seq) if stream < len(ledger.streams):
                return ledger.published(worker, stream, seq)
            case wire.Read(worker, seq, slot, encoded_bytes, failed, body):
                return ledger.read(worker, seq, slot, encoded_bytes, body, failed)
            case wire.Closed(worker, stream) if stream < len(ledger.streams):
                return ledger.closed(worker, stream)
            case _:
                self._news(message)
                return ()

    def _news(self, message: wire.FromWorker) -> None:
        """What a worker says of itself."""
        worker = self.supervisor.find(message.worker)
        if worker is None:
            return
        match message:
            case wire.Ready(total=total):
                if worker.group.role == "ingest":
                    self.totals[worker.group.stage] = total
                self._joining.append(worker)
            case wire.Bound(publish=publish, history=history):
                self.publish, self.history = publish, history
                self.state = "waiting" if self.state == "starting" else self.state
                self._report(self)
            case wire.End(skipped=skipped, drained=drained):
                self.skipped[worker.group.stage] = skipped
                worker.group.wanted = 0
                self._perform(self.ledger.end(worker.number, drained))
            case wire.Refused(reason=reason, exit_code=exit_code):
                self._fail(RunFailed(f"{worker.name}: {reason}", exit_code))

    def _join(self, worker: Worker) -> None:
        """A ready worker takes part once its socket is connected (its own say-so may be faster)."""
        if self.supervisor.find(worker.number) is not worker:
            self._joining.remove(worker)
        elif self.links.connected(worker.number):
            self._joining.remove(worker)
            self.supervisor.ready(worker)
            if worker.group.role == "ingest":
                self._perform(self.ledger.join_ingest(worker.number, worker.group.stage))
            else:
                self._perform(self.ledger.join(worker.number, worker.group.stage))
            if self.state == "stopping" or (self.state == "lingering" and worker.group.role == "sink"):
                self._outgoing[worker.number].append(wire.Stop())
            elif self.ledger.started and self.state == "waiting":
                self.state = "running"
                self.began = time.monotonic()

    def _perform(self, actions: Sequence[flow.Action]) -> None:
        """Do what the ledger says. What is to be sent leaves with the next `_flush`, together."""
        for action in actions:
            match action:
                case flow.Send(worker, frame):
                    work = wire.Work(
                        frame.stream, frame.seq, frame.slot, frame.encoded_bytes, frame.attempts, frame.body
                    )
                    self._outgoing[worker].append(work)
                case flow.Grant(worker, slots):
                    self._outgoing[worker].append(wire.Grant(slots))
                case flow.Close(worker, stream, total):
                    close = wire.Close(stream, total, self.ledger.streams[stream].drained)
                    self._outgoing[worker].append(close)
                case flow.Dismiss(worker):
                    self._outgoing[worker].append(wire.Stop())
                case flow.Condemn(frame, stage):
                    self._condemn(frame, stage)

    def _flush(self) -> None:
        """Send what has gathered, one part to each worker."""
        for worker, gathered in self._outgoing.items():
            if self.supervisor.find(worker) is not None:
                self.links.send(worker, gathered)
        self._outgoing.clear()

    def _condemn(self, frame: flow.Frame, stage: int) -> None:
        """The frame has killed its workers too often: it becomes a failed result, its picture goes to quarantine."""
        group = self.stages[stage]
        try:
            result = messages.unpack(frame.body)
        except msgspec.DecodeError:  # what its workers died of, perhaps
            stream = str(self.config.ingest[frame.stream].stream)
            result = messages.Result(stream=stream, seq=frame.seq, name="", timestamp=time.time_ns())
        reason = self.deaths.pop((frame.stream, frame.seq), "its worker died")
        messages.fail(result, group.name, f"{frame.attempts} attempts: {reason}")
        frame.body = messages.pack(result)
        try:
            picture = _read_picture(self.store.slot(frame.slot, frame.encoded_bytes), result)
            path = quarantine.keep(Path(self.config.sink.results).parent / "quarantine", result, picture)
            log.warning("frame.failed stream=%s seq=%d kept=%s", result.stream, result.seq, path)
        except OSError as error:
            log.warning("frame.failed stream=%s seq=%d kept=no (%s)", result.stream, result.seq, error)

    # ---- workers ------------------------------------------------------------------------------------------

    def _take_deaths(self) -> None:
        for death in self.supervisor.reap(time.monotonic()):
            # What it sent before it died is still on its way in: the outputs in there are good, so they come first.
            self._take_messages()
            self._lose(death)

    def _lose(self, death: Death) -> None:
        worker, working = death.worker, death.row.working
        if working is not None and worker.group.role == "sink":
            self.under_way[working[0]] = working[1]  # it works in order: what was under way before has passed
        elif working is not None:
            streams, tail = self.ledger.streams, list(worker.process.tail)[-5:]
            self.deaths = {(n, seq): said for (n, seq), said in self.deaths.items() if seq > streams[n].published}
            self.deaths[working] = death.reason + (f"; last log: {' | '.join(tail)}" if tail else "")
        if worker.group.role == "sink":
            if worker.ready:  # one that was not has not met all that its predecessor had
                self.subscribers = death.row.subscribers, death.row.behind
            if death.exit_code == 0 and self.state == "lingering":
                self._stop_workers()
        self._perform(self.ledger.lost(worker.number, working))
        try:
            self.supervisor.bury(death, time.monotonic())
        except RunFailed as error:
            worker.group.wanted = 0
            if not self.ledger.finished:
                self._fail(error)
            elif worker.group.role == "sink":  # all is published: it was only to let subscribers catch up
                self._stop_workers()
        if self.state != "stopping":
            self._keep_counts(time.monotonic())

    def _keep_counts(self, now: float) -> None:
        for worker in self.supervisor.reconcile(now):
            worker.retiring = True
            self._perform(self.ledger.retire(worker.number))

    def _tune(self) -> None:
        """Let workers hold as many frames as their speed calls for, and so many be in flight."""
        models, depths = self.stages[:-1], []
        for group in models:
            busy_s, done = self.supervisor.time_of(group)
            depths.append(flow.depth_for(busy_s / done) if done > balance.FIRST_FRAMES else flow.DEPTH)
        limit = flow.limit_for([group.wanted for group in models], depths, len(self.ledger.streams))
        self._perform(self.ledger.tune(depths, self.ledger.slots if self.config.frames.in_flight != "auto" else limit))

    def _keep_balance(self, now: float) -> None:
        """Give the stages with `count: auto` as many workers as their frames' cost calls for."""
        if now < self._next_balance or not any(self._balance.automatic):
            return
        self._next_balance = now + BALANCE_S
        cpu_s, done = zip(*(self.supervisor.work_of(group) for group in self.stages[:-1]), strict=True)
        for group, count in zip(self.stages, self._balance.measure(cpu_s, done), strict=False):
            if count is not None and count != group.wanted:
                log.info("stage.balanced stage=%s count=%d (was %d)", group.name, count, group.wanted)
                group.wanted = count

    # ---- stopping -----------------------------------------------------------------------------------------

    def _interrupted(self) -> None:
        """Ctrl-C: drain. A second one: stop at once."""
        if self._interrupts >= 2:
            self._fail(RunFailed("stopped before its end (continue with --resume)", exit_code=1))
        elif self.state not in ("draining", *ENDING):
            log.info("pipeline.draining (press Ctrl-C again to stop at once)")
            self._drain()

    def _drain(self) -> None:
        self.state = "draining"
        for group in self.supervisor.groups:
            if group.role == "ingest":
                group.wanted = 0
        sink = self.stages[-1].workers
        if self.subscribers is None and sink and not sink[0].ready:
            self.subscribers = 0, 0  # the next one waits for no subscribers; this one might for ever
            sink[0].hung = "drained while it waited for subscribers"
            self.supervisor.kill(sink[0].number)
        self._perform(self.ledger.drain())

    def _linger(self) -> None:
        """Everything is published: let the sink end once every subscriber has caught up.

        The other workers stay meanwhile: killed and replaced or not, they cost nothing, and the end is one moment
        after the sink's, not another way of running.
        """
        self.state = "lingering"
        self._deadline = time.monotonic() + STOP_S + self.config.sink.linger_s
        for worker, _ in self.supervisor.rows():
            if worker.ready and worker.group.role == "sink":
                self._outgoing[worker.number].append(wire.Stop())

    def _stop_workers(self) -> None:
        """Nobody is needed any more."""
        self.state = "stopping"
        self._deadline = time.monotonic() + STOP_S
        for group in self.supervisor.groups:
            group.wanted = 0
        for worker, _ in list(self.supervisor.rows()):
            worker.retiring = True
            if worker.ready:
                self._outgoing[worker.number].append(wire.Stop())
            else:
                self.supervisor.kill(worker.number)

    def _fail(self, error: RunFailed) -> None:
        """Stop at once; the first error is the run's."""
        if self._failure is None:
            self._failure = error
        self._kill_all()

    def _kill_all(self) -> None:
        self.state = "stopping"
        self._deadline = float("inf")
        for group in self.supervisor.groups:
            group.wanted = 0
        for worker, _ in list(self.supervisor.rows()):
            worker.retiring = True
            self.supervisor.kill(worker.number)

    @property
    def _over(self) -> bool:
        return self.state == "stopping" and not any(group.wanted for group in self.supervisor.groups)

    # ---- commands -----------------------------------------------------------------------------------------

    def _tell_status(self, request: Request) -> Any:
        return status_of(self)

    def _scale(self, request: Request) -> Any:
        if self.state in ENDING:
            raise ZpipeError("the pipeline is ending: there is nothing left to scale")
        groups = {group.name: group for group in self.stages[:-1]}
        for stage, count in request.counts.items():
            if stage not in groups:
                raise ZpipeError(f"no stage {stage!r}: this pipeline has {', '.join(groups)}")
            if not 1 <= count <= 256:
                raise ZpipeError(f"{stage}={count}: a stage has 1 to 256 workers")
        for stage, count in request.counts.items():
            groups[stage].wanted = count
            self._balance.automatic[groups[stage].stage] = False
        self._keep_counts(time.monotonic())
        return {name: group.wanted for name, group in groups.items()}

    def _stop(self, request: Request) -> Any:
        if self.state not in ("draining", *ENDING):
            self._drain()
        return self.state


def _read_picture(slot: Slot, result: messages.Result) -> Any:
    """What the slot holds of a frame: its file, or its pixels, or None when it was never read."""
    if slot.encoded_bytes:
        return slot.read_encoded()
    size = result.resolution
    return slot.read_pixels(size.height, size.width) if size is not None else None
