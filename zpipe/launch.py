"""A run is put together: opens everything that its broker works with, and lets go of it again.

The one place where the parts of a run meet; what they do is theirs.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import zmq

from zpipe.config.keys import Config
from zpipe.config.loading import dump
from zpipe.engines import machine
from zpipe.engines.local import Processes, allow_all_files
from zpipe.engines.signals import Signals
from zpipe.models.cache import cache_folder
from zpipe.orders import Task
from zpipe.run.broker import Broker, ShowProgress
from zpipe.run.fingerprint import fingerprint
from zpipe.run.hands import Hands
from zpipe.run.plan import Handover, Place, Plan
from zpipe.run.resume import Resume, Sources, open_results, with_added
from zpipe.run.status import Status
from zpipe.run.supervisor import StageWorkers, Supervisor
from zpipe.sources.changes import check_in_time, open_in_time
from zpipe.transport.board import Board
from zpipe.transport.control import Control
from zpipe.transport.keys import Keys
from zpipe.transport.link import Links
from zpipe.transport.run_folder import RunFolder
from zpipe.transport.store import Store


@contextmanager
def launch(
    config: Config, config_folder: Path, report: ShowProgress, *, resume: Resume = False, overwrite: bool = False
) -> Iterator[Broker]:
    """A pipeline that is ready to run; on leaving every process is ended, and nothing is left on the machine."""
    if config.keys is not None:
        Keys(config.keys)  # what is wrong with them is said before anything starts
    with ExitStack() as opened:
        # The name first: who does not get it must not touch the results file of who has it.
        folder = opened.enter_context(RunFolder(config.name)).path
        config = with_added(config) if resume else config
        decides = fingerprint(config, config_folder)
        results = open_results(
            config, Sources(open_in_time, check_in_time), decides, secrets.token_hex(8), folder, resume, overwrite
        )
        opened.enter_context(closing(results))
        keep_config(config, folder)
        files = allow_all_files()
        plan = Plan(config, Place(results.run, machine.cores(), str(config_folder), cache_folder(), files))
        ledger, handover = plan.ledger(results), Handover()

        def task_of(stage: StageWorkers) -> Task:
            return plan.task_of(stage, ledger, handover)

        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        opened.callback(context.term)
        store = opened.enter_context(closing(Store(folder)))
        board = opened.enter_context(closing(Board(folder)))
        links = opened.enter_context(closing(Links(context, folder)))
        control = opened.enter_context(closing(Control(context, folder)))
        signals = opened.enter_context(closing(Signals()))
        supervisor = opened.enter_context(closing(Supervisor(plan.all, folder, links, board, Processes(), task_of)))
        status = Status(config, results.run, plan.streams, ledger, supervisor, store.total_bytes)
        status.kept = results.kept
        hands = Hands(links, control, store, supervisor, signals, results, lambda config: keep_config(config, folder))
        yield Broker(plan, ledger, handover, hands, status, report)


def keep_config(config: Config, folder: Path) -> None:
    """Put the config where workers read it, as a whole."""
    anew = folder / "config.json.new"
    anew.write_bytes(dump(config))
    os.replace(anew, folder / "config.json")
