"""
Tests for L{llmux.interfaces}.
"""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyClass

from llmux.interfaces import (
    Decision,
    Event,
    Hook,
    ICosts,
    IHookRunner,
    IObserver,
    ISwitchPolicy,
    ModelView,
    Reason,
    State,
    Stay,
    Switch,
    Waiting,
)
from llmux.policies.fifo import FirstComeFirstServed
from llmux.switching.costs import Costs
from llmux.testing import FakeHooks, Recorder


class StateTests(SynchronousTestCase):
    """
    What models do.
    """

    def test_holds(self) -> None:
        """
        Only a model that is asleep, or is left alone after it was cleaned up
        after, is thought to hold nothing; all else is thought the worst of.
        """
        self.assertEqual(
            {state for state in State if not state.holdsResources},
            {State.ASLEEP, State.COOLING},
        )

    def test_words(self) -> None:
        """
        What leaves Python is in small letters, as it is in hooks' environment.
        """
        for kind in (State, Hook, Reason):
            for member in kind:
                self.assertEqual(member.value, member.name.lower())


class ValueTests(SynchronousTestCase):
    """
    What crosses rooms.
    """

    def test_victims(self) -> None:
        """
        Victims may be given as any collection, and are a set.
        """
        self.assertEqual(Switch("a", ["b", "c", "b"]), Switch("a", {"c", "b"}))
        self.assertEqual(Switch("a").victims, frozenset())

    def test_waitingIsItself(self) -> None:
        """
        Two requests are two, however alike.
        """
        self.assertNotEqual(Waiting("a", 0.0, 1), Waiting("a", 0.0, 1))

    def test_frozen(self) -> None:
        """
        Nothing that a policy or an observer is given can be changed by it.
        """
        view = ModelView("a", State.ASLEEP, 0.0, {})
        with self.assertRaises(attrs.exceptions.FrozenInstanceError):
            view.state = State.AWAKE  # type: ignore[misc]
        for kind in (*Event.__args__, *Decision.__args__):
            self.assertTrue(attrs.has(kind))
            self.assertIs(kind.__setattr__, Stay.__setattr__)

    def test_implemented(self) -> None:
        """
        What is shipped does what the interfaces ask for.
        """
        self.assertTrue(verifyClass(ISwitchPolicy, FirstComeFirstServed))
        self.assertTrue(verifyClass(ICosts, Costs))
        self.assertTrue(verifyClass(IHookRunner, FakeHooks))
        self.assertTrue(verifyClass(IObserver, Recorder))
