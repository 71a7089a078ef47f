"""What a broker touches the world with. `launch.py` opens all of it and closes it again."""

from collections.abc import Callable
from dataclasses import dataclass

from zpipe.config.keys import Config
from zpipe.engines.signals import Signals
from zpipe.run.resume import RunResults
from zpipe.run.supervisor import Supervisor
from zpipe.transport.control import Control
from zpipe.transport.link import Links
from zpipe.transport.store import Store


@dataclass(frozen=True)
class Hands:
    """They are open. `keep_config`: puts the config where new workers read it."""

    links: Links
    control: Control
    store: Store
    supervisor: Supervisor
    signals: Signals
    results: RunResults
    keep_config: Callable[[Config], object]
