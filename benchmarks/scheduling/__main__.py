"""
Compare policies, and see whether the default reaches what it promises::

    python -m benchmarks.scheduling [--smoke] [--seed N] [--only PART ...]

Each figure is printed with what it must reach.  The exit status is 1 if one
does not.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from math import exp, log
from multiprocessing import Pool
from random import Random
from time import monotonic, process_time
from typing import Any

from benchmarks.scheduling.best import leastWait
from benchmarks.scheduling.costs import decisionSeconds, switchSeconds
from benchmarks.scheduling.grid import (
    MIXED,
    ONE,
    RIVALS,
    TWO,
    Cell,
    Machine,
    Outcome,
    cells,
    outcome,
)
from benchmarks.scheduling.sets import SETS, Set, evenly, names, profiles, zipf
from benchmarks.scheduling.trial import POLICIES, run
from llmux.simulate import Arrival
from llmux.simulate.report import table

#: What the profiles' serving shares must reach, by the cost of a switch.
SHARES = {2.0: 94.0, 5.0: 88.0, 10.0: 80.0, 20.0: 67.0}


class Findings:
    """
    Figures, and whether they are what they must be.
    """

    def __init__(self, judges: bool = True) -> None:
        """
        @param judges: whether so much is tried that the figures say something.
        """
        self.rows: list[dict[str, Any]] = []
        self._judges = judges

    def add(self, what: str, value: float, wanted: str, good: bool) -> None:
        """
        Note and print a figure.
        """
        self.rows.append(
            {"what": what, "value": round(value, 4), "wanted": wanted, "good": good}
        )
        verdict = "    " if not self._judges else "ok  " if good else "MISS"
        print(f"{verdict} {what}: {value:.4g} (wanted: {wanted})", flush=True)


def mean(values: Iterable[float]) -> float:
    """
    @return: the geometric mean.
    """
    found = [log(max(value, 1e-9)) for value in values]
    return exp(sum(found) / len(found))


def trySets(found: Findings, seed: int, smoke: bool) -> None:
    """
    B1 to B8: nothing lost, no bound missed.
    """
    rows = [
        ["set", "policy", "switches", "serving %", "mean", "p99", "max", "passed over"]
    ]
    missed = lost = 0
    for number, make in SETS.items():
        for traffic in make(seed, 0.1 if smoke else 1.0):
            if smoke and number == "B1" and "10 s" not in traffic.name:
                continue
            for policy in POLICIES:
                report = run(traffic, policy, seed=seed)
                if policy == "cost-aware":
                    missed += report.missed
                    lost += report.lost
                if number != "B1":
                    rows.append(
                        [
                            traffic.name,
                            policy,
                            str(report.switches),
                            f"{100 * report.serving:.0f}",
                            f"{report.waits.mean:.1f}",
                            f"{report.waits.p99:.0f}",
                            f"{report.waits.max:.0f}",
                            f"{report.passedOver:.0f}",
                        ]
                    )
    print(table(rows))
    found.add("bounds missed in B1 to B8", missed, "0", missed == 0)
    found.add("requests lost in B1 to B8", lost, "0", lost == 0)


def tryProfiles(found: Findings, seed: int, smoke: bool) -> None:
    """
    The twelve profiles: how much of the time is spent serving.
    """
    for cost, wanted in SHARES.items():
        shares = {}
        for policy in POLICIES:
            serving = switching = 0.0
            for name, trace in profiles(seed).items():
                traffic = Set(name, trace, evenly("abc", cost, 1), firstWakeFree=True)
                report = run(traffic, policy)
                serving += report.serving * report.seconds
                switching += report.switching * report.seconds
            shares[policy] = 100 * serving / (serving + switching)
        others = ", ".join(
            f"{policy} {share:.1f}"
            for policy, share in shares.items()
            if policy != "cost-aware"
        )
        share = shares["cost-aware"]
        found.add(
            f"serving share of the profiles at {cost:g} s in % ({others})",
            share,
            f"at least {wanted:g}",
            share >= wanted,
        )


#: What has been found out about the grid on one place, by its cell.
_onOne: dict[tuple[int, float, float, int, tuple[int, ...]], Outcome] = {}


def tryGrid(machine: Machine) -> Callable[[Findings, int, bool], None]:
    """
    The grid on one machine.
    """

    def tried(found: Findings, seed: int, smoke: bool) -> None:
        todo = cells(machine, smoke, (2 * seed - 1, 2 * seed))
        known = [_onOne.get(_key(cell)) for cell in todo]
        if smoke:
            outcomes = list(map(outcome, todo, known))
        else:
            with Pool(os.cpu_count()) as pool:
                outcomes = pool.starmap(outcome, zip(todo, known, strict=True), 1)
        if machine is ONE:
            _onOne.update((_key(one.cell), one) for one in outcomes)
        _printGrid(outcomes)
        ours = [policy for policy in outcomes[0].goodput if policy not in RIVALS]
        for policy, (rival, wanted) in product(
            ours, (("first-foreign", 1.3), ("exhaust", 1.0))
        ):
            ratio = mean(one.goodput[policy] / one.goodput[rival] for one in outcomes)
            aim = ", aim 1.6" if wanted > 1 else ""
            found.add(
                f"{machine.name}: goodput of {policy} by that of {rival}",
                ratio,
                f"at least {wanted:g}{aim}",
                ratio >= wanted,
            )
        for policy, (what, most) in product(ours, (("mean", 0.80), ("p99", 0.95))):
            ratio = mean(
                mine / theirs
                for one in outcomes
                for mine, theirs in zip(
                    getattr(one, what)[policy],
                    getattr(one, what)["first-foreign"],
                    strict=True,
                )
                if theirs > 0
            )
            found.add(
                f"{machine.name}: {what} wait of {policy} by that of first-foreign",
                ratio,
                f"at most {most:g}",
                ratio <= most,
            )
        bad = sum(one.missed + one.lost for one in outcomes)
        found.add(f"{machine.name}: bounds missed and requests lost", bad, "0", not bad)

    return tried


def _key(cell: Cell) -> tuple[int, float, float, int, tuple[int, ...]]:
    return cell.models, cell.cost, cell.cv, cell.count, cell.seeds


def _printGrid(outcomes: Sequence[Outcome]) -> None:
    policies = list(outcomes[0].goodput)
    rows = [
        [
            "models, cost, cv",
            *(f"goodput {policy}" for policy in policies),
            "mean / first-foreign",
            "p99 / first-foreign",
        ]
    ]
    for one in outcomes:
        ratios = [
            mean(
                ours / max(theirs, 1e-9)
                for ours, theirs in zip(
                    by["cost-aware"], by["first-foreign"], strict=True
                )
            )
            for by in (one.mean, one.p99)
        ]
        cell = one.cell
        rows.append(
            [f"{cell.models}, {cell.cost:g} s, {cell.cv:g}"]
            + [f"{one.goodput[policy]:.3f}" for policy in policies]
            + [f"{ratio:.2f}" for ratio in ratios]
        )
    print(table(rows), flush=True)


def tryBest(found: Findings, seed: int, smoke: bool) -> None:
    """
    Small cases beside the best that could have been done.
    """
    random = Random(f"best/{seed}")
    sums = dict.fromkeys(POLICIES, 0.0)
    best = before = 0.0
    for number in range(12 if smoke else 270):
        models = names(2 + number % 2)
        cost = (5.0, 15.0, 40.0)[number // 2 % 3]
        trace: list[Arrival] = zipf(
            random, models, 7, random.choice((0.1, 0.3, 1.0)), 1.0
        )
        traffic = Set("small", trace, evenly(models, cost), 60 + 4 * cost)
        least = leastWait(trace, cost)
        best += least
        before += leastWait(trace, cost, beforehand=True)
        for policy in POLICIES:
            sums[policy] += run(traffic, policy).waits.mean
    others = ", ".join(
        f"{policy} {total / best:.2f}"
        for policy, total in sums.items()
        if policy != "cost-aware"
    )
    ratio = sums["cost-aware"] / best
    found.add(
        f"mean wait in small cases by the best possible ({others})",
        ratio,
        "at most 1.3, aim 1.15",
        ratio <= 1.3,
    )
    print(
        "     (if models may be woken before they are asked for, which takes a "
        f"look ahead, the best possible is {before / best:.2f} of that)"
    )


def tryCosts(found: Findings, seed: int, smoke: bool) -> None:
    """
    What the switcher itself takes, and a simulated day.
    """
    took = 1000 * switchSeconds()
    found.add("a switch with 100 waiters, in ms", took, "under 5", took < 5)
    took = 1000 * decisionSeconds(100, 500 if smoke else 10_000)
    found.add("a decision, 100 models, 10,000 waiters, in ms", took, "< 1", took < 1)
    models = names(8)
    hours = 1 if smoke else 24
    trace = zipf(Random(f"day/{seed}"), models, int(3600 * hours * 0.2), 0.2, 2.0)
    started = process_time()
    run(Set("day", trace, evenly(models, 5), 180), "cost-aware")
    took = process_time() - started
    found.add(f"a simulated day ({hours} h), in s", took, "under 60", took < 60)


PARTS: dict[str, Callable[[Findings, int, bool], None]] = {
    "sets": trySets,
    "profiles": tryProfiles,
    "best": tryBest,
    "costs": tryCosts,
    "grid": tryGrid(ONE),
    "two": tryGrid(TWO),
    "mixed": tryGrid(MIXED),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """
    @return: the exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scheduling", description="Compare switch policies."
    )
    parser.add_argument("--smoke", action="store_true", help="a little of each")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--json", metavar="FILE", help="write the figures there")
    options = parser.parse_args(arguments)
    found = Findings(not options.smoke)
    started = monotonic()
    for part in options.only:
        print(f"\n== {part}", flush=True)
        began = monotonic()
        PARTS[part](found, options.seed, options.smoke)
        print(f"     ({monotonic() - began:.0f} s)", flush=True)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(found.rows, file, indent=2)
    took = f"in {monotonic() - started:.0f} s"
    if options.smoke:
        print(f"\n{len(found.rows)} figures, {took}; so little judges none of them")
        return 0
    bad = [row for row in found.rows if not row["good"]]
    print(
        f"\n{len(found.rows) - len(bad)} of {len(found.rows)} figures reached, {took}"
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
