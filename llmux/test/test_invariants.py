"""
The promises of the switcher, whatever happens in whatever order.

Each of these was seen to be caught when it was put into the code:

 - granting while draining (C{Place.serving} without C{leaving}): promises 1
   and 2;
 - not draining before sleep (C{Place.finished} always true): promise 1;
 - waking before the victims are asleep (C{Move.hasRoom} always true):
   promises 2 and 3;
 - keeping a waiter who left (C{Place.remove} leaves the queue as it is):
   promises 4 and 7;
 - releasing a token twice (C{Token.release} without its guard): promise 4;
 - no timer for the bound (C{Switcher._arm} ignores C{soonest}): promise 5;
 - forgetting what is owed (C{Place.owed} stays 0): promise 6;
 - going on with a switch that nobody wants (C{Switcher._advance} does not look
   at the queue): promise 7;
 - closing the door to the awake model while C{min_active_secs} lasts
   (C{Switcher._drain} before the policy decides): promise 8.
"""

from __future__ import annotations

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

from llmux.config import PolicyConfig
from llmux.policies.fifo import FirstComeFirstServed
from llmux.test._world import World
from llmux.testing import makeConfig

MODELS = ("a", "b", "c")

indexes = st.integers(0, 5)


class SwitcherMachine(RuleBasedStateMachine):
    """
    Random steps in a world with one place, or with several.
    """

    world: World | None = None

    @initialize(
        several=st.booleans(),
        capped=st.sampled_from([None, 1, 2]),
        timeout=st.sampled_from([None, 20.0]),
        drains=st.booleans(),
        minActive=st.sampled_from([0.0, 0.0, 15.0]),
        maxWait=st.sampled_from([None, 10.0, 60.0]),
        drainTimeout=st.sampled_from([None, None, 8.0]),
        ttl=st.sampled_from([None, None, 12.0]),
        awake=st.sampled_from([frozenset(), frozenset("a"), frozenset("ab")]),
    )
    def begin(
        self,
        several: bool,
        capped: int | None,
        timeout: float | None,
        drains: bool,
        minActive: float,
        maxWait: float | None,
        drainTimeout: float | None,
        ttl: float | None,
        awake: frozenset[str],
    ) -> None:
        """
        Make a world.
        """
        needs = {"a": 10, "b": 14, "c": 20}
        config = makeConfig(
            *MODELS,
            policy=PolicyConfig(
                name="fifo",
                request_timeout_secs=timeout,
                drain_before_switch=drains,
                min_active_secs=minActive,
                max_wait_secs=maxWait,
                drain_timeout_secs=drainTimeout,
            ),
            resources={"gpu": 24} if several else {},
            models={
                name: {
                    "max_in_flight": capped,
                    "ttl_secs": ttl,
                    "needs": {"gpu": needs[name]} if several else None,
                }
                for name in MODELS
            },
        )
        self.world = World(config, FirstComeFirstServed(), awake)

    @rule(model=st.sampled_from(MODELS), priority=st.sampled_from([0, 0, 0, 1]))
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


class InvariantTests(SynchronousTestCase):
    """
    The promises hold.
    """

    def test_whateverHappens(self) -> None:
        """
        Whatever happens in whatever order, nothing goes to a model that is
        not awake, resources are never exceeded, every request ends once,
        nobody is passed over for too long, nobody is woken in vain, and
        nothing is left over in the end.
        """
        run_state_machine_as_test(
            SwitcherMachine,
            settings=settings(
                max_examples=200,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                database=None,
            ),
        )
