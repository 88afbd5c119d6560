"""
Tests for L{llmux.policies.drains}.
"""

from __future__ import annotations

from math import exp
from random import Random

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from llmux.interfaces import ModelView, State
from llmux.policies.drains import Lengths, drain
from llmux.switching.costs import Costs


@frozen(eq=False)
class Flight:
    """
    Something in flight.
    """

    granted: float
    size: float | None = None
    maxTokens: int | None = None


def busy(*flights: Flight) -> ModelView:
    """
    A model that is serving some.
    """
    return ModelView(
        "a",
        State.AWAKE,
        0.0,
        {},
        inFlight=len(flights),
        running=flights,
    )


class DrainTests(SynchronousTestCase):
    """
    Tests for what is expected of drains.
    """

    def setUp(self) -> None:
        self.costs = Costs()
        self.random = Random(5)
        for _ in range(500):
            self.costs.served("a", self.random.lognormvariate(1.7, 0.9))

    def sampled(self, count: int, age: float) -> float:
        """
        How long the last of some requests of an age lasts, by experiment.
        """
        found = []
        for _ in range(1000):
            longest = 0.0
            for _ in range(count):
                while (length := self.random.lognormvariate(1.7, 0.9)) < age:
                    pass
                longest = max(longest, length - age)
            found.append(longest)
        return sum(found) / len(found)

    def test_lengths(self) -> None:
        """
        Median, mean and tail are those of what was measured.
        """
        lengths = Lengths.of("a", self.costs)
        self.assertApproximates(lengths.median, exp(1.7), 1.0)
        self.assertApproximates(lengths.spread, 0.9, 0.12)
        self.assertApproximates(lengths.mean, exp(1.7 + 0.405), 1.5)
        self.assertEqual(lengths.beyond(0.0), 1.0)
        self.assertAlmostEqual(lengths.beyond(lengths.median), 0.5)
        self.assertEqual(lengths.remains(1e9, 1.0), 1.0)

    def test_unknown(self) -> None:
        """
        Of a model of which nothing is known, something usual is expected.
        """
        lengths = Lengths.of("b", self.costs)
        self.assertAlmostEqual(lengths.mean, Costs.PRIOR_SERVICE)

    def test_even(self) -> None:
        """
        However even lengths were, they are not taken for certain.
        """
        for _ in range(300):
            self.costs.served("c", 2.0)
        self.assertEqual(Lengths.of("c", self.costs).spread, 0.3)

    def test_mean(self) -> None:
        """
        A drain is expected to last as long as experiment says.
        """
        for count, age in ((1, 0.0), (1, 20.0), (8, 5.0), (30, 0.0)):
            expected = drain(0.0, [busy(*[Flight(-age)] * count)], self.costs).mean
            sampled = self.sampled(count, age)
            self.assertLess(abs(expected - sampled) / sampled, 0.35, (count, age))

    def test_ages(self) -> None:
        """
        What has lasted long is expected to last longer still.
        """
        young = drain(0.0, [busy(Flight(0.0))], self.costs).mean
        old = drain(0.0, [busy(Flight(-30.0))], self.costs).mean
        self.assertGreater(old, 1.5 * young)

    def test_nothing(self) -> None:
        """
        Where nothing is in flight, one more lasts as long as it lasts.
        """
        self.assertEqual(drain(0.0, [], self.costs).mean, 0.0)
        lengths = Lengths.of("a", self.costs)
        none = drain(0.0, [busy()], self.costs, 7.0)
        self.assertApproximates(none.extension(lengths, 7.0), 7.0, 0.1)

    def test_known(self) -> None:
        """
        Sizes that are known are believed, until they are over.
        """
        known = drain(10.0, [busy(Flight(0.0, 40.0))], self.costs)
        self.assertApproximates(known.mean, 30.0, 0.5)
        over = drain(50.0, [busy(Flight(0.0, 40.0))], self.costs)
        self.assertGreater(over.mean, 10.0)

    def test_limits(self) -> None:
        """
        Those whose answers may have few tokens are expected to be over soon,
        whatever others take.
        """
        for _ in range(100):
            self.costs.served("a", 0.5, 16)
            self.costs.served("a", 60.0, 4096)
        few, many = Flight(0.0, None, 16), Flight(0.0, None, 4096)
        self.assertLess(drain(0.0, [busy(few, few)], self.costs).mean, 1.0)
        long = drain(0.0, [busy(few, many)], self.costs)
        self.assertGreater(long.mean, 45.0)
        short = Lengths.of("a", self.costs, 16)
        self.assertLess(long.extension(short), 0.1)
        self.assertGreater(long.extension(Lengths.of("a", self.costs, 4096)), 5.0)

    def test_extension(self) -> None:
        """
        What fits makes a drain no longer; what does not, by the difference.
        """
        lengths = Lengths.of("a", self.costs)
        views = [busy(Flight(0.0, 60.0))]
        short = drain(0.0, views, self.costs, 5.0).extension(lengths, 5.0)
        self.assertApproximates(short, 0.0, 0.1)
        long = drain(0.0, views, self.costs, 80.0).extension(lengths, 80.0)
        self.assertApproximates(long, 20.0, 1.0)
        usual = drain(0.0, views, self.costs).extension(lengths)
        self.assertLess(usual, 0.5)
