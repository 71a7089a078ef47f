"""What a run begins with, as its config says: the groups of workers, the ledger, and what each worker is told."""

from typing import TYPE_CHECKING

from zpipe.config.keys import Config, ModelConfig
from zpipe.engines import machine
from zpipe.models.cache import cache_folder
from zpipe.results.file import ResultsFile
from zpipe.rules import balance
from zpipe.rules.ledger import DEPTH, Ledger, limit_for
from zpipe.run.supervisor import Group

if TYPE_CHECKING:
    from zpipe.run.broker import Broker

MOST_SLOTS = 4096
"""Frames in flight at most with `in_flight: auto`; how many it is follows from the counts (flow.limit_for)."""


def make_groups(config: Config) -> tuple[list[Group], list[Group]]:
    """The groups of the stages in chain order, the sink's last; and those of the sources."""
    models: list[tuple[str, str, ModelConfig]] = [("detect", "detect", config.detect)]
    models += [("classify", entry.name, entry) for entry in config.classifiers]
    counts = balance.first_counts([entry.count for _, _, entry in models], machine.cores())
    stages = [
        Group(role, name, number, count, entry.timeout_s, model=entry.model)
        for number, ((role, name, entry), count) in enumerate(zip(models, counts, strict=True))
    ]
    stages.append(Group("sink", "sink", len(stages), 1, config.sink.timeout_s, single=True))
    sources = [
        Group("ingest", f"ingest-{entry.stream}", number, 1, entry.timeout_s, single=True)
        for number, entry in enumerate(config.ingest)
    ]
    return stages, sources


def make_ledger(config: Config, stages: list[Group], sources: list[Group], results: ResultsFile) -> Ledger:
    """The ledger, going on where the results end. A source whose end is in there is not started."""
    slots = config.frames.in_flight
    most = MOST_SLOTS if isinstance(slots, str) else slots
    ledger = Ledger(len(stages) - 1, len(sources), most, config.max_attempts)
    if isinstance(slots, str):
        counts = [group.wanted for group in stages[:-1]]
        ledger.limit = limit_for(counts, [DEPTH for _ in counts], len(sources))
    for number, entry in enumerate(config.ingest):
        account = results.stream(str(entry.stream))
        ledger.resume(number, account.seq, account.ok, account.failed, account.closed)
        if account.closed:
            sources[number].wanted = 0
    return ledger


def orders_of(broker: "Broker", group: Group) -> list[str]:
    """The arguments of a new worker of the group (worker.py), beyond those that every worker gets."""
    match group.role:
        case "ingest":
            stream = broker.ledger.streams[group.stage]
            orders = [f"--start={stream.read + 1}"]
            if broker.ledger.condemned(group.stage):
                reason = broker.deaths.get((group.stage, stream.suspect), "ingest died")
                orders += ["--condemned", str(stream.suspect), f"{stream.attempts - 1} attempts: {reason}"]
            return orders
        case "sink":
            streams = broker.ledger.streams
            published = ",".join(str(stream.published) for stream in streams)
            under_way = [(n, seq) for n, seq in broker.under_way.items() if seq > streams[n].published]
            orders = [f"--run={broker.run_id}", f"--published={published}"]
            if under_way:
                orders += ["--under-way", *(f"{stream}:{seq}" for stream, seq in under_way)]
            if broker.publish:
                orders += ["--endpoints", broker.publish, broker.history]
            if broker.subscribers is not None:
                orders += ["--rejoin", *map(str, broker.subscribers)]
            return orders
        case _:
            entry = broker.config.detect if group.role == "detect" else broker.config.classifiers[group.stage - 1]
            counts = [stage.wanted for stage in broker.stages[:-1]]
            threads = balance.threads(entry.threads, counts, machine.cores())
            return [f"--threads={threads}", f"--models={broker.models}", f"--cache={cache_folder()}"]
