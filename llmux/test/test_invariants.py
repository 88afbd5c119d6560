"""
The promises of the switcher, whatever happens in whatever order.

What these tests catch is tried by planting bugs: C{python -m chaos.planted}
lists them and plants one after the other.  By promise:

 - 1, nothing goes to a model that is not awake: "granting while draining",
   "granting while the model sleeps", "not draining before sleep";
 - 2, resources are not exceeded: "forgetting that what victims hold is spoken
   for", "taking a model that could not be put to sleep for asleep";
 - 3, hooks come one after another: "waking before the victims are asleep", "no
   clean-up after a failed wake";
 - 4, every request ends once: "keeping a waiter who left", "releasing a token
   twice", "a token that is not given back when its work is cut";
 - 5, nobody is passed over for too long: "no timer for the bound", "never
   forcing the bound", "letting newcomers in before a bound is kept";
 - 6, who waited when a model woke is served: "forgetting what is owed";
 - 7, who left causes no switch: "going on with a switch that nobody wants";
 - 8, the awake model goes on serving: "not serving who waits when a token
   comes back", "not going back to service when a drain is cancelled".
"""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from llmux.interfaces import DecisionRefused, Event, IObserver, Reason
from llmux.policies.costaware import CostAware
from llmux.policies.fifo import FirstComeFirstServed
from llmux.test._walk import LENGTH, MODELS, SETTINGS, makeWorld, step, walk
from llmux.test._world import World

indexes = st.integers(0, 5)


class SwitcherMachine(RuleBasedStateMachine):
    """
    Random steps in a world with one place, or with several.
    """

    world: World | None = None

    @initialize(
        chosen=st.fixed_dictionaries(
            {name: st.sampled_from(values) for name, values in SETTINGS.items()}
        )
    )
    def begin(self, chosen: dict[str, Any]) -> None:
        """
        Make a world.
        """
        self.world = makeWorld(**chosen)

    @rule(model=st.sampled_from(MODELS), priority=st.sampled_from([0, 0, 1, -2.5, 7]))
    def arrive(self, model: str, priority: float) -> None:
        """
        A request comes.
        """
        assert self.world is not None
        self.world.arrive(model, priority)

    @rule(model=st.sampled_from(MODELS), others=st.sampled_from(MODELS))
    def crowd(self, model: str, others: str) -> None:
        """
        Several requests come together.
        """
        assert self.world is not None
        for name in (model, model, model, others):
            self.world.arrive(name)

    @rule(model=st.sampled_from(MODELS))
    def order(self, model: str) -> None:
        """
        An operator asks for a model.
        """
        assert self.world is not None
        self.world.arrive(model, reason=Reason.OPERATOR)

    @rule(index=indexes)
    def leave(self, index: int) -> None:
        """
        A client hangs up.
        """
        assert self.world is not None
        self.world.leave(index)

    @rule(index=indexes, answered=st.booleans())
    def release(self, index: int, answered: bool) -> None:
        """
        A request ends.
        """
        assert self.world is not None
        self.world.release(index, answered)

    @rule(index=indexes, dead=st.booleans())
    def refuse(self, index: int, dead: bool) -> None:
        """
        A connection is refused.
        """
        assert self.world is not None
        self.world.refuse(index, dead)

    @precondition(lambda self: self.world is not None and self.world.hooks.running)
    @rule(index=indexes, succeeds=st.sampled_from([True, True, True, False]))
    def endHook(self, index: int, succeeds: bool) -> None:
        """
        A hook ends.
        """
        assert self.world is not None
        self.world.endHook(index, succeeds)

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 30.0]))
    def tick(self, seconds: float) -> None:
        """
        Time goes by.
        """
        assert self.world is not None
        self.world.tick(seconds)

    @invariant()
    def holds(self) -> None:
        """
        Every promise holds.
        """
        if self.world is not None:
            self.world.check()

    def teardown(self) -> None:
        """
        Everything comes to its end.
        """
        if self.world is not None:
            self.world.settle()


@implementer(IObserver)
class Refusals:
    """
    Remembers what was refused.
    """

    interests = frozenset({DecisionRefused})

    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event) -> None:
        """
        See L{IObserver.notify}.
        """
        self.events.append(event)


class InvariantTests(SynchronousTestCase):
    """
    Nothing goes to a model that is not awake, resources are never exceeded,
    every request ends once, nobody is passed over for too long, nobody is
    woken in vain or waits in vain, and nothing is left over in the end.
    """

    def test_walks(self) -> None:
        """
        The promises hold at every step of long random walks.  One that breaks
        a promise says how to walk it again.
        """
        for number in range(20_000 // LENGTH):
            walk(f"test-{number}")

    def test_nothingRefused(self) -> None:
        """
        No policy of llmux's own decides what the switcher would refuse.
        """
        for policy in (FirstComeFirstServed(), CostAware()):
            for number in range(60):
                random = Random(f"refused-{number}")
                chosen = {name: random.choice(all) for name, all in SETTINGS.items()}
                world = makeWorld(policy=policy, **chosen)
                refusals = Refusals()
                world.switcher.addObserver(refusals)
                for _ in range(LENGTH):
                    step(world, random)
                    self.assertEqual(refusals.events, [], (policy, number, chosen))

    def test_whateverHappens(self) -> None:
        """
        They hold whatever is tried; what breaks them is cut down to a few
        steps.
        """
        run_state_machine_as_test(
            SwitcherMachine,
            settings=settings(
                max_examples=150,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                database=None,
            ),
        )
