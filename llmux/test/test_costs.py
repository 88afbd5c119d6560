"""
Tests for L{llmux.switching.costs}.
"""

from __future__ import annotations

from random import Random
from statistics import median

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from llmux.interfaces import ICosts
from llmux.switching.costs import Costs


class CostsTests(SynchronousTestCase):
    """
    What is learnt from what has been seen.
    """

    def setUp(self) -> None:
        self.costs = Costs()

    def test_interface(self) -> None:
        """
        They are what policies are promised.
        """
        self.assertTrue(verifyObject(ICosts, self.costs))

    def test_priors(self) -> None:
        """
        Before anything is known, there are guesses.
        """
        self.assertEqual(self.costs.wake("a"), Costs.PRIOR_WAKE)
        self.assertEqual(self.costs.sleep("a"), Costs.PRIOR_SLEEP)
        self.assertEqual(self.costs.service("a"), Costs.PRIOR_SERVICE)
        self.assertEqual(
            self.costs.switch("a", "b"), Costs.PRIOR_SLEEP + Costs.PRIOR_WAKE
        )

    def test_first(self) -> None:
        """
        The first measurement counts most, later ones are averaged into it,
        and the guess is soon forgotten.
        """
        self.costs.woke("a", 20.0)
        self.assertAlmostEqual(self.costs.wake("a"), 17.0)
        self.costs.woke("a", 27.0)
        self.assertAlmostEqual(self.costs.wake("a"), 20.0)
        self.costs.slept("a", 2.0)
        self.assertAlmostEqual(self.costs.sleep("a"), 1.7)
        self.costs.served("a", 3.0)
        self.assertAlmostEqual(self.costs.service("a"), 3.6)
        for _ in range(12):
            self.costs.woke("a", 30.0)
        self.assertApproximates(self.costs.wake("a"), 30.0, 0.2)

    def test_firstWasNone(self) -> None:
        """
        A first wake that found its model awake does not make wakes look free.
        """
        self.costs.woke("a", 0.0)
        self.assertGreater(self.costs.wake("a"), 1.0)
        self.assertGreater(self.costs.wake("b"), 5.0)

    def test_likeOthers(self) -> None:
        """
        A model of which nothing is known is thought to be like the others,
        the more so the more of them are known.
        """
        for name in "ab":
            for seconds in [20.0] * 40:
                self.costs.woke(name, seconds)
        self.assertAlmostEqual(self.costs.wake("c"), 50.0 / 3, 3)

    def test_switch(self) -> None:
        """
        A switch costs what it was seen to cost in that direction, and
        otherwise what its two halves cost.
        """
        self.costs.woke("b", 20.0)
        self.costs.slept("a", 2.0)
        self.assertAlmostEqual(self.costs.switch("a", "b"), 17.0 + 1.7)
        self.costs.switched("a", "b", 10.0)
        self.assertEqual(self.costs.switch("a", "b"), 10.0)
        self.costs.switched("a", "b", 20.0)
        self.assertEqual(self.costs.switch("a", "b"), 13.0)
        self.assertNotEqual(self.costs.switch("b", "a"), 13.0)

    def test_durationsUnknown(self) -> None:
        """
        The guessed distribution of durations has the guessed mean, is skewed,
        and is each model's own.
        """
        self.assertLess(self.costs.median("a"), Costs.PRIOR_SERVICE)
        self.assertEqual(self.costs.spread("a"), Costs.PRIOR_SPREAD)
        before = self.costs.median("b")
        self.costs.served("a", 100.0)
        self.assertGreater(self.costs.median("a"), before)
        self.assertEqual(self.costs.median("b"), before)

    def test_durations(self) -> None:
        """
        Median and spread come near those of what has been seen.
        """
        random = Random(1)
        seen = [random.lognormvariate(2.0, 0.5) for _ in range(1000)]
        for seconds in seen:
            self.costs.served("a", seconds)
        self.assertApproximates(self.costs.median("a") / median(seen), 1.0, 0.15)
        self.assertApproximates(self.costs.spread("a"), 0.5, 0.1)

    def test_durationsByLimit(self) -> None:
        """
        Requests that may have few tokens are told apart from those that may
        have many; of a limit of which nothing is known, what is known of all
        is thought.
        """
        for _ in range(50):
            self.costs.served("a", 0.5, 16)
            self.costs.served("a", 40.0, 4096)
        self.assertApproximates(self.costs.median("a", 20), 0.5, 0.1)
        self.assertApproximates(self.costs.median("a", 5000), 40.0, 8.0)
        self.assertLess(self.costs.spread("a", 16), self.costs.spread("a"))
        for model, limit in (("a", 300), ("b", 16)):
            self.assertEqual(self.costs.median(model, limit), self.costs.median(model))
            self.assertEqual(self.costs.spread(model, limit), self.costs.spread(model))

    def test_durationsChange(self) -> None:
        """
        What was long ago is forgotten.
        """
        for _ in range(2000):
            self.costs.served("a", 100.0)
        for _ in range(1000):
            self.costs.served("a", 1.0)
        self.assertLess(self.costs.median("a"), 1.1)

    def test_nothing(self) -> None:
        """
        A request that took no time at all does no harm.
        """
        self.costs.served("a", 0.0)
        self.assertGreater(self.costs.median("a"), 0.0)
