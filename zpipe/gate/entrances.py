"""All entrances of a gate, and the door at them where there are keys."""

import zmq

from zpipe.config.keys import Config
from zpipe.errors import ZpipeError
from zpipe.gate.entrance import Entrance
from zpipe.transport.curve import Door
from zpipe.transport.endpoints import Wait
from zpipe.transport.keys import Keys

LAST_WORDS_MS = 2000
"""How long what was said to senders may take to leave at the end."""


class Entrances:
    """Of the ingest entries that listen, by their numbers. `wait`: for an endpoint that is taken."""

    def __init__(self, config: Config, wait: Wait) -> None:
        keys = None if config.keys is None else Keys(config.keys)
        self._door = None if keys is None else Door(zmq.Context.instance(), keys)
        self.by_entry: dict[int, Entrance] = {}
        try:
            for number, entry in enumerate(config.ingest):
                if entry.listen is not None:
                    self.by_entry[number] = Entrance(number, entry.listen, entry.max_bytes, keys, wait)
        except ZpipeError:
            self.close(0)
            raise
        if self._door is not None:
            self._door.on_change = self._drop_unwelcome

    def close(self, linger_ms: int = LAST_WORDS_MS) -> None:
        """Close the sockets; what was said leaves first, for so long."""
        if self._door is not None:
            self._door.close()
        for entrance in self.by_entry.values():
            entrance.close(linger_ms)

    def _drop_unwelcome(self) -> None:
        for entrance in self.by_entry.values():
            entrance.drop_unwelcome()
