# -*- test-case-name: llmux.test.test_policy_drains -*-
"""
How long what is in flight is going to last.

Lengths of answers vary by orders of magnitude and are close to lognormal, so
one that has lasted long is likely to last longer still.  What is expected
here follows from the median and the spread that were measured, and from how
long each request has been in flight.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from math import erfc, exp, log, sqrt

from attrs import frozen

from llmux.interfaces import ICosts, ModelView

#: Where the distributions are looked at: standard deviations of the logarithm
#: from the median.  Beyond the last point, one request in 2000 is left out.
_POINTS = (-1.5, -1.0, -0.5, 0.0, 0.4, 0.8, 1.2, 1.6, 2.0, 2.4, 2.8, 3.3)

#: However even a model's answers have been so far, the next may differ by
#: this much: about a third.
_LEAST_SPREAD = 0.3

#: Requests whose ages are this close, as a ratio, are taken together.
_BIN = 1.5


@frozen
class Lengths:
    """
    How long one model's requests are in flight.

    @ivar median: in seconds.
    @ivar spread: the standard deviation of the natural logarithm.
    """

    median: float
    spread: float

    @classmethod
    def of(cls, model: str, costs: ICosts, maxTokens: int | None = None) -> Lengths:
        """
        What has been measured of a model.

        @param maxTokens: of those whose answers may have about so many tokens.
        """
        return cls(
            max(costs.median(model, maxTokens), 0.001),
            max(costs.spread(model, maxTokens), _LEAST_SPREAD),
        )

    @property
    def mean(self) -> float:
        """
        The mean length, in seconds.
        """
        return self.median * exp(self.spread**2 / 2)

    @property
    def points(self) -> list[float]:
        """
        The times, in seconds, at which to look at the distribution.
        """
        return [self.median * exp(self.spread * point) for point in _POINTS]

    def beyond(self, seconds: float) -> float:
        """
        @return: the share of requests that are in flight for longer.
        """
        if seconds <= 0:
            return 1.0
        off = log(seconds / self.median) / self.spread
        return 0.5 * erfc(off / sqrt(2.0))

    def remains(self, age: float, seconds: float) -> float:
        """
        @return: how likely it is that a request that has been in flight for
            some time is in flight for so many seconds more.
        """
        before = self.beyond(age)
        return self.beyond(age + seconds) / before if before > 1e-9 else 1.0


@frozen
class Drain:
    """
    What is known of the end of all that some models have in flight.

    @ivar times: ascending, in seconds from now, from 0 on.
    @ivar lasting: how likely the drain is to last longer than each of them.
    """

    times: tuple[float, ...]
    lasting: tuple[float, ...]

    @property
    def mean(self) -> float:
        """
        About how long the drain is going to last, in seconds.
        """
        return _area(self.times, self.lasting)

    def extension(self, lengths: Lengths, size: float | None = None) -> float:
        """
        By how much one request more would make it longer.

        @param lengths: of the model that the request is for.
        @param size: about how long it takes, if that is known.
        @return: about how many seconds.
        """
        return _area(
            self.times,
            [
                (1.0 - lasting)
                * (lengths.beyond(time) if size is None else float(time < size))
                for time, lasting in zip(self.times, self.lasting, strict=True)
            ],
        )


def drain(
    now: float,
    views: Collection[ModelView],
    costs: ICosts,
    size: float | None = None,
    more: Lengths | None = None,
) -> Drain:
    """
    How long models will have something in flight if nothing more is let in.

    @param now: the time.
    @param size: the length of a request about which L{Drain.extension} is
        going to be asked.
    @param more: the same, if its length is not known.
    """
    ages: list[tuple[Lengths, float, int]] = []
    known: list[float] = []
    spans = [] if more is None else [more]
    for view in views:
        # Those of which the same is expected are taken together.
        kinds: dict[int | None, Lengths] = {}
        bins: dict[tuple[Lengths, int], list[float]] = {}
        for running in view.running:
            age = now - running.granted
            if running.size is not None and running.size > age:
                known.append(running.size - age)
                continue
            limit = running.maxTokens
            kind = None if limit is None else limit.bit_length()
            lengths = kinds.get(kind)
            if lengths is None:
                lengths = kinds[kind] = Lengths.of(view.name, costs, limit)
            # Much younger than the median is as good as new.
            relative = max(age / lengths.median, 0.1)
            bins.setdefault((lengths, round(log(relative) / log(_BIN))), []).append(age)
        ages += [
            (lengths, sum(some) / len(some), len(some))
            for (lengths, _), some in bins.items()
        ]
        spans += kinds.values() or [Lengths.of(view.name, costs)]
    grid = _thinned(point for lengths in set(spans) for point in lengths.points)
    longest = max(known, default=0.0)
    if longest:
        # A step is drawn as one: just before, and just after.
        grid.update((longest * 0.999, longest))
    if size:
        grid.update((size * 0.999, size))
    times = tuple(sorted(grid))
    lasting = []
    for time in times:
        over = 1.0 if time >= longest else 0.0
        for lengths, age, count in ages:
            if not over:
                break
            over *= (1.0 - lengths.remains(age, time)) ** count
        lasting.append(1.0 - over)
    return Drain(times, tuple(lasting))


def _thinned(points: Iterable[float]) -> set[float]:
    """
    Points without those that are hardly beyond another, and with 0.
    """
    found, last = {0.0}, 0.0
    for point in sorted(points):
        if point >= 1.2 * last:
            last = point
            found.add(point)
    return found


def _area(times: Collection[float], values: Collection[float]) -> float:
    """
    The area below a line that is given by points.
    """
    area = 0.0
    lastTime = lastValue = None
    for time, value in zip(times, values, strict=True):
        if lastTime is not None and lastValue is not None:
            area += (time - lastTime) * (value + lastValue) / 2
        lastTime, lastValue = time, value
    return area
