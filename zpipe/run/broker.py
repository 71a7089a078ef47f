"""The broker: turns what arrives into the ledger's events and performs the ledger's actions.

One thread, one poll: the inbox, the control socket, the workers' logs, signals (a child has died, Ctrl-C). Nothing
here waits for anything else, and what is periodic (progress, hung workers, the balance) happens on a tick.

    inbox ──▶ wire ──▶ rules.Ledger ──▶ actions ──▶ link
    deaths ──────────────────┘  ▲
    supervisor ◀── wanted counts (config, `zpipe scale`, balance)

It opens nothing: `launch.py` gives it its hands.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import zmq

from zpipe import wire
from zpipe.errors import RunFailed, ZpipeError
from zpipe.orders import Subscribers
from zpipe.rules import accounts
from zpipe.rules.conduct import MAY_SAY
from zpipe.rules.ledger import Ledger
from zpipe.rules.life import Life
from zpipe.run.condemning import condemn
from zpipe.run.hands import Hands
from zpipe.run.intake import Intake
from zpipe.run.pace import Pace
from zpipe.run.plan import Handover, Plan
from zpipe.run.shared_memory import SharedMemory
from zpipe.run.status import Status
from zpipe.run.supervisor import Death, Worker
from zpipe.snapshot import Snapshot
from zpipe.transport.control import Request

TICK_S = 0.2
JOIN_MS = 5
STOP_S = 5.0
"""How long workers may take to end once they are asked to. They are idle then."""

ShowProgress = Callable[[Callable[[], Snapshot]], None]
"""Called on each tick with what takes a snapshot, for a progress display."""

log = logging.getLogger(__name__)


class Broker:
    """A run of a pipeline. `handover`: what new workers are told of those before them, kept up to date here."""

    def __init__(
        self, plan: Plan, ledger: Ledger, handover: Handover, hands: Hands, status: Status, report: ShowProgress
    ) -> None:
        self.config = plan.config
        self.plan = plan
        self.ledger = ledger
        self.status = status
        self.life = Life()
        self.links, self.store, self.supervisor = hands.links, hands.store, hands.supervisor
        self._control, self._wakeup, self._results = hands.control, hands.signals, hands.results
        self._memory = SharedMemory(hands.store, ledger, hands.supervisor)
        self._handover = handover
        self._report = report
        self._pace = Pace(plan, self.supervisor)
        self._joining: list[Worker] = []
        self._outgoing: defaultdict[int, list[wire.ToWorker]] = defaultdict(list)
        self._intake = Intake(plan, ledger, hands.results, self._tell, hands.keep_config)
        self._interrupts = 0
        self._failure: RunFailed | None = None
        self._deadline = float("inf")
        self._control.commands = {
            "status": lambda request: self._snapshot(), "scale": self._scale, "stop": self._stop,
            "add": self._add, "remove": self._remove, "sources": lambda request: self._intake.list(),
        }  # fmt: skip
        self._poller = zmq.Poller()
        for item in (self.links.inbox, self._control.socket, self.supervisor.log_events, self._wakeup.fileno()):
            self._poller.register(item, zmq.POLLIN)

    # ---- the loop -----------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run until every stream's end is published, or RunFailed."""
        with self._wakeup:
            next_tick = 0.0
            while self.supervisor.alive or not self._is_over:
                now = time.monotonic()
                if now >= next_tick:
                    self._tick(now)
                    self._flush()
                    next_tick = now + TICK_S
                wait_ms = JOIN_MS if self._joining else max(1, int((next_tick - now) * 1000))
                self._turn(dict(self._poller.poll(wait_ms)))
                self._flush()
        self.life.move("over")
        self._report(self._snapshot)
        if self._failure is not None:
            raise self._failure

    @property
    def _is_over(self) -> bool:
        return self.life.can("over") and not any(stage.wanted for stage in self.supervisor.stages)

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
        if self.ledger.finished and self.life.can("published"):
            self._linger()

    def _tick(self, now: float) -> None:
        self._take_deaths()
        self.supervisor.kill_hung(time.monotonic_ns())
        self.status.sample(now)
        if self.life.state == "running":
            self._perform(self.ledger.tune(*self._pace.depths(len(self.ledger.ingests), self.ledger.slots)))
            self._pace.keep_balance(now)
        if self.life.state != "stopping":
            self._keep_counts(now)
            self._keep_memory(now)
        if now > self._deadline:
            if self.life.state == "lingering":
                log.warning("pipeline.left subscribers may have missed the last results: see the results file")
            self._kill_all()
        self._report(self._snapshot)

    def _snapshot(self) -> Snapshot:
        self.status.rejected = self.links.rejected
        return self.status.snapshot(self.life.state)

    # ---- messages and actions -----------------------------------------------------------------------------

    def _take_messages(self) -> None:
        for message in self.links.receive():
            self._perform(self._event(message))
        self._memory.give_back(time.monotonic(), self.ledger.free)

    def _event(self, message: wire.FromWorker) -> Sequence[accounts.Action]:
        """The ledger's event for a message."""
        ledger, worker = self.ledger, self.supervisor.find(message.worker)
        if worker is None:  # what a dead worker still had in its socket
            ledger.stale += 1
            return ()
        phase = MAY_SAY.get((worker.stage.kind, worker.phase, type(message)))
        if phase is None:
            self._refuse(worker, f"it said {type(message).__name__} while {worker.phase}")
            return ()
        worker.phase = phase
        match message:
            case wire.Output(number, stream, seq, failed, body):
                actions = ledger.output(number, stream, seq, body, failed)
                if failed:
                    self.status.count_failure(worker.stage.name, (stream, seq), body)
                return actions
            case wire.PublishedUpTo(number, stream, seq) if stream < len(ledger.streams):
                return ledger.published(number, stream, seq)
            case wire.Read(number, stream, seq, picture, failed, body):
                actions = ledger.read(number, stream, seq, picture, body, failed)
                if failed:
                    self.status.count_failure(worker.stage.name, (stream, seq), body)
                elif not actions and ledger.has_ended(stream):
                    self._refuse(worker, f"it read on behind the end of stream {stream}")
                return actions
            case wire.GaveBack(number, slots):
                return ledger.gave_back(number, slots)
            case wire.Closed(number, stream) if stream < len(ledger.streams):
                return ledger.closed(number, stream)
            case _:
                self._take_news(worker, message)
                return ()

    def _take_news(self, worker: Worker, message: wire.FromWorker) -> None:
        """What a worker says of itself."""
        match message:
            case wire.Ready():
                self._joining.append(worker)
            case wire.Listed(stream=stream, total=total) if stream < len(self.plan.streams):
                self.status.totals[stream] = total
                self._results.keep_list(self.plan.streams.name(stream))
            case wire.Open():
                self._perform(self._intake.open(worker, message))
            case wire.Bound(publish=publish, history=history):
                self._handover.endpoints = self.status.publish, self.status.history = publish, history
                self.life.move("bound")
                self._intake.tell_where(publish, history)
                self._report(self._snapshot)
            case wire.End(_, stream, count, skipped, drained) if stream < len(self.plan.streams):
                if count != self.ledger.streams[stream].read:
                    self._refuse(worker, f"it ended after frame {count}, and not all before it have come")
                    return
                self.status.skipped[stream] = skipped
                self._perform(self.ledger.end(worker.number, stream, drained))
            case wire.Refused(reason=reason) if worker.stage.was_added:
                self._perform(self._intake.give_up(worker.stage, reason))
            case wire.Refused(reason=reason, exit_code=exit_code):
                self._fail(RunFailed(f"{worker.name}: {reason}", exit_code))
            case _:  # of a stream that is not there
                self.ledger.stale += 1

    def _refuse(self, worker: Worker, why: str) -> None:
        """A worker says what it cannot mean: it is broken, so it is replaced."""
        self.links.rejected += 1
        self.supervisor.kill(worker.number, f"broken: {why}")

    def _join(self, worker: Worker) -> None:
        """A ready worker takes part once its socket is connected (its own say-so may be faster)."""
        if self.supervisor.find(worker.number) is not worker:
            self._joining.remove(worker)
        elif self.links.connected(worker.number):
            self._joining.remove(worker)
            self.supervisor.ready(worker)
            if worker.stage.kind == "ingest":
                self._perform(self._intake.join(worker))
            else:
                if worker.stage.kind == "sink":
                    self._intake.greet_sink(worker)
                self._perform(self.ledger.join(worker.number, worker.stage.number))
            if self.life.state == "lingering" and worker.stage.kind == "sink":
                self._let_linger(worker)
            elif self.life.state == "stopping":
                self._outgoing[worker.number].append(wire.Stop())
            elif self.ledger.started and self.life.move("started"):
                self._results.begin()  # what is to be sent has not left yet
                self.status.began = time.monotonic()

    def _perform(self, actions: Sequence[accounts.Action]) -> None:
        """Do what the ledger says. What is to be sent leaves with the next `_flush`, together."""
        for action in actions:
            match action:
                case accounts.SendFrame(worker, frame):
                    work = wire.Work(frame.stream, frame.seq, frame.picture, frame.attempts, frame.body)
                    self._outgoing[worker].append(work)
                case accounts.GrantSlots(worker, slots):
                    self._memory.give_back(time.monotonic(), slots)
                    self._outgoing[worker].append(wire.Grant(slots))
                case accounts.CloseStream(worker, stream, total):
                    self._results.begin()  # drained before the start
                    close = wire.Close(stream, total, self.ledger.streams[stream].drained)
                    self._outgoing[worker].append(close)
                case accounts.RecallSlots(worker):
                    self._outgoing[worker].append(wire.Recall())
                case accounts.LeaveStream(worker, stream):
                    self._outgoing[worker].append(wire.Leave(stream))
                case accounts.DismissWorker(worker):
                    self._outgoing[worker].append(wire.Stop())
                    if (told := self.supervisor.find(worker)) is not None and told.stage.kind == "ingest":
                        told.stage.wanted = 0
                case accounts.CondemnFrame(frame, stage):
                    reason = self._handover.deaths.pop((frame.stream, frame.seq), "its worker died")
                    name = self.plan.stages[stage].name
                    its_stream, results = self.plan.streams.name(frame.stream), Path(self.config.sink.results)
                    condemn(frame, its_stream, results, name, reason, self.store)
                    self.plan.stages[stage].restart.condemned((frame.stream, frame.seq))
                    self.status.count_failure(name, (frame.stream, frame.seq), frame.body)

    def _tell(self, worker: int, message: wire.ToWorker) -> None:
        """It leaves with the next `_flush`."""
        self._outgoing[worker].append(message)

    def _flush(self) -> None:
        """Send what has gathered, one part to each worker."""
        for worker, gathered in self._outgoing.items():
            if self.supervisor.find(worker) is not None:
                self.links.send(worker, gathered)
        self._outgoing.clear()

    # ---- workers ------------------------------------------------------------------------------------------

    def _take_deaths(self) -> None:
        for death in self.supervisor.reap(time.monotonic()):
            # What it sent before it died is still on its way in: the outputs in there are good, so they come first.
            self._take_messages()
            self._lose(death)

    def _lose(self, death: Death) -> None:
        worker = death.worker
        self._handover.learn(death, self.ledger)
        if worker.stage.kind == "sink" and death.exit_code == 0 and self.life.can("left"):
            self._stop_workers()
        actions = self.ledger.lost(worker.number, death.blamed)
        if worker.stage.kind == "ingest":
            self._intake.learn(death)
        try:
            self.supervisor.bury(death, time.monotonic())
        except RunFailed as error:
            worker.stage.wanted = 0
            if worker.stage.was_added:
                actions = [*actions, *self._intake.give_up(worker.stage, str(error))]
            elif not self.ledger.finished:
                self._fail(error)
            elif worker.stage.kind == "sink":  # all is published: it was only to let subscribers catch up
                self._stop_workers()
        self._perform(actions)
        if self.life.state != "stopping":
            self._keep_counts(time.monotonic())

    def _keep_counts(self, now: float) -> None:
        for worker in self.supervisor.reconcile(now):
            worker.retiring = True
            self._perform(self.ledger.retire(worker.number))

    def _keep_memory(self, now: float) -> None:
        try:
            self._memory.look(now)
        except RunFailed as error:
            self._fail(error)

    # ---- stopping -----------------------------------------------------------------------------------------

    def _interrupted(self) -> None:
        """Ctrl-C: drain. A second one: stop at once."""
        if self._interrupts >= 2:
            self._fail(RunFailed("stopped before its end (continue with --resume)", exit_code=1))
        elif self.life.can("drain"):
            log.info("pipeline.draining (press Ctrl-C again to stop at once)")
            self._drain()

    def _drain(self) -> None:
        self.life.move("drain")
        for stage in self.plan.sources:
            stage.wanted = 0
        sink = self.plan.sink.workers
        self._handover.is_drained = True
        if sink and not sink[0].ready:  # it may wait for ever, for subscribers or a port; the next one does not
            self._handover.audience = self._handover.audience or Subscribers(0, 0)
            self.supervisor.kill(sink[0].number, "drained while it waited for subscribers or its port")
        self._perform(self.ledger.drain())

    def _linger(self) -> None:
        """Everything is published: let the sink end once every subscriber has caught up. The others stay meanwhile."""
        self.life.move("published")
        self._deadline = time.monotonic() + STOP_S + self.config.sink.linger_s
        for worker in self.plan.sink.workers:
            if worker.ready:
                self._let_linger(worker)

    def _let_linger(self, sink: Worker) -> None:
        """It ends once all have caught up. One that follows a killed one begins anew: nobody could ask in between."""
        self._deadline = time.monotonic() + STOP_S + self.config.sink.linger_s
        self._outgoing[sink.number].append(wire.Stop())

    def _stop_workers(self) -> None:
        """Nobody is needed any more."""
        self.life.move("left")
        self._deadline = time.monotonic() + STOP_S
        for worker in self.supervisor.dismiss_all():
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
        self.life.move("fail")
        self._deadline = float("inf")
        for worker in self.supervisor.dismiss_all():
            self.supervisor.kill(worker.number)

    # ---- commands -----------------------------------------------------------------------------------------

    def _scale(self, request: Request) -> Any:
        if self.life.is_ending:
            raise ZpipeError("the pipeline is ending: there is nothing left to scale")
        self._pace.scale(request.counts)
        self._keep_counts(time.monotonic())
        return {stage.name: stage.wanted for stage in self.plan.stages}

    def _add(self, request: Request) -> Any:
        if not self.life.can("drain"):
            raise ZpipeError("the pipeline is ending: it takes no more sources")
        name = self._intake.add(request.source)
        self._keep_counts(time.monotonic())
        return name

    def _remove(self, request: Request) -> Any:
        self._perform(self._intake.remove(request.stream))
        return request.stream

    def _stop(self, request: Request) -> Any:
        if self.life.can("drain"):
            self._drain()
        return self.life.state
