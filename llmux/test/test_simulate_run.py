"""
Tests for L{llmux.simulate.run}: simulations as a whole.
"""

from __future__ import annotations

from random import Random

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from llmux.config import PolicyConfig
from llmux.errors import ConfigError
from llmux.interfaces import Decision, ISwitchPolicy, Snapshot, Stay
from llmux.policies.fifo import FirstComeFirstServed
from llmux.simulate import Arrival, FailureRates, ModelCost, Report, simulate
from llmux.testing import makeConfig

COST = ModelCost(wake=9.0, sleep=1.0)


@implementer(ISwitchPolicy)
class Idle:
    """
    A policy that never does anything.
    """

    def decide(self, snapshot: Snapshot) -> Decision:
        """
        See L{ISwitchPolicy.decide}.
        """
        return Stay()


def run(*trace: Arrival, cost: ModelCost = COST, **more: object) -> Report:
    """
    Simulate two models under C{fifo}.
    """
    costs = {"a": cost, "b": cost}
    return simulate(makeConfig("a", "b"), trace, costs, "fifo", **more)  # type: ignore[arg-type]


class SimulateTests(SynchronousTestCase):
    """
    Tests for L{simulate}.
    """

    def test_byHand(self) -> None:
        """
        A short trace comes out as it does by hand.
        """
        report = run(Arrival(0.0, "a", 4.0), Arrival(10.0, "b", 2.0), targetSecs=9.0)
        # a wakes until 9 and serves until 13, sleeps until 14; b wakes until
        # 23 and serves until 25.
        self.assertEqual(report.seconds, 25.0)
        self.assertEqual(report.byModel["a"].mean, 9.0)
        self.assertEqual(report.byModel["b"].mean, 13.0)
        self.assertAlmostEqual(report.serving, 6 / 25)
        self.assertAlmostEqual(report.switching, 19 / 25)
        self.assertAlmostEqual(report.idle, 0.0)
        self.assertEqual(report.waits.within, 0.5)
        self.assertEqual((report.switches, report.failed, report.lost), (2, 0, 0))
        self.assertEqual(report.policy, "fifo")

    def test_nothing(self) -> None:
        """
        An empty trace takes no time.
        """
        report = run()
        self.assertEqual((report.seconds, report.serving, report.idle), (0, 0, 1))

    def test_atOnce(self) -> None:
        """
        What comes at the moment at which something ends comes first: the
        model is not left in between.
        """
        trace = [Arrival(9.0 + 0.5 * number, "a", 0.5) for number in range(20)]
        trace = [Arrival(0.0, "a", 0.5), *trace, Arrival(9.2, "b", 0.5)]
        trace.sort(key=lambda one: one.at)
        report = simulate(
            makeConfig("a", "b"), trace, {"a": COST, "b": COST}, "cost-aware"
        )
        self.assertEqual(report.switches, 2)

    def test_follow(self) -> None:
        """
        Requests that follow on others come when those are over.
        """
        chain = Arrival(0.0, "a", 4.0, then=(Arrival(1.0, "b", 2.0),))
        report = run(chain, timeline=True)
        came = [change.at for change in report.timeline if change.model == "b"]
        self.assertIn(14.0, came)
        self.assertFalse([at for at in came if 0 < at < 14])
        self.assertEqual(report.waits.count, 2)
        self.assertEqual(report.seconds, 26.0)

    def random(self, seed: int = 1, cost: ModelCost = COST) -> Report:
        """
        Many requests and much chance.
        """
        random = Random(7)
        trace = [
            Arrival(10.0 * number, random.choice("ab"), random.expovariate(0.2))
            for number in range(200)
        ]
        return run(*trace, cost=evolve(cost, jitter=0.3), seed=seed)

    def test_seed(self) -> None:
        """
        The same seed gives the same report, another seed another.
        """
        self.assertEqual(self.random(1), self.random(1))
        self.assertNotEqual(self.random(1), self.random(2))

    def test_faults(self) -> None:
        """
        Whatever fails, each request ends: it comes back after its model could
        not be woken, and is only broken if the model dies under it.
        """
        rates = FailureRates(wake=0.1, sleep=0.1, hang=0.05, die=0.05)
        report = self.random(cost=evolve(COST, fail=rates))
        self.assertEqual(report.lost, 0)
        self.assertGreater(report.refused, 0)
        self.assertGreater(report.broken, 0)
        self.assertGreater(report.failed, 0)
        self.assertGreaterEqual(report.waits.count, 200)

    def test_lost(self) -> None:
        """
        What is never served is lost.
        """
        config = makeConfig("a", policy=PolicyConfig(max_wait_secs=1e9))
        report = simulate(config, [Arrival(1.0, "a", 1.0)], {"a": COST}, Idle)
        self.assertEqual((report.lost, report.policy), (1, "Idle"))

    def test_cut(self) -> None:
        """
        What is cut at the end of a drain is counted.
        """
        config = makeConfig("a", "b", policy=PolicyConfig(drain_timeout_secs=5))
        trace = [Arrival(0.0, "a", 1000.0), Arrival(10.0, "b", 1.0)]
        report = simulate(config, trace, {"a": COST, "b": COST}, FirstComeFirstServed)
        self.assertEqual((report.cut, report.lost), (1, 0))

    def test_refusedForGood(self) -> None:
        """
        A request that can never be served is lost at once.
        """
        config = makeConfig(resources={"gpu": 1}, models={"a": {"needs": {"gpu": 2}}})
        report = simulate(config, [Arrival(0.0, "a", 1.0)], {"a": COST}, "fifo")
        self.assertEqual((report.lost, report.waits.count), (1, 0))

    def test_policies(self) -> None:
        """
        The configuration's policy is taken if no other is named; a name that
        is not there, and a model that is not, are errors.
        """
        config = makeConfig("a")
        self.assertEqual(simulate(config, [], {"a": COST}).policy, "fifo")
        self.assertRaises(LookupError, simulate, config, [], {"a": COST}, "fife")
        self.assertRaises(
            ConfigError, simulate, config, [Arrival(0, "b", 1)], {"a": COST}
        )

    def test_bugsAreSeen(self) -> None:
        """
        What goes wrong inside a simulation is not swallowed.
        """
        odd = Arrival(0.0, "a", "no number")  # type: ignore[arg-type]
        self.assertRaises(TypeError, run, odd)
