# -*- test-case-name: llmux.test.test_simulate_report -*-
"""
What a simulation found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

from attrs import asdict, field, frozen


def quantile(ordered: Sequence[float], share: float) -> float:
    """
    The least value such that at least that share of all is not above it.

    @param ordered: values in ascending order.
    @return: 0 if there are none.
    """
    if not ordered:
        return 0.0
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


@frozen
class Waits:
    """
    How long requests waited for their model, in seconds.

    @ivar count: how many there were.
    @ivar within: what share waited no longer than the target, if there is
        one.
    """

    count: int
    mean: float
    p50: float
    p90: float
    p99: float
    max: float
    within: float | None = None

    @classmethod
    def of(cls, waits: Sequence[float], target: float | None = None) -> Waits:
        """
        Sum waits up.
        """
        ordered = sorted(waits)
        count = len(ordered)
        return cls(
            count,
            sum(ordered) / count if count else 0.0,
            quantile(ordered, 0.5),
            quantile(ordered, 0.9),
            quantile(ordered, 0.99),
            ordered[-1] if count else 0.0,
            None
            if target is None
            else sum(wait <= target for wait in ordered) / count
            if count
            else 1.0,
        )


@frozen
class Change:
    """
    Something for the timeline.

    @ivar state: the state that the model is in from then on.
    @ivar waiting: how many wait for it from then on.
    @ivar inFlight: how many it serves from then on.
    """

    at: float
    model: str
    state: str
    waiting: int
    inFlight: int


@frozen
class Report:
    """
    What became of a trace under a policy.

    @ivar policy: its name.
    @ivar seconds: from the start until the last request was over.
    @ivar switches: how many models were woken.
    @ivar failed: how many attempts to wake one came to nothing.
    @ivar serving: the share of the time in which at least one request was
        being served.
    @ivar switching: the share in which none was, and a hook ran.
    @ivar idle: the rest.
    @ivar waits: of all requests.
    @ivar byModel: the same by model.
    @ivar passedOver: the longest that a request was passed over by later
        ones, in seconds: that it had waited when one that came after it was
        let in to another model in its place, other than in a drain or
        together with those for whom that model had been woken.
    @ivar bound: how long that may be, for the model where it comes nearest.
    @ivar missed: how often it was longer.
    @ivar lost: requests that were never served to their end, though no fault
        of their model was to blame.
    @ivar refused: how often a request was told to come back later because
        its model failed to wake.
    @ivar broken: requests whose model died while it served them.
    @ivar cut: requests that were ended because a drain took too long.
    @ivar timeline: all changes, if they were asked for.
    @ivar overdue: how often a model had to wait for the switches of others
        though somebody had waited for it for as long as they may be passed
        over: a sign of more than can be served within the bounds.
    """

    policy: str
    seconds: float
    switches: int
    failed: int
    serving: float
    switching: float
    idle: float
    waits: Waits
    byModel: Mapping[str, Waits]
    passedOver: float
    bound: float | None
    missed: int
    lost: int
    refused: int
    broken: int
    cut: int
    timeline: Sequence[Change] = field(default=(), repr=False)
    overdue: int = 0

    @property
    def effort(self) -> float:
        """
        Of the time in which the machine did something, the share in which it
        served.
        """
        busy = self.serving + self.switching
        return self.serving / busy if busy else 1.0

    def asJSON(self) -> dict[str, object]:
        """
        @return: what L{json.dumps} takes: all but the timeline.
        """
        return {
            "policy": self.policy,
            "seconds": self.seconds,
            "switches": self.switches,
            "switches_failed": self.failed,
            "serving_share": self.serving,
            "switching_share": self.switching,
            "idle_share": self.idle,
            "wait_secs": asdict(self.waits),
            "wait_secs_by_model": {
                name: asdict(waits) for name, waits in self.byModel.items()
            },
            "passed_over_secs": self.passedOver,
            "bound_secs": self.bound,
            "bound_missed": self.missed,
            "overdue": self.overdue,
            "lost": self.lost,
            "refused": self.refused,
            "broken": self.broken,
            "cut": self.cut,
        }


def table(rows: Sequence[Sequence[str]]) -> str:
    """
    Lay out a table: the first row is its head, the first column is flush
    left, the others are flush right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


def _waits(waits: Waits) -> list[str]:
    return [
        str(waits.count),
        *(
            f"{value:.1f}"
            for value in (waits.mean, waits.p50, waits.p90, waits.p99, waits.max)
        ),
        _percent(waits.within),
    ]


def text(reports: Sequence[Report]) -> str:
    """
    Lay reports out for reading: one table that compares them, and one for
    each with its models.
    """
    wait = ["requests", "wait mean", "p50", "p90", "p99", "max", "within %"]
    parts = [
        table(
            [
                [
                    "policy",
                    "switches",
                    "serving %",
                    "switching %",
                    "idle %",
                    *wait,
                    "passed over",
                    "bound",
                    "lost",
                ],
                *(
                    [
                        report.policy,
                        str(report.switches),
                        _percent(report.serving),
                        _percent(report.switching),
                        _percent(report.idle),
                        *_waits(report.waits),
                        f"{report.passedOver:.1f}",
                        "" if report.bound is None else f"{report.bound:g}",
                        str(report.lost),
                    ]
                    for report in reports
                ),
            ]
        )
    ]
    for report in reports:
        rows = [[report.policy, *wait]]
        rows += [[name, *_waits(waits)] for name, waits in report.byModel.items()]
        parts.append(table(rows))
        notes = [
            f"{count} {what}"
            for count, what in (
                (report.missed, "times a request was passed over for too long"),
                (report.overdue, "times others stood before an overdue model"),
                (report.failed, "failed switches"),
                (report.refused, "requests told to come back later"),
                (report.broken, "requests broken by a dying model"),
                (report.cut, "requests cut by the end of a drain"),
            )
            if count
        ]
        if notes:
            parts.append(f"{report.policy}: " + ", ".join(notes))
    return "\n\n".join(parts)
