# -*- test-case-name: llmux.test.test_observe_tally -*-
"""
Metrics that every request touches.

Those of C{prometheus_client} take a lock and several calls each time, which
adds up to a tenth of what a small request costs.  These are numbers, changed
by one thread only, that become that library's metrics when they are asked for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any

from attrs import define
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

__all__ = ["Counts", "Histograms", "ModelSeries", "Sum", "Sums", "Tally"]


class Tally:
    """
    How values are distributed.

    @ivar bounds: up to where each bucket goes; the last has none.
    @ivar counts: how many values are in each bucket.
    @ivar total: what all values add up to.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """
        Take a value in.
        """
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class _Labelled(Collector):
    """
    A metric that has labels.

    @cvar kind: what it is to the library.
    @ivar labelNames: the names of the labels.
    """

    kind: Any

    def __init__(self, name: str, about: str, labels: Sequence[str]) -> None:
        self._name, self._about, self.labelNames = name, about, labels

    def describe(self) -> Iterator[Any]:
        """
        See L{Collector.describe}.
        """
        yield self.kind(self._name, self._about, labels=self.labelNames)


class Histograms(_Labelled):
    """
    A histogram for each combination of labels.
    """

    kind = HistogramMetricFamily

    def __init__(
        self, name: str, about: str, labels: Sequence[str], bounds: Sequence[float]
    ) -> None:
        super().__init__(name, about, labels)
        self._bounds = tuple(map(float, bounds))
        self._marks = [*map(floatToGoString, self._bounds), "+Inf"]
        self.tallies: dict[tuple[str, ...], Tally] = {}

    def of(self, *labels: str) -> Tally:
        """
        That of some labels, which is shown from now on.
        """
        tally = self.tallies.get(labels)
        if tally is None:
            tally = self.tallies[labels] = Tally(self._bounds)
        return tally

    def collect(self) -> Iterator[Any]:
        """
        See L{Collector.collect}.  May be called in any thread.
        """
        for family in self.describe():
            # Copies, each of which is made at once.
            for labels, tally in list(self.tallies.items()):
                total, sofar, buckets = tally.total, 0, []
                for mark, count in zip(self._marks, tally.counts[:], strict=True):
                    sofar += count
                    buckets.append((mark, sofar))
                family.add_metric(labels, buckets, total)
            yield family


class Counts(_Labelled):
    """
    How many values L{Histograms} have taken in, as a counter.
    """

    kind = CounterMetricFamily

    def __init__(
        self, name: str, about: str, labels: Sequence[str], of: Histograms
    ) -> None:
        super().__init__(name, about, labels)
        self._of = of

    def collect(self) -> Iterator[Any]:
        """
        See L{Collector.collect}.  May be called in any thread.
        """
        for family in self.describe():
            for labels, tally in list(self._of.tallies.items()):
                family.add_metric(labels, sum(tally.counts[:]))
            yield family


class Sum:
    """
    What adds up.

    @ivar value: the sum so far.
    """

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0


class Sums(_Labelled):
    """
    A sum for each combination of labels.
    """

    kind = CounterMetricFamily

    def __init__(self, name: str, about: str, labels: Sequence[str]) -> None:
        super().__init__(name, about, labels)
        self._sums: dict[tuple[str, ...], Sum] = {}

    def of(self, *labels: str) -> Sum:
        """
        That of some labels, which is shown from now on.
        """
        found = self._sums.get(labels)
        if found is None:
            found = self._sums[labels] = Sum()
        return found

    def collect(self) -> Iterator[Any]:
        """
        See L{Collector.collect}.  May be called in any thread.
        """
        for family in self.describe():
            for labels, found in list(self._sums.items()):
                family.add_metric(labels, found.value)
            yield family


@define(eq=False)
class ModelSeries:
    """
    What is measured of one model, with its label bound once: a request costs
    no look-ups of labels.

    @ivar depth: how many wait for it.
    @ivar inFlight: how many it serves.  Both become gauges when they are
        asked for, as they change much more often than that.
    @ivar served: seconds for which it has been serving, if it is.
    """

    wait: Tally
    firstByte: Tally
    prompt: Sum
    completion: Sum
    depth: int = 0
    inFlight: int = 0
    served: float = 0.0
