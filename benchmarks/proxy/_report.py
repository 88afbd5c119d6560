"""
From single figures to a table and to JSON.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from enum import Enum
from statistics import median
from typing import Any

from attrs import define, field, frozen

#: What the others are compared with.
BASE = "nginx"


class Against(Enum):
    """
    How a figure stands beside the base's in the same round.
    """

    RATIO = "ratio"
    DIFFERENCE = "difference"
    NOTHING = "nothing"


@frozen
class Measure:
    """
    One row of the table.

    @ivar key: its name in the JSON.
    @ivar title: its name in the table, with the unit.
    @ivar against: how it is compared with the base.
    @ivar must: how large that comparison (or the figure itself, if there is
        none) may be for llmux.
    @ivar aim: what it is hoped to be, in the same terms.
    @ivar least: whether C{must} and C{aim} are lower bounds.
    @ivar itself: whether they are about the figure itself all the same.
    """

    key: str
    title: str
    against: Against = Against.RATIO
    must: float | None = None
    least: bool = False
    itself: bool = False
    aim: float | None = None

    def keeps(self, value: float, bound: float) -> bool:
        """
        Whether a figure is within a bound.
        """
        return value >= bound if self.least else value <= bound

    def verdict(self, value: float | None) -> str:
        """
        What a figure reaches, in a word; none if nothing is asked of it.
        """
        if value is None or (self.must is None and self.aim is None):
            return ""
        if self.must is not None and not self.keeps(value, self.must):
            return "MISSED"
        if self.aim is None or self.keeps(value, self.aim):
            return "met"
        return "met, not aim" if self.must is not None else "not aim"


def percentile(values: Sequence[float], part: float) -> float:
    """
    @param part: from 0 to 1.
    """
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


@define
class Results:
    """
    Figures by measure, proxy and round.
    """

    measures: dict[str, Measure] = field(factory=dict)
    values: dict[str, dict[str, dict[int, float]]] = field(factory=dict)

    def add(self, measure: Measure, proxy: str, round: int, value: float) -> None:
        """
        Take a figure in.
        """
        self.measures[measure.key] = measure
        self.values.setdefault(measure.key, {}).setdefault(proxy, {})[round] = value

    def figure(self, key: str, proxy: str) -> float | None:
        """
        The median of a proxy's figures.
        """
        found = self.values[key].get(proxy)
        return median(found.values()) if found else None

    def compared(self, key: str, proxy: str) -> float | None:
        """
        The median of what each round's figure is beside the base's of the
        same round: so a machine that is slow for a while spoils one round of
        both, not the comparison.
        """
        against = self.measures[key].against
        mine = self.values[key].get(proxy, {})
        base = self.values[key].get(BASE, {})
        pairs = [(value, base[n]) for n, value in mine.items() if n in base]
        if against is Against.RATIO:
            pairs = [(value, other) for value, other in pairs if other]
            found = [value / other for value, other in pairs]
        elif against is Against.DIFFERENCE:
            found = [value - other for value, other in pairs]
        else:
            found = []
        return median(found) if found else None

    def ratio(self, key: str, proxy: str, base: str) -> float | None:
        """
        The median of what each round's figure of one proxy is divided by that
        of another.
        """
        mine = self.values[key].get(proxy, {})
        other = self.values[key].get(base, {})
        found = [value / other[n] for n, value in mine.items() if other.get(n)]
        return median(found) if found else None

    def missed(self, proxy: str) -> list[str]:
        """
        The measures in which a proxy is not what it must be.
        """
        over = []
        for key, measure in self.measures.items():
            value = self.judged(key, proxy)
            if measure.must is None or value is None:
                continue
            if not measure.keeps(value, measure.must):
                over.append(key)
        return over

    def judged(self, key: str, proxy: str) -> float | None:
        """
        What C{must} is about.
        """
        measure = self.measures[key]
        if measure.itself or measure.against is Against.NOTHING:
            return self.figure(key, proxy)
        return self.compared(key, proxy)

    def asJSON(self, proxies: Iterable[str]) -> dict[str, Any]:
        """
        Everything, for other programs.
        """
        proxies = list(proxies)
        return {
            "machine": {
                "cpus": os.cpu_count(),
                "system": platform.platform(),
                "python": platform.python_version(),
            },
            "base": BASE,
            "measures": {
                key: {
                    "title": measure.title,
                    "compared_by": measure.against.value,
                    "must": measure.must,
                    "aim": measure.aim,
                    "verdict": measure.verdict(self.judged(key, "llmux")),
                    "proxies": {
                        proxy: {
                            "median": self.figure(key, proxy),
                            "compared": self.compared(key, proxy),
                            "rounds": [*self.values[key].get(proxy, {}).values()],
                        }
                        for proxy in proxies
                    },
                }
                for key, measure in self.measures.items()
            },
            "missed": self.missed("llmux"),
        }

    def table(self, proxies: Sequence[str]) -> str:
        """
        Everything, for people: each proxy's median, and beside it how it
        compares with the base; then what llmux must be and aims at, and
        whether it is that.
        """
        head = ["median of the rounds"]
        for proxy in proxies:
            head += [proxy] if proxy == BASE else [proxy, f"to {BASE}"]
        rows = [[*head, "must", "aim", "llmux"]]
        for key, measure in self.measures.items():
            row = [measure.title]
            for proxy in proxies:
                row.append(_number(self.figure(key, proxy)))
                if proxy != BASE:
                    row.append(_comparison(measure, self.compared(key, proxy)))
            row += [_bound(measure, measure.must), _bound(measure, measure.aim)]
            row.append(measure.verdict(self.judged(key, "llmux")))
            rows.append(row)
        return _aligned(rows)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _comparison(measure: Measure, value: float | None) -> str:
    if value is None:
        return ""
    if measure.against is Against.DIFFERENCE:
        return f"{value:+.3g}"
    return f"{value:.2f}x"


def _bound(measure: Measure, bound: float | None) -> str:
    if bound is None:
        return ""
    sign = ">=" if measure.least else "<="
    isRatio = measure.against is Against.RATIO and not measure.itself
    unit = "x" if isRatio else ""
    return f"{sign} {bound:g}{unit}"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        first = row[0].ljust(widths[0])
        rest = [
            cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)
        ]
        lines.append("  ".join([first, *rest]).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)
