"""
The grid: numbers of models, costs of a switch and kinds of arrivals, each
combination with the highest rate that a policy can serve, and with its waits
at rates that are the same for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from random import Random

from attrs import frozen

from benchmarks.scheduling.sets import Set, evenly, names, zipf
from benchmarks.scheduling.trial import POLICIES, run
from llmux.simulate import Arrival, Report

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

    def reports(self, policy: str, rate: float) -> list[Report]:
        """
        @return: what becomes of all its traces.
        """
        return [
            run(
                self.traffic(rate, seed),
                policy,
                targetSecs=self.target,
                resources=self.machine.resources,
                needs=self.machine.needs(names(self.models)),
            )
            for seed in self.seeds
        ]

    def goodput(self, policy: str, steps: int = 6) -> float:
        """
        The highest rate at which 99 of 100 requests start within the target.

        @param steps: how often what is left of the range is halved.
        """

        def good(rate: float) -> bool:
            reports = self.reports(policy, rate)
            within = sum(
                (report.waits.within or 0.0) * report.waits.count for report in reports
            )
            return within >= 0.99 * sum(report.waits.count for report in reports)

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
    @ivar missed: how often cost-aware let a request be passed over too long.
    @ivar lost: requests that it lost.
    """

    cell: Cell
    goodput: Mapping[str, float]
    mean: Mapping[str, list[float]]
    p99: Mapping[str, list[float]]
    missed: int
    lost: int


def outcome(cell: Cell) -> Outcome:
    """
    Find everything out about a cell.
    """
    goodput = {policy: cell.goodput(policy) for policy in POLICIES}
    mean: dict[str, list[float]] = {policy: [] for policy in POLICIES}
    p99: dict[str, list[float]] = {policy: [] for policy in POLICIES}
    missed = lost = 0
    for part in RATES:
        for policy in POLICIES:
            reports = cell.reports(policy, part * goodput["first-foreign"])
            mean[policy].append(sum(one.waits.mean for one in reports) / len(reports))
            p99[policy].append(sum(one.waits.p99 for one in reports) / len(reports))
            if policy == "cost-aware":
                missed += sum(one.missed for one in reports)
                lost += sum(one.lost for one in reports)
    return Outcome(cell, goodput, mean, p99, missed, lost)


def cells(machine: Machine, smoke: bool, seeds: tuple[int, ...]) -> list[Cell]:
    """
    @return: the cells of the grid on a machine.
    """
    if smoke:
        return [Cell(2, 5.0, 1.0, machine, 100, seeds[:1])]
    return [
        Cell(models, cost, cv, machine, seeds=seeds)
        for models in (2, 4, 8)
        for cost in (5.0, 15.0, 40.0)
        for cv in (1.0, 4.0)
    ]
