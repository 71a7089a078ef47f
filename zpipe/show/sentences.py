"""Log records as sentences for people. Log files have them as they are: a stable name first, then key=value."""

import logging
import re

from zpipe.show.logs import OneLine

SENTENCES = {
    "pipeline.draining": "nothing more is read; what is in flight is finished (Ctrl-C again stops at once)",
    "stage.balanced": "{stage}: {count} worker(s) from now on",
    "worker.lost": "{worker} (pid {pid}) is gone and will be replaced: {reason}",
    "frame.failed": "frame {seq} of {stream} has failed: its workers died on it; its picture: {kept}",
    "link.rejected": "a message was rejected: {reason}",
    "source.note": "stream {stream}: {rest}",
    "keys.refused": "{host} was refused, {times} time(s) by now: {reason}",
    "publisher.refused": "{host} was refused at the results, {times} time(s) by now: {reason}",
    "history.refused": "{host} was refused at the history, {times} time(s) by now: {reason}",
    "sink.left": "{subscribers} subscriber(s) did not catch up within {linger_s} s",
}
"""By the name of the event; what is in braces is the record's, `rest` what has no key."""

RECORD = re.compile(r"(?P<worker>\S+: )?(?P<event>[a-z]+\.[a-z_]+) ?(?P<text>.*)", re.DOTALL)
"""Those of workers come behind the worker's name."""

PAIR = re.compile(r'(\w+)=("(.*)"|\S+) ?', re.DOTALL)


def sentence_of(text: str) -> str:
    """The sentence for a record; the record itself if there is none."""
    record = RECORD.fullmatch(text)
    form = SENTENCES.get(record["event"]) if record else None
    if record is None or form is None:
        return text
    values = {key: quoted or value for key, value, quoted in PAIR.findall(record["text"])}
    try:
        return form.format(**values, rest=PAIR.sub("", record["text"]))
    except LookupError:
        return text


class Sentences(OneLine):
    """When it was, and what it was in a sentence."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(message)s", datefmt="%Y-%m-%d %H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's name
        """Called by `format`."""
        record.message = sentence_of(record.message)
        return super().formatMessage(record)
