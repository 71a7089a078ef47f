"""The pipelines that run here, as `zpipe status`, `scale` and `stop` see them: asks their control sockets, by name."""

import time
from collections.abc import Callable
from typing import Literal

from zpipe.errors import NotRunning, ZpipeError
from zpipe.snapshot import Snapshot
from zpipe.transport.control import Request, ask, ask_status
from zpipe.transport.run_folder import all_living, living

LOOK_S = 0.1


def status_of_all(complain: Callable[[str], object]) -> list[Snapshot]:
    """What every running pipeline says; one that ends meanwhile, or does not answer, says nothing. Of one that cannot
    be understood is complained: it hides the others no more than it stops them."""
    found = []
    for name in all_living():
        try:
            found.append(ask_status(name))
        except NotRunning:
            continue
        except ZpipeError as error:
            complain(str(error))
    return found


def scale(name: str | None, counts: dict[str, int | Literal["auto"]]) -> dict[str, int]:
    """Give stages other counts of workers (or `auto`); how many each stage is to have now."""
    now: dict[str, int] = ask(name, Request("scale", counts))
    return now


def stop(name: str | None, wait: bool) -> str:
    """Have a pipeline drain; its state. `wait`: until it has ended."""
    name = living(name)
    state = str(ask(name, Request("stop")))
    while wait and name in all_living():
        time.sleep(LOOK_S)
    return "ended" if wait else state
