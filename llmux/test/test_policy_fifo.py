"""
Tests for L{llmux.policies.fifo}.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from llmux.interfaces import (
    Decision,
    ISwitchPolicy,
    ModelView,
    Snapshot,
    State,
    Stay,
    Switch,
    Waiting,
)
from llmux.policies.fifo import FirstComeFirstServed
from llmux.switching.costs import Costs

#: Every model in these tests needs all there is, unless it says otherwise.
ALL = {"machine": 1.0}


def model(
    name: str,
    state: State = State.ASLEEP,
    *numbers: int,
    needs: Mapping[str, float] = ALL,
    **more: Any,
) -> ModelView:
    """
    A model, and the requests that wait for it by their numbers.
    """
    queue = [Waiting(name, float(number), number) for number in numbers]
    oldest = queue[0] if queue else None
    return ModelView(name, state, 0.0, needs, queue=queue, oldest=oldest, **more)


def decide(
    *views: ModelView,
    now: float = 100.0,
    minActive: float = 0.0,
    free: Mapping[str, float] = ALL,
) -> Decision:
    """
    Ask the policy.
    """
    models = {view.name: view for view in views}
    held = any(view.state.holdsResources for view in views)
    room = {"machine": 0.0} if held and free is ALL else free
    snapshot = Snapshot(now, models, room, Costs(), minActive)
    return FirstComeFirstServed().decide(snapshot)


class FirstComeFirstServedTests(SynchronousTestCase):
    """
    What it says, case by case.
    """

    def test_interface(self) -> None:
        """
        It is a policy.
        """
        self.assertTrue(verifyObject(ISwitchPolicy, FirstComeFirstServed()))

    def test_table(self) -> None:
        """
        It wakes the model of whoever came first, of those that can be woken
        now.
        """
        A, B, C = "a", "b", "c"
        asleep, awake = State.ASLEEP, State.AWAKE
        half = {"machine": 0.5}
        for why, expected, views in (
            ("nobody waits", Stay(), [model(A), model(B)]),
            ("nothing is awake", Switch(A), [model(A, asleep, 1), model(B)]),
            (
                "the first, not the first in the configuration",
                Switch(B),
                [model(A, asleep, 5), model(B, asleep, 3, 4)],
            ),
            (
                "what is awake goes",
                Switch(A, {B}),
                [model(A, asleep, 1), model(B, awake)],
            ),
            (
                "though it serves",
                Switch(A, {B}),
                [model(A, asleep, 1), model(B, awake, inFlight=3)],
            ),
            (
                "who waits for an awake model is served without a switch",
                Stay(),
                [model(A), model(B, awake, 1)],
            ),
            (
                "it is on its way",
                Stay(),
                [model(A, asleep, 1, coming=True), model(B, awake, leaving=True)],
            ),
            (
                "its room is on its way to another",
                Stay(),
                [model(A, asleep, 2), model(B, awake, leaving=True)],
            ),
            (
                "it is left alone after a failure",
                Switch(B),
                [model(A, State.COOLING, 1), model(B, asleep, 2)],
            ),
            (
                "what is pinned stays",
                Stay(),
                [model(A, asleep, 1), model(B, awake, pinned=True)],
            ),
            (
                "the next goes ahead where the first cannot",
                Switch(C, {B}),
                [
                    model(A, asleep, 1),
                    model(B, awake, needs=half),
                    model(C, asleep, 2, needs=half),
                    model("d", awake, needs=half, pinned=True),
                ],
            ),
        ):
            self.assertEqual(decide(*views), expected, why)

    def test_minActive(self) -> None:
        """
        What has not been awake for C{min_active_secs} stays, and the policy
        asks to be asked again when that time is over.
        """
        views = [model("a", State.ASLEEP, 1), model("b", State.AWAKE, wokenAt=95.0)]
        self.assertEqual(decide(*views, minActive=8.0), Stay(3.0))
        self.assertEqual(decide(*views, minActive=5.0), Switch("a", {"b"}))

    def test_minActiveSoonest(self) -> None:
        """
        Where several wait for that, it asks for the first moment at which it
        could say something else, and nobody waits for another's time.
        """
        left, right = {"gpu0": 1.0}, {"gpu1": 1.0}
        views = [
            model("a", State.ASLEEP, 1, needs=left),
            model("b", State.AWAKE, needs=left, wokenAt=99.0),
            model("c", State.ASLEEP, 2, needs=right),
            model("d", State.AWAKE, needs=right, wokenAt=97.0),
        ]
        self.assertEqual(decide(*views, minActive=8.0, free={}), Stay(5.0))
        self.assertEqual(decide(*views, minActive=3.0, free={}), Switch("c", {"d"}))
