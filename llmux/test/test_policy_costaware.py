"""
Tests for L{llmux.policies.costaware}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from llmux.config import PolicyConfig
from llmux.interfaces import (
    Admit,
    Decision,
    ISwitchPolicy,
    ModelView,
    Snapshot,
    State,
    Stay,
    Switch,
    Waiting,
)
from llmux.policies import find
from llmux.policies.costaware import CostAware
from llmux.simulate import Arrival, ModelCost, Report, simulate
from llmux.switching.costs import Costs
from llmux.test.test_policy_drains import Flight
from llmux.testing import makeConfig

#: The time in all snapshots.
NOW = 1000.0

#: What every model needs unless it says otherwise: all there is.
ALL = {"machine": 1.0}


def asleep(name: str, *ages: float, priority: float = 0.0, **more: Any) -> ModelView:
    """
    A model that is asleep, and for how long each of its requests has waited.
    """
    queue = [
        Waiting(name, NOW - age, int(NOW - age), priority)
        for age in sorted(ages, reverse=True)
    ]
    more = {"needs": ALL, "maxWait": 120.0, "urgency": priority, **more}
    return ModelView(
        name,
        State.ASLEEP,
        0.0,
        queue=queue,
        oldest=queue[0] if queue else None,
        **more,
    )


def awake(name: str, *ages: float, **more: Any) -> ModelView:
    """
    A model that is awake, and for how long each of its requests has run.
    """
    running = [Flight(NOW - age) for age in ages]
    more = {"needs": ALL, "maxWait": 120.0, "state": State.AWAKE, **more}
    return ModelView(name, since=0.0, inFlight=len(running), running=running, **more)


def decide(
    *views: ModelView,
    cost: float = 10.0,
    lengths: float = 8.0,
    limits: Mapping[int, float] | None = None,
    free: Mapping[str, float] | None = None,
    **more: Any,
) -> Decision:
    """
    Ask the policy.

    @param cost: what a switch takes, in seconds.
    @param lengths: how long requests take, in seconds.
    @param limits: how long those take whose answers may have so many tokens.
    """
    costs = Costs()
    for view in views:
        costs.woke(view.name, 0.9 * cost)
        costs.slept(view.name, 0.1 * cost)
        for number in range(100):
            costs.served(view.name, lengths * (0.5 + number % 4))
            for limit, seconds in (limits or {}).items():
                costs.served(view.name, seconds, limit)
    held = any(view.state.holdsResources for view in views)
    room = {"machine": 0.0 if held else 1.0} if free is None else free
    snapshot = Snapshot(NOW, {one.name: one for one in views}, room, costs, **more)
    return CostAware().decide(snapshot)


class WhomTests(SynchronousTestCase):
    """
    Tests for whom the policy wakes.
    """

    def test_interface(self) -> None:
        """
        It is a policy, and is found by its name.
        """
        verifyObject(ISwitchPolicy, CostAware())
        self.assertEqual(find("cost-aware"), CostAware)

    def test_nobodyWaits(self) -> None:
        """
        Where nobody waits, nothing happens.
        """
        self.assertEqual(decide(awake("a"), asleep("b")), Stay())

    def test_room(self) -> None:
        """
        Whoever waited longest is woken where there is room.
        """
        self.assertEqual(decide(asleep("a", 1), asleep("b", 2)), Switch("b"))

    def test_idle(self) -> None:
        """
        A model that has nothing to do is left at once.
        """
        self.assertEqual(decide(awake("a"), asleep("b", 0.0)), Switch("b", {"a"}))

    def test_priority(self) -> None:
        """
        Priority counts as waiting, so that whoever waits long enough comes
        first in spite of it.
        """
        for age, first in ((5, "b"), (45, "a")):
            self.assertEqual(
                decide(asleep("a", age), asleep("b", 1, priority=3)), Switch(first)
            )

    def test_urgentInTheMiddle(self) -> None:
        """
        One urgent request among others counts for its model.
        """
        view = asleep("b", 3, 2)
        queue = [*view.queue, Waiting("b", NOW - 1, 999, 5.0)]
        view = ModelView(
            "b",
            State.ASLEEP,
            0.0,
            ALL,
            queue=queue,
            oldest=queue[0],
            urgency=5.0,
            maxWait=120.0,
        )
        self.assertEqual(decide(asleep("a", 20), view), Switch("b"))

    def test_minActive(self) -> None:
        """
        C{min_active_secs} is waited for.
        """
        self.assertEqual(
            decide(awake("a", wokenAt=NOW - 2), asleep("b", 1), minActive=5.0),
            Stay(3.0),
        )

    def test_pinned(self) -> None:
        """
        A pinned model stays.
        """
        self.assertEqual(decide(awake("a", pinned=True), asleep("b", 1)), Stay())


class TurnTests(SynchronousTestCase):
    """
    Tests for who may come before those who have waited longer.
    """

    def decide(self, *views: ModelView, **switches: float) -> Decision:
        """
        Ask the policy when C{a} is awake and idle.

        @param switches: what it takes to switch from C{a}, by model.
        """
        costs = Costs()
        for view in views:
            for _ in range(20):
                costs.woke(view.name, 9.0)
                costs.slept(view.name, 1.0)
                costs.served(view.name, 8.0)
                if view.name in switches:
                    costs.switched("a", view.name, switches[view.name])
        models = {one.name: one for one in (awake("a"), *views)}
        return CostAware().decide(Snapshot(NOW, models, {"machine": 0.0}, costs))

    def test_number(self) -> None:
        """
        A model that many wait for comes before one that one waits for.
        """
        self.assertEqual(
            self.decide(asleep("b", 5.0, maxWait=300.0), asleep("c", *[4.0] * 20)),
            Switch("c", {"a"}),
        )

    def test_direction(self) -> None:
        """
        So does one to which this very switch is cheap.
        """
        waiting = asleep("b", 5.0, maxWait=300.0), asleep("c", 4.0)
        self.assertEqual(self.decide(*waiting, b=9.0, c=10.0), Switch("b", {"a"}))
        self.assertEqual(self.decide(*waiting, b=60.0, c=10.0), Switch("c", {"a"}))

    def test_inTime(self) -> None:
        """
        But not if somebody would then be served too late: then the order is
        that of arrival.
        """
        for bound, first in ((300.0, "c"), (90.0, "b")):
            self.assertEqual(
                self.decide(asleep("b", 5.0, maxWait=bound), asleep("c", *[4.0] * 20)),
                Switch(first, {"a"}),
                bound,
            )

    def test_notForEver(self) -> None:
        """
        Even without a bound, whoever has waited long enough comes first.
        """
        crowd = asleep("c", *[4.0] * 20, maxWait=None)
        for age, first in ((10.0, "c"), (100.0, "b")):
            self.assertEqual(
                self.decide(asleep("b", age, maxWait=None), crowd),
                Switch(first, {"a"}),
            )


class WhenTests(SynchronousTestCase):
    """
    Tests for when the policy leaves a model that has work.
    """

    def stays(self, decision: Decision) -> None:
        """
        Nothing happens, and it is thought about again.
        """
        self.assertIsInstance(decision, Stay)
        assert isinstance(decision, Stay)
        assert decision.recheck is not None
        self.assertGreater(decision.recheck, 0)

    def test_time(self) -> None:
        """
        A model at work is kept while there is time, and left when what is in
        flight would just be over in time.
        """
        self.stays(decide(awake("a", 1.0), asleep("b", 1.0)))
        self.stays(decide(awake("a", 1.0), asleep("b", 50.0)))
        self.assertEqual(
            decide(awake("a", 1.0), asleep("b", 105.0)), Switch("b", {"a"})
        )

    def test_bound(self) -> None:
        """
        The tighter the bound, the sooner a model is left.
        """
        self.assertEqual(
            decide(awake("a", 1.0), asleep("b", 5.0, maxWait=20.0)),
            Switch("b", {"a"}),
        )

    def test_manySwitches(self) -> None:
        """
        Time is left for all the switches that are ahead.
        """
        self.stays(decide(awake("a", 1.0), asleep("b", 30.0), cost=20.0))
        self.assertEqual(
            decide(
                awake("a", 1.0),
                *(asleep(name, 30.0) for name in "bcdef"),
                cost=20.0,
            ),
            Switch("b", {"a"}),
        )

    def test_quantum(self) -> None:
        """
        Without a tight bound, a model is kept in proportion to what it costs
        to leave it.
        """
        far = {"maxWait": 100_000.0}
        cheap = decide(
            awake("a", 1.0), asleep("b", 200.0, **far), cost=1.0, lengths=2.0
        )
        self.assertEqual(cheap, Switch("b", {"a"}))
        self.stays(
            decide(awake("a", 1.0), asleep("b", 200.0, **far), cost=60.0, lengths=2.0)
        )
        self.stays(decide(awake("a", 1.0), asleep("b", 200.0, maxWait=None), cost=60.0))

    def test_crowd(self) -> None:
        """
        The more wait, the less may be asked of them for the sake of one.
        """
        self.stays(decide(awake("a", 1.0), asleep("b", *[5.0] * 3)))
        self.assertEqual(
            decide(awake("a", 1.0), asleep("b", *[5.0] * 40)), Switch("b", {"a"})
        )

    def test_room(self) -> None:
        """
        While long answers hold the machine anyway, short ones may join them,
        but not after somebody has reached their bound.
        """
        many = [60.0] * 12
        self.stays(decide(awake("a", *many), asleep("b", 110.0)))
        self.assertEqual(
            decide(awake("a", *many), asleep("b", 121.0)), Switch("b", {"a"})
        )

    def test_drainTimeout(self) -> None:
        """
        A drain is not expected to last longer than it may.
        """
        view = awake("a", 300.0)
        self.assertIsInstance(decide(view, asleep("b", 90.0), lengths=1.0), Stay)
        self.stays(decide(view, asleep("b", 70.0), drainTimeout=5.0))

    def test_underWay(self) -> None:
        """
        While a switch is under way, nothing else is begun in its place.
        """
        decision = decide(
            awake("a", 1.0, state=State.DRAINING, leaving=True),
            asleep("b", 5.0, coming=True),
            asleep("c", 100.0),
        )
        self.assertEqual(decision, Stay())


class JoinTests(SynchronousTestCase):
    """
    Tests for who may join a drain.
    """

    def draining(
        self,
        sizes: Sequence[float | None],
        limits: Sequence[int | None] = (),
        age: float = 60.0,
        **more: Any,
    ) -> ModelView:
        """
        A model that drains, with requests that wait for it.
        """
        queue = [
            Waiting("a", NOW - 1, number, size=size, maxTokens=limit)
            for number, (size, limit) in enumerate(zip_longest(sizes, limits), 900)
        ]
        return awake(
            "a",
            age,
            state=State.DRAINING,
            leaving=True,
            queue=queue,
            oldest=queue[0],
            **more,
        )

    def test_fits(self) -> None:
        """
        The first that fits joins, not one that would last too long.
        """
        view = self.draining([None, 500.0, 500.0, 0.5])
        decision = decide(view, asleep("b", 112.0, coming=True))
        self.assertEqual(decision, Admit(list(view.queue)[3]))

    def test_limit(self) -> None:
        """
        Short work is known by C{max_tokens}: it joins what a long stream
        holds open anyway, and long work does not.
        """
        view = self.draining([None, None], [4000, 16])
        limits = {16: 0.3, 4000: 200.0}
        late = asleep("b", 112.0, coming=True)
        self.assertEqual(decide(view, late, limits=limits), Admit(list(view.queue)[1]))
        view = self.draining([None], [4000])
        self.assertEqual(decide(view, late, limits=limits), Stay())

    def test_none(self) -> None:
        """
        Nobody joins where nobody fits, where it is full, or after somebody
        has reached their bound.
        """
        for view, age in (
            (self.draining([500.0]), 112.0),
            (self.draining([0.5], maxInFlight=1), 112.0),
            (self.draining([0.5]), 125.0),
        ):
            decision = decide(view, asleep("b", age, coming=True))
            self.assertEqual(decision, Stay())

    def test_ended(self) -> None:
        """
        A drain that is over is not begun again.
        """
        view = self.draining([0.5])
        view = ModelView(
            "a", State.DRAINING, 0.0, ALL, queue=view.queue, oldest=view.oldest
        )
        self.assertEqual(decide(view, asleep("b", 1.0, coming=True)), Stay())


class TogetherTests(SynchronousTestCase):
    """
    Tests for machines with room for several models.
    """

    def test_idleFirst(self) -> None:
        """
        What is idle makes room, not what is at work.
        """
        one = {"slot": 1.0}
        self.assertEqual(
            decide(
                awake("a", 1.0, needs=one),
                awake("b", needs=one),
                asleep("c", 1.0, needs=one),
                free={"slot": 0.0},
            ),
            Switch("c", {"b"}),
        )

    def test_soonestDrained(self) -> None:
        """
        Of those at work, the one that is soonest done makes room.
        """
        one = {"slot": 1.0}
        self.assertEqual(
            decide(
                awake("a", *[30.0] * 8, needs=one),
                awake("b", 1.0, needs=one),
                asleep("c", 115.0, needs=one),
                free={"slot": 0.0},
            ),
            Switch("c", {"b"}),
        )

    def test_disjoint(self) -> None:
        """
        A model never waits for those that wait for another place.
        """
        self.assertEqual(
            decide(
                awake("a", 1.0, needs={"gpu0": 1.0}),
                asleep("b", 5.0, needs={"gpu0": 1.0}),
                asleep("c", 1.0, needs={"gpu1": 1.0}),
                free={"gpu0": 0.0, "gpu1": 1.0},
            ),
            Switch("c"),
        )

    def test_bigOne(self) -> None:
        """
        What a big model waits for is not taken bit by bit by small ones that
        came later.
        """
        decision = decide(
            awake("a", 1.0, needs={"gpu": 12.0}),
            asleep("big", 5.0, needs={"gpu": 24.0}),
            asleep("small", 1.0, needs={"gpu": 12.0}),
            free={"gpu": 12.0},
        )
        self.assertIsInstance(decision, Stay)

    def test_besides(self) -> None:
        """
        Small ones may take what the big one does not need.
        """
        decision = decide(
            awake("a", 1.0, needs={"gpu": 12.0}),
            awake("c", needs={"gpu": 2.0, "disk": 1.0}),
            asleep("big", 5.0, needs={"gpu": 20.0}),
            asleep("small", 1.0, needs={"gpu": 2.0, "disk": 1.0}),
            free={"gpu": 10.0, "disk": 0.0},
        )
        self.assertEqual(decision, Switch("small", {"c"}))


class WholeTests(SynchronousTestCase):
    """
    Tests for what comes of the policy's decisions together.
    """

    def simulate(
        self, trace: Sequence[Arrival], policy: str = "cost-aware", bound: float = 120.0
    ) -> Report:
        """
        Run two models that take 10 s to switch between.
        """
        return simulate(
            makeConfig("a", "b", policy=PolicyConfig(max_wait_secs=bound)),
            trace,
            {name: ModelCost(wake=9.0, sleep=1.0) for name in "ab"},
            policy,
        )

    def test_runs(self) -> None:
        """
        Agents that take turns are served in runs.
        """
        trace = [Arrival(0.5 * n, "ab"[n % 2], 8.0) for n in range(400)]
        ours = self.simulate(trace)
        first = self.simulate(trace, "fifo")
        self.assertLess(ours.switches, 0.7 * first.switches)
        self.assertLess(ours.waits.mean, first.waits.mean)
        self.assertEqual((ours.lost, ours.missed), (0, 0))

    def test_overload(self) -> None:
        """
        When more comes than can be served within the bounds, that is said,
        and models are served in the order of arrival: nobody starves.
        """
        config = makeConfig(*"abcd", policy=PolicyConfig(max_wait_secs=60))
        trace = [Arrival(0.25 * n, "aaaaabcd"[n % 8], 8.0) for n in range(1600)]
        costs = {name: ModelCost(wake=18.0, sleep=2.0) for name in "abcd"}
        report = simulate(config, trace, costs, "cost-aware")
        self.assertEqual((report.lost, report.missed), (0, 0))
        self.assertGreater(report.waits.mean, 60.0)
        self.assertGreater(report.overdue, 0)
        rare = [report.byModel[name].max for name in "bcd"]
        self.assertLess(max(rare), 1.5 * report.byModel["a"].max)

    def test_calm(self) -> None:
        """
        Where the bounds can be held, nothing is said.
        """
        trace = [Arrival(10.0 * n, "ab"[n % 2], 2.0) for n in range(40)]
        self.assertEqual(self.simulate(trace).overdue, 0)

    def test_starvation(self) -> None:
        """
        A stream of requests that overlap without an end starves nobody.
        """
        trace = [Arrival(float(n), "a", 8.0) for n in range(1000)]
        trace.append(Arrival(100.5, "b", 1.0))
        trace.sort(key=lambda one: one.at)
        report = self.simulate(trace, bound=60.0)
        self.assertEqual((report.lost, report.missed), (0, 0))
        self.assertLess(report.byModel["b"].max, 60.0 + 8.0 + 10.0)
