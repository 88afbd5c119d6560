# -*- test-case-name: llmux.test.test_costs -*-
"""
What switching has been measured to cost: exponential moving averages.
"""

from __future__ import annotations

from math import exp, log, sqrt

from attrs import define, field
from zope.interface import implementer

from llmux.interfaces import ICosts


@define
class _Averages:
    """
    Exponential moving averages by key, which begin with a guess.

    @ivar prior: the guess while nothing at all has been measured, in seconds.
    """

    prior: float
    known: dict[object, float] = field(factory=dict, init=False)

    def add(self, key: object, seconds: float) -> None:
        """
        Take a measurement in.
        """
        before = self.known.get(key)
        if before is None:
            # The first is not believed all it says: a C{wake} that finds its
            # model awake takes no time, and a cold one far more than usual.
            self.known[key] = self.prior + Costs.FIRST * (seconds - self.prior)
        else:
            self.known[key] = before + Costs.WEIGHT * (seconds - before)

    def get(self, key: object) -> float:
        """
        The average of a key; for an unknown one that of all others and the
        guess, because models on one machine resemble each other more than any
        constant does.
        """
        try:
            return self.known[key]
        except KeyError:
            return (self.prior + sum(self.known.values())) / (1 + len(self.known))


@define
class _Durations:
    """
    The distribution of durations that vary by orders of magnitude, as those
    of answers do: mean and variance of their logarithm.

    What is guessed beforehand counts as a few measurements, so that one odd
    request does not settle what is thought of a model.
    """

    mean: float
    variance: float
    count: float = 4.0

    #: Below this, in seconds, one duration is as good as another.
    LEAST = 0.001

    #: How many of the newest durations count.
    MEMORY = 200.0

    def add(self, seconds: float) -> None:
        """
        Take a measurement in.
        """
        self.count = min(self.count + 1.0, self.MEMORY)
        off = log(max(seconds, self.LEAST)) - self.mean
        self.mean += off / self.count
        self.variance += (off * off * (1.0 - 1.0 / self.count) - self.variance) / (
            self.count
        )


@implementer(ICosts)
class Costs:
    """
    Learns what switching costs.

    @cvar WEIGHT: how much the newest measurement counts.
    @cvar FIRST: how much the first one does, against the guess.
    """

    WEIGHT = 0.3
    FIRST = 0.7

    #: Guesses for a machine of which nothing is known yet, in seconds: a
    #: model of a few billion parameters, and an answer of a few hundred
    #: tokens.
    PRIOR_WAKE = 10.0
    PRIOR_SLEEP = 1.0
    PRIOR_SERVICE = 5.0
    PRIOR_SPREAD = 1.0

    def __init__(self) -> None:
        self._wakes = _Averages(self.PRIOR_WAKE)
        self._sleeps = _Averages(self.PRIOR_SLEEP)
        self._services = _Averages(self.PRIOR_SERVICE)
        self._durations: dict[str, _Durations] = {}
        self._limited: dict[tuple[str, int], _Durations] = {}
        self._switches: dict[tuple[str, str], float] = {}

    def woke(self, model: str, seconds: float) -> None:
        """
        A C{wake} hook has succeeded.
        """
        self._wakes.add(model, seconds)

    def slept(self, model: str, seconds: float) -> None:
        """
        A C{sleep} hook has succeeded.
        """
        self._sleeps.add(model, seconds)

    def served(self, model: str, seconds: float, maxTokens: int | None = None) -> None:
        """
        A request is over.

        @param maxTokens: how many tokens its answer could have, if it said so.
        """
        self._services.add(model, seconds)
        known = self._durations.get(model)
        if known is None:
            known = self._durations[model] = self._unknown()
        known.add(seconds)
        if maxTokens is not None:
            # By powers of two: what was asked for is mostly a round number.
            kind = model, maxTokens.bit_length()
            limited = self._limited.get(kind)
            if limited is None:
                limited = self._limited[kind] = _Durations(known.mean, known.variance)
            limited.add(seconds)

    def switched(self, source: str, target: str, seconds: float) -> None:
        """
        A switch from one model to another has succeeded.

        @param seconds: from the end of the drain on.
        """
        pair = source, target
        before = self._switches.get(pair, seconds)
        self._switches[pair] = before + self.WEIGHT * (seconds - before)

    def wake(self, model: str) -> float:
        """
        See L{ICosts.wake}.
        """
        return self._wakes.get(model)

    def sleep(self, model: str) -> float:
        """
        See L{ICosts.sleep}.
        """
        return self._sleeps.get(model)

    def switch(self, source: str, target: str) -> float:
        """
        See L{ICosts.switch}.
        """
        known = self._switches.get((source, target))
        if known is None:
            return self._sleeps.get(source) + self._wakes.get(target)
        return known

    def service(self, model: str) -> float:
        """
        See L{ICosts.service}.
        """
        return self._services.get(model)

    def median(self, model: str, maxTokens: int | None = None) -> float:
        """
        See L{ICosts.median}.
        """
        return exp(self._lengths(model, maxTokens).mean)

    def spread(self, model: str, maxTokens: int | None = None) -> float:
        """
        See L{ICosts.spread}.
        """
        return sqrt(self._lengths(model, maxTokens).variance)

    def _lengths(self, model: str, maxTokens: int | None) -> _Durations:
        if maxTokens is not None:
            limited = self._limited.get((model, maxTokens.bit_length()))
            if limited is not None:
                return limited
        return self._durations.get(model) or self._unknown()

    def _unknown(self) -> _Durations:
        variance = self.PRIOR_SPREAD**2
        # Of a lognormal distribution whose mean is the prior one.
        return _Durations(log(self.PRIOR_SERVICE) - variance / 2, variance)
