"""
What is asked of llmux beside others than nginx, and of its usual way: bounds
that are not those of the table.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from benchmarks.proxy import _go, _llmux, _swap
from benchmarks.proxy._report import BASE, Results


@frozen
class Bound:
    """
    What one figure must be.

    @ivar proxy: whose figure.
    @ivar base: the one that it is divided by, in the same round; the empty
        string for the figure itself.
    @ivar most: what it must be; L{None} if it is only printed.
    @ivar least: whether that is a lower bound.
    """

    key: str
    proxy: str
    base: str
    most: float | None
    least: bool = False

    def kept(self, value: float) -> bool:
        """
        Whether a figure is within it.
        """
        if self.most is None:
            return True
        return value >= self.most if self.least else value <= self.most


BOUNDS = (
    Bound("cpu_us_per_request", _llmux.USUAL, "", 500.0),
    Bound("cpu_us_per_chunk_400", _llmux.USUAL, BASE, 3.0),
    Bound("requests_per_second", "llmux", _go.NAME, None, least=True),
    Bound("resident_mb_1500", "llmux", _go.NAME, None),
    Bound("requests_per_second", "llmux", _swap.NAME, 2.0, least=True),
    *(
        Bound(key, "llmux", _swap.NAME, None)
        for key in (
            "cpu_us_per_request",
            "cpu_us_per_chunk_100",
            "cpu_us_per_chunk_400",
            "cpu_us_per_chunk_1500",
            "resident_mb_1500",
        )
    ),
)


def judged(results: Results) -> Iterator[tuple[Bound, float]]:
    """
    Each of these that was measured, and what it was.
    """
    for bound in BOUNDS:
        if bound.key not in results.values:
            continue
        if bound.base:
            value = results.ratio(bound.key, bound.proxy, bound.base)
        else:
            value = results.figure(bound.key, bound.proxy)
        if value is not None:
            yield bound, value


def report(results: Results) -> str:
    """
    A line for each.
    """
    lines = []
    for bound, value in judged(results):
        title = results.measures[bound.key].title
        what = f"{bound.proxy}: {title}: {value:.3g}"
        if bound.base:
            what += f"x that of {bound.base}"
        if bound.most is not None:
            sign = ">=" if bound.least else "<="
            verdict = "met" if bound.kept(value) else "MISSED"
            what += f" (must be {sign} {bound.most:g}: {verdict})"
        lines.append(what)
    return "\n".join(lines)
