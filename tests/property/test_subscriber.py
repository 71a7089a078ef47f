"""A subscriber against sinks that it hears badly: each result once and in order, whatever is lost, repeated or late.

`World` is the sinks: what they have logged, run after run, and the network, which loses, repeats and delays live
messages and replies. Hypothesis chooses what happens; in the end the network is mended and all is driven to the end.
"""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from zpipe.messages import Eos, Published, Result
from zpipe.rules.catch_up import HOW_FAR, CatchUp, Wanted
from zpipe.rules.history import Reply, StreamState

STREAMS = ["a", "ab", "b"]
MOST_ROUNDS = 200


class World:
    """What was published, and a subscriber that reads it over a network without manners."""

    def __init__(self, stream: str | None, first: int | None, burst: int) -> None:
        self.stream, self.first, self.burst = stream, first, burst
        self.catch_up = CatchUp(stream, first)
        self.runs: list[dict[str, list[Published]]] = []
        self.sent: list[Published] = []
        self.late: list[tuple[Wanted, Reply]] = []
        self.seen: list[Published] = []
        self.met: dict[str, dict[str, int]] = {}
        self.begin_run()

    @property
    def run(self) -> str:
        return f"run-{len(self.runs)}"

    def begin_run(self) -> None:
        self.runs.append({name: [] for name in STREAMS})

    def publish(self, stream: str, is_end: bool = False) -> None:
        log = self.runs[-1][stream]
        if log and isinstance(log[-1], Eos):
            return
        seq, counts = len(log) + 1, {"ok": len(log), "failed": 0, "dropped": 0}
        log.append(
            Eos(run=self.run, stream=stream, seq=seq, **counts)
            if is_end
            else Result(run=self.run, stream=stream, seq=seq, name="x", timestamp=1)
        )
        self.sent.append(log[-1])

    def deliver(self, number: int) -> None:
        """Any message that was ever sent arrives: in order, again, or late."""
        if self.sent and self.catch_up.open is not None:  # else nothing is read yet
            message = self.sent[number % len(self.sent)]
            self.ask(self.catch_up.hear(msgspec.json.encode(message), message), True)

    def ask(self, questions: list[Wanted], is_answered: bool) -> None:
        """Ask the history; its replies are lost, or come much later, if it is not answered."""
        for wanted in questions:
            reply = self.reply(wanted)
            if not is_answered:
                self.late.append((wanted, reply))
            elif wanted == HOW_FAR:
                more = self.catch_up.learn(reply)
                self.met.setdefault(reply.run, dict(self.catch_up.next))
                self.ask(more, True)
            else:
                self.catch_up.fill(wanted, reply)
        self.read()

    def reply(self, wanted: Wanted) -> Reply:
        states = []
        for name, log in self.runs[-1].items():
            closed = bool(log) and isinstance(log[-1], Eos)
            states.append(StreamState(name, len(log) - closed, closed))
        lines = self.runs[-1][wanted.stream][wanted.first - 1 :][: self.burst] if wanted.stream else []
        return Reply(self.run, states, [msgspec.json.encode(line) for line in lines])

    def come_late(self, number: int) -> None:
        """A reply to a question that was given up arrives as if it were one to another question."""
        if self.late:
            _, reply = self.late[number % len(self.late)]
            if reply.run == self.run:  # the socket of a sink that is gone brings nothing any more
                self.catch_up.fill(Wanted(STREAMS[number % 3], 1), reply)
        self.read()

    def read(self) -> None:
        while self.catch_up.ready:
            line, message = self.catch_up.ready.popleft()
            assert msgspec.json.decode(line)["seq"] == message.seq
            self.seen.append(message)

    def drive_to_the_end(self) -> None:
        for name in STREAMS:
            self.publish(name, is_end=True)
        for _ in range(MOST_ROUNDS):
            if self.catch_up.is_done:
                return
            self.ask([HOW_FAR], True)
        raise AssertionError("it does not end")

    def check(self) -> None:
        """Of each run and stream it has seen consecutive numbers from where it began; of the last one all."""
        mine = [name for name in STREAMS if self.stream in (None, name)]
        for number, run in enumerate(self.runs, 1):
            for name in mine:
                seqs = [m.seq for m in self.seen if m.run == f"run-{number}" and m.stream == name]
                if seqs:
                    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
                    begin = self.met[f"run-{number}"][name]
                    assert seqs[0] == min(begin, len(run[name])), "it begins elsewhere"
        last = self.seen[-1].run
        for name in mine:
            log = self.runs[int(last.removeprefix("run-")) - 1][name]
            assert [m for m in self.seen if m.run == last and m.stream == name][-1] == log[-1]
        assert {m.stream for m in self.seen} <= set(mine)


STEPS = st.one_of(
    st.tuples(st.just("publish"), st.sampled_from(STREAMS)),
    st.tuples(st.just("publish"), st.sampled_from(STREAMS)),
    st.tuples(st.just("end"), st.sampled_from(STREAMS)),
    st.tuples(st.just("deliver"), st.integers(0, 999)),
    st.tuples(st.just("deliver next"), st.just(0)),
    st.tuples(st.just("late"), st.integers(0, 999)),
    st.tuples(st.just("silence"), st.booleans()),
    st.tuples(st.just("new run"), st.just(0)),
)


@settings(deadline=None, max_examples=400)
@given(
    st.lists(STEPS, max_size=80),
    st.sampled_from([None, "a", "b"]),
    st.sampled_from([None, 1, 3, 50]),
    st.integers(1, 4),
)
def test_each_once_and_in_order_whatever_happens(steps, stream, first, burst):
    world, at = World(stream, first, burst), 0
    for step, detail in steps:
        if world.catch_up.is_done:
            break
        if step in ("publish", "end"):
            world.publish(detail, is_end=step == "end")
        elif step == "deliver":
            world.deliver(detail)
        elif step == "deliver next":
            world.deliver(at)
            at += 1
        elif step == "late":
            world.come_late(detail)
        elif step == "silence":
            world.ask([HOW_FAR], detail)
        else:
            world.begin_run()
    if not world.catch_up.is_done:
        world.drive_to_the_end()
    world.check()
