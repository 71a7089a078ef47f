"""The sender that programs use: frames in, results out, from any thread."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import msgspec

from zpipe import messages, upload
from zpipe.errors import SenderError
from zpipe.messages import Published, Result
from zpipe.sender.connection import Connection
from zpipe.sender.conversation import Conversation
from zpipe.sender.frames import Parcel, frame_of

if TYPE_CHECKING:
    from zpipe.sender.frames import Picture


class Sender:
    """Sends frames to a pipeline that listens at `endpoint`, as `name`; a context manager.

    Each frame is kept until its result has come: so whatever dies, each frame has exactly one result, in order. Leaving
    the block ends the stream and waits for its results; after an exception it leaves the stream as it is, and a sender
    with the same `upload_id` goes on with it. Without one each sender is an upload, and so a stream, of its own.

    `key`: file of the key pair. `first`: the number of the first result that is wanted. `timeout_s`: NotRunning when
    nobody has answered for so long (None: wait). `on_silence` is called when nobody answers.
    """

    def __init__(
        self,
        endpoint: str,
        name: str,
        *,
        key: Path | str | None = None,
        upload_id: str | None = None,
        first: int = 1,
        timeout_s: float | None = None,
        on_silence: Callable[[], None] = lambda: None,
    ) -> None:
        hello = _make_hello(name, upload_id or uuid.uuid4().hex, first)
        self._talk = Conversation(endpoint, hello, timeout_s, on_silence)
        self._connection = Connection(endpoint, self._talk, key)
        self._talk.greet = self._connection.greet
        self._is_closed = False

    @property
    def stream(self) -> str:
        """What the stream is called; waits for the pipeline."""
        self._talk.await_welcome()
        return self._talk.stream

    @property
    def next(self) -> int:
        """The number that the next frame gets: the first that the pipeline does not have; waits for the pipeline."""
        return self._talk.await_welcome()

    @property
    def answered(self) -> int:
        """The number of the last frame that has its result."""
        return self._talk.answered

    def put(self, picture: "Picture", name: str | None = None, *, jpeg: int | None = None, wait: bool = True) -> int:
        """Send a picture; returns the number of its frame.

        `picture`: an encoded one as bytes, the path of one, or pixels (height, width, 3) of uint8, BGR, which travel as
        they are, or as JPEG of quality `jpeg` (1 to 100). As many frames as the pipeline gives credit for may be
        without a result; then this waits, or raises NoCredit with `wait=False`. FrameError if it is no picture.
        """
        return self.put_frame(frame_of(picture, name, jpeg), wait)

    def put_frame(self, frame: Parcel, wait: bool = True) -> int:
        """The same with a frame that is ready to be sent, or is the reason why there is none."""
        seq = self._talk.put(frame, wait)
        self._connection.wake()
        return seq

    def end(self) -> None:
        """No more frames come: the end of the stream follows the result of the last one."""
        self._talk.end()
        self._connection.wake()

    def results(self) -> Iterator[Result]:
        """Results in order, each once, as they come. Until all frames that were put have theirs; after `end`, until the
        end of the stream. SenderError if it stops before."""
        for _, message in self.lines():
            if isinstance(message, Result):
                yield message

    def lines(self, until_end: bool = False) -> Iterator[tuple[bytes, Published]]:
        """The same as they were published, with the end of the stream. `until_end`: whatever is put meanwhile, and
        whoever does it."""
        while (line := self._talk.next_line(until_end)) is not None:
            yield line.data, messages.parse(line.data)

    def close(self) -> None:
        """Leave, whatever is under way; closing twice is harmless."""
        self._is_closed = True
        self._talk.close()
        self._connection.close()

    def __enter__(self) -> "Sender":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the stream and wait for its results; if the block failed, only leave."""
        try:
            if kind is None and not self._is_closed:
                self.end()
                self._talk.await_end()
        finally:
            self.close()


def send(
    endpoint: str,
    name: str,
    *,
    key: Path | str | None = None,
    upload_id: str | None = None,
    first: int = 1,
    timeout_s: float | None = None,
) -> Sender:
    """A sender of frames to the pipeline that listens at `endpoint`: see `Sender`."""
    return Sender(endpoint, name, key=key, upload_id=upload_id, first=first, timeout_s=timeout_s)


def _make_hello(name: str, upload_id: str, first: int) -> upload.Hello:
    """SenderError for what no gate takes."""
    try:
        return msgspec.convert(["hello", upload.VERSION, name, upload_id, 0, first], upload.Hello)
    except msgspec.ValidationError:
        raise SenderError(
            f"cannot send as {name!r}, upload {upload_id!r}, from {first}: a name has up to 40 letters, digits, _ and "
            "-, an upload id up to 64 characters, and results count from 1"
        ) from None
