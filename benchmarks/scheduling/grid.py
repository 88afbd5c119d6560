"""
The grid: numbers of models, costs of a switch and kinds of arrivals, each
combination with the highest rate that a policy can serve, and with its waits
at rates that are the same for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from random import Random

from attrs import frozen

from benchmarks.scheduling.sets import Set, evenly, names, zipf
from benchmarks.scheduling.trial import TOLD, run
from llmux.simulate import Arrival, Report

#: What knows only one place, whatever there is.
RIVALS = ("first-foreign", "exhaust")

#: At which parts of first-foreign's goodput the waits are compared.
RATES = (0.5, 0.7, 0.9)


@frozen
class Machine:
    """
    @ivar resources: what there is; none for one model at a time.
    """

    name: str
    resources: Mapping[str, float]

    def needs(self, models: list[str]) -> dict[str, Mapping[str, float]]:
        """
        @return: what each model needs.
        """
        if self.name == "one place":
            return {}
        if self.name == "two places":
            return {model: {"slot": 1.0} for model in models}
        # Large and small ones; two that need most of a device, one that needs
        # both.
        kinds: list[Mapping[str, float]] = [
            {"gpu0": 20},
            {"gpu1": 8},
            {"gpu1": 12},
            {"gpu0": 24},
            {"gpu1": 8},
            {"gpu0": 4},
            {"gpu0": 24, "gpu1": 24},
            {"gpu1": 16},
        ]
        return dict(zip(models, kinds, strict=False))


ONE = Machine("one place", {})
TWO = Machine("two places", {"slot": 2.0})
MIXED = Machine("24 + 24 units", {"gpu0": 24.0, "gpu1": 24.0})


@frozen
class Cell:
    """
    One combination.

    @ivar cost: what a switch takes, in seconds.
    @ivar cv: of the time between requests.
    @ivar count: how many requests a trace has.
    @ivar seeds: the seeds of its traces.
    """

    models: int
    cost: float
    cv: float
    machine: Machine = ONE
    count: int = 1000
    seeds: tuple[int, ...] = (1, 2)

    @property
    def together(self) -> bool:
        """
        Whether all models fit at once, so that there is nothing to decide.
        """
        needs = self.machine.needs(names(self.models)).values()
        return bool(needs) and all(
            sum(one.get(resource, 0.0) for one in needs) <= total
            for resource, total in self.machine.resources.items()
        )

    @property
    def target(self) -> float:
        """
        How long a request may wait for its model, in seconds.
        """
        return 60.0 + 2.0 * self.models * self.cost

    def traffic(self, rate: float, seed: int) -> Set:
        """
        @param rate: requests a second.  The same seed gives the same requests
            at any rate, only closer together.
        """
        models = names(self.models)
        random = Random(f"grid/{self.models}/{self.cost}/{self.cv}/{seed}")
        trace = [
            Arrival(one.at / rate, one.model, one.seconds)
            for one in zipf(random, models, self.count, 1.0, self.cv)
        ]
        return Set(str(self), trace, evenly(models, self.cost), self.target)

    def reports(
        self, policy: str, rate: float, seeds: Sequence[int] = ()
    ) -> list[Report]:
        """
        @param seeds: of which of its traces; of all if none are given.
        @return: what becomes of them.
        """
        return [
            run(
                self.traffic(rate, seed),
                policy,
                targetSecs=self.target,
                resources=self.machine.resources,
                needs=self.machine.needs(names(self.models)),
            )
            for seed in seeds or self.seeds
        ]

    def goodput(self, policy: str, steps: int = 6) -> float:
        """
        The highest rate at which 99 of 100 requests start within the target.

        @param steps: how often what is left of the range is halved.
        """

        def good(rate: float) -> bool:
            late = 0.01 * self.count * len(self.seeds) + 0.5
            for seed in self.seeds:
                (report,) = self.reports(policy, rate, (seed,))
                late -= (1.0 - (report.waits.within or 0.0)) * report.waits.count
                if late < 0:
                    return False
            return True

        low, high = 0.005, 0.04
        while high < 4.0 and good(high):
            low, high = high, high * 2
        for _ in range(steps):
            middle = sqrt(low * high)
            if good(middle):
                low = middle
            else:
                high = middle
        return low


@frozen
class Outcome:
    """
    What was found out about a cell.

    @ivar goodput: requests a second, by policy.
    @ivar mean: mean waits at the fixed rates, by policy.
    @ivar p99: the same for the 99th percentile.
    @ivar missed: how often ours let a request be passed over for too long.
    @ivar lost: requests that it lost.
    """

    cell: Cell
    goodput: Mapping[str, float]
    mean: Mapping[str, list[float]]
    p99: Mapping[str, list[float]]
    missed: int
    lost: int


def outcome(cell: Cell, rivals: Outcome | None = None) -> Outcome:
    """
    Find everything out about a cell.

    @param rivals: what is known of the same traffic on one place, which is
        how the rivals use any machine.
    """
    goodput: dict[str, float] = {}
    mean: dict[str, list[float]] = {}
    p99: dict[str, list[float]] = {}
    missed = lost = 0
    for policy in (*RIVALS, "cost-aware", *((TOLD,) if cell.machine == ONE else ())):
        if rivals is not None and policy in RIVALS:
            goodput[policy] = rivals.goodput[policy]
            mean[policy], p99[policy] = rivals.mean[policy], rivals.p99[policy]
            continue
        goodput[policy] = cell.goodput(policy)
        mean[policy], p99[policy] = [], []
        for part in RATES:
            reports = cell.reports(policy, part * goodput["first-foreign"])
            mean[policy].append(sum(one.waits.mean for one in reports) / len(reports))
            p99[policy].append(sum(one.waits.p99 for one in reports) / len(reports))
            if policy not in RIVALS:
                missed += sum(one.missed for one in reports)
                lost += sum(one.lost for one in reports)
    return Outcome(cell, goodput, mean, p99, missed, lost)


def cells(machine: Machine, smoke: bool, seeds: tuple[int, ...]) -> list[Cell]:
    """
    @return: the cells of the grid on a machine.
    """
    if smoke:
        return [Cell(4, 5.0, 1.0, machine, 100, seeds[:1])]
    return [
        Cell(models, cost, cv, machine, seeds=seeds)
        for models in (2, 4, 8)
        for cost in (5.0, 15.0, 40.0)
        for cv in (1.0, 4.0)
        # Where all fit at once there is nothing to decide.
        if not Cell(models, cost, cv, machine).together
    ]
