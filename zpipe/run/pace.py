"""How many workers the stages of a running pipeline have, and how many frames each holds: measured while it runs.

Looks at what frames cost and says what follows; starting and retiring is the supervisor's.
"""

import logging
from typing import Literal

from zpipe.errors import ZpipeError
from zpipe.rules import balance, credit
from zpipe.run.plan import Plan
from zpipe.run.supervisor import Supervisor

BALANCE_S = 2.0

log = logging.getLogger(__name__)


class Pace:
    """The counts of the chain's stages. `automatic`: those that are to be kept in balance here, by number."""

    def __init__(self, plan: Plan, supervisor: Supervisor) -> None:
        self._stages = plan.stages
        self._fixed_slots = plan.config.frames.in_flight != "auto"
        self._supervisor = supervisor
        self._balance = balance.Balance(plan.automatic(), plan.place.cores)
        self._next_s = 0.0
        self.automatic = self._balance.automatic

    def depths(self, readers: int, slots: int) -> tuple[list[int], int]:
        """How many frames a worker of each stage may hold by its speed; how many of so many slots are used."""
        depths = []
        for stage in self._stages:
            busy_s, done = self._supervisor.time_of(stage)
            depths.append(credit.depth_for(busy_s / done) if done > balance.FIRST_FRAMES else credit.DEPTH)
        limit = credit.limit_for([stage.wanted for stage in self._stages], depths, readers)
        return depths, slots if self._fixed_slots else limit

    def scale(self, counts: dict[str, int | Literal["auto"]]) -> None:
        """Have stages have other counts of workers; ZpipeError, and nothing is changed, if one of them cannot."""
        stages = {stage.name: stage for stage in self._stages}
        for name, count in counts.items():
            if name not in stages:
                raise ZpipeError(f"no stage {name!r}: this pipeline has {', '.join(stages)}")
            if count != "auto" and not 1 <= count <= 256:
                raise ZpipeError(f"{name}={count}: a stage has 1 to 256 workers")
        for name, count in counts.items():
            self.automatic[stages[name].number] = count == "auto"
            if count != "auto":
                stages[name].wanted = count

    def keep_balance(self, now: float) -> None:
        """Give the stages with `count: auto` as many workers as their frames' cost calls for."""
        if now < self._next_s or not any(self.automatic):
            return
        self._next_s = now + BALANCE_S
        cpu_s, done = zip(*(self._supervisor.work_of(stage) for stage in self._stages), strict=True)
        for stage, count in zip(self._stages, self._balance.measure(cpu_s, done), strict=True):
            if count is not None and count != stage.wanted:
                log.info("stage.balanced stage=%s count=%d (was %d)", stage.name, count, stage.wanted)
                stage.wanted = count
