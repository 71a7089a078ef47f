"""`zpipe send`: sends pictures, waits for their results, writes and draws them. Owns no socket."""

import contextlib
import getpass
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

from zpipe.errors import SenderError, ZpipeError
from zpipe.messages import Result
from zpipe.sender.progress import SendProgress
from zpipe.sender.sender import Sender
from zpipe.sender.shipment import Shipment, load
from zpipe.show.outlet import say


class Wishes(NamedTuple):
    """What is to be done with the results, and how pictures travel."""

    out: Path | None = None
    draw: Path | None = None
    jpeg: int | None = None
    timeout_s: float | None = None
    quiet: bool = False


def own_name() -> str:
    """What somebody is called who does not say: user and machine."""
    name = f"{getpass.getuser()}-{os.uname().nodename.partition('.')[0]}"
    return re.sub(r"[^A-Za-z0-9_-]", "-", name).lstrip("-_")[:40] or "sender"


def send_pictures(paths: list[str], endpoint: str, name: str, key: str | None, every: int, wishes: Wishes) -> int:
    """Send all pictures of the paths and wait for the results; how many of them are `failed`."""
    with contextlib.closing(Shipment(paths, every)) as shipment:
        upload_id = shipment.upload_id(name, wishes.jpeg)
        sender = Sender(
            endpoint, name, key=key, upload_id=upload_id, timeout_s=wishes.timeout_s,
            on_silence=lambda: say(f"nobody answers on {endpoint} (waiting; --timeout S gives up)"),
        )  # fmt: skip
        with contextlib.closing(sender):
            return Sending(sender, shipment, wishes).run()


class Sending:
    """One upload: a thread puts pictures, this one takes results."""

    def __init__(self, sender: Sender, shipment: Shipment, wishes: Wishes) -> None:
        self._sender = sender
        self._shipment = shipment
        self._wishes = wishes
        self._error: Exception | None = None
        self._progress = SendProgress(shipment.total, wishes.quiet)

    def run(self) -> int:
        """Until the end of the stream; how many frames are `failed`."""
        self._progress.begin(self._sender.stream, self._sender.next)
        feeder = threading.Thread(target=self._feed, name="feeder", daemon=True)
        feeder.start()
        try:
            results = self._results()
            if self._wishes.draw is None:
                for _ in results:
                    pass
            else:
                from zpipe.draw.files import write_pictures  # OpenCV, which not everybody needs

                write_pictures(results, self._shipment.pictures().find, self._wishes.draw)
        except SenderError:
            if self._error is not None:
                raise self._error from None
            raise
        if self._error is not None:
            raise self._error
        self._progress.end(self._wishes.out)
        return self._progress.failed

    def _results(self) -> Iterator[dict[str, Any]]:
        """The results as decoded JSON, as they come; each is written first."""
        with contextlib.ExitStack() as opened:
            out: IO[bytes] | None = None
            for line, message in self._sender.lines(until_end=True):
                if self._wishes.out is not None and out is None:
                    out = opened.enter_context(_create(self._wishes.out))
                if out is not None:
                    out.write(line + b"\n")
                if isinstance(message, Result):
                    self._progress.count(message.status)
                    yield msgspec.json.decode(line)

    def _feed(self) -> None:
        try:
            for frame in self._shipment.frames(self._sender.next):
                self._sender.put_frame(load(frame, self._wishes.jpeg))
            self._sender.end()
        except SenderError as error:  # no further frame is taken, but results of others may come
            self._error = error
        except Exception as error:
            self._error = error
            self._sender.close()


def _create(path: Path) -> IO[bytes]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return open(path, "wb")
    except OSError as error:
        raise ZpipeError(f"{path}: cannot be written: {error.strerror}") from None
