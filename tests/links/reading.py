"""A subscription that is read on a thread, and what the sink publishes for it."""

import threading

from fake_broker import FakeBroker, RunningSink, essence_of, frames_of
from harness import until

from zpipe import wire
from zpipe.client.subscription import Subscription
from zpipe.rules import history
from zpipe.rules.catch_up import Wanted


class Reader:
    """Reads a subscription on a thread; `seen` is what came, `fetched` how often the history was asked for lines."""

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.seen: list[tuple[str, str, int]] = []
        self.lines: list[bytes] = []
        self.fetched = 0
        self.most_ready = 0
        self.error: BaseException | None = None
        self.may_read = threading.Event()
        self.may_read.set()
        ask = subscription._ask

        def counted(wanted: Wanted) -> history.Reply | None:
            self.fetched += wanted.stream is not None
            return ask(wanted)

        subscription._ask = counted
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            while not self._leaving.is_set():
                self.may_read.wait()
                line, _ = self.subscription.next_line()
                self.most_ready = max(self.most_ready, len(self.subscription.catch_up.ready))
                self.lines.append(line)
                self.seen.append(essence_of(line))
        except StopIteration:
            pass
        except BaseException as error:
            self.error = error

    def wait_for(self, count: int) -> None:
        until(lambda: len(self.seen) >= count or self.error, 20, f"{count} messages, seen {len(self.seen)}")
        assert self.error is None

    def ended(self) -> list[tuple[str, str, int]]:
        """What came until its end."""
        self._thread.join(20)
        assert not self._thread.is_alive(), f"it does not end; seen {self.seen[-3:]}"
        assert self.error is None
        return self.seen

    def leave(self) -> None:
        """Give up, as a program that is killed."""
        self._leaving.set()
        self.may_read.set()
        self._thread.join(0.5)


def publish(broker: FakeBroker, sink: RunningSink, *numbers: int, stream: int = 0, pad: str = "") -> None:
    """Give the sink these frames and wait until they are published."""
    sink.frames(*((stream, seq) for seq in numbers), pad=pad)
    until(lambda: broker.listen() or wire.PublishedUpTo(sink.worker, stream, numbers[-1]) in broker.heard, 20)


def end(sink: RunningSink, *counts: int) -> None:
    for stream, count in enumerate(counts):
        sink.close_stream(stream, count)


YARD = [*frames_of("yard", 1, 30), ("eos", "yard", 31)]
