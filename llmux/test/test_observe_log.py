"""
Tests for L{llmux.observe.log}.
"""

from __future__ import annotations

import io
import json

from twisted.internet.testing import EventLoggingObserver
from twisted.logger import (
    ILogObserver,
    LogEvent,
    Logger,
    LogLevel,
    formatEvent,
    jsonFileLogObserver,
)
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from llmux.interfaces import (
    Admit,
    BoundMissed,
    Decision,
    DecisionRefused,
    Event,
    Hook,
    HookFinished,
    IObserver,
    Reason,
    RequestDone,
    RequestDropped,
    RequestGranted,
    State,
    StateChanged,
    Stay,
    Switch,
    SwitchEnded,
    SwitchStarted,
    Waiting,
)
from llmux.observe import EventLog
from llmux.observe.log import Louder


@implementer(ILogObserver)
class Lines(list[LogEvent]):
    """
    A log that is kept.
    """

    def __call__(self, event: LogEvent) -> None:
        """
        Keep an event.
        """
        self.append(event)


class EventLogTests(SynchronousTestCase):
    """
    L{EventLog}
    """

    def setUp(self) -> None:
        self.lines = Lines()
        self.events = EventLog(Logger(observer=self.lines))

    def logged(self, event: Event) -> LogEvent:
        """
        The one line that an event makes.
        """
        del self.lines[:]
        self.events.notify(event)
        [line] = self.lines
        return line

    def assertLogged(
        self, event: Event, name: str, level: str, text: str, **fields: object
    ) -> None:
        """
        Assert what an event is in the log.
        """
        line = self.logged(event)
        self.assertEqual(line["event"], name)
        self.assertEqual(line["log_level"], LogLevel.lookupByName(level))
        self.assertEqual(formatEvent(line), text)
        self.assertEqual({key: line[key] for key in fields}, fields)

    def test_interface(self) -> None:
        """
        It is an observer.
        """
        self.assertTrue(verifyObject(IObserver, self.events))

    def test_switch(self) -> None:
        """
        A switch has a line when it starts, and one when it is over.
        """
        self.assertLogged(
            SwitchStarted("b", ("a", "c"), Reason.REQUEST),
            "switch_started",
            "info",
            "Switching from a, c to b",
            target="b",
            victims=["a", "c"],
            reason="request",
        )
        self.assertLogged(
            SwitchStarted("b", (), Reason.PRELOAD),
            "switch_started",
            "info",
            "Switching to b",
            victims=[],
        )
        for result, name, level, words in [
            ("ok", "switch_completed", "info", "Switched"),
            ("failed", "switch_failed", "error", "Failed to switch"),
            ("cancelled", "switch_cancelled", "info", "Gave up to switch"),
        ]:
            self.assertLogged(
                SwitchEnded("b", ("a",), result, 3.5, 1.25, 2),
                name,
                level,
                f"{words} from a to b after 3.500 s, of which the drain took "
                "1.250 s; 2 waiting",
                target="b",
                victims=["a"],
                result=result,
                duration=3.5,
                drain=1.25,
                waiting=2,
            )

    def test_activated(self) -> None:
        """
        A model that serves from now on is activated; one that merely goes on
        to serve is not.
        """
        self.assertLogged(
            StateChanged("a", State.WAKING, State.AWAKE, 2.0),
            "model_activated",
            "info",
            "a is awake",
            model="a",
            state="awake",
            state_before="waking",
            duration=2.0,
        )
        self.assertLogged(
            StateChanged("a", State.UNKNOWN, State.AWAKE, 2.0),
            "model_activated",
            "info",
            "a was found awake",
        )
        self.assertLogged(
            StateChanged("a", State.CHECKING, State.AWAKE, 2.0),
            "model_state",
            "debug",
            "a: checking to awake",
        )

    def test_trouble(self) -> None:
        """
        States that an operator should know of stand out.
        """
        line = self.logged(StateChanged("a", State.SLEEPING, State.STUCK, 2.0))
        self.assertEqual(line["event"], "model_stuck")
        self.assertEqual(line["log_level"], LogLevel.error)
        self.assertIn("not free", formatEvent(line))
        line = self.logged(StateChanged("a", State.WAKING, State.COOLING, 2.0))
        self.assertEqual(line["event"], "model_cooling")
        self.assertEqual(line["log_level"], LogLevel.warn)

    def test_hookCompleted(self) -> None:
        """
        Hooks that did well are logged; those that are run again and again
        only for who looks closely.
        """
        for hook, level in [
            (Hook.WAKE, "info"),
            (Hook.SLEEP, "info"),
            (Hook.ALIVE, "debug"),
        ]:
            self.assertLogged(
                HookFinished("a", hook, Reason.TTL, 2, 0.5),
                "hook_completed",
                level,
                f"The {hook.value} hook of a took 0.500 s",
                model="a",
                hook=hook.value,
                reason="ttl",
                attempt=2,
                duration=0.5,
            )

    def test_hookFailed(self) -> None:
        """
        Failed hooks are logged with the reason.  A failed sleep, which keeps
        others from being woken, has a name of its own, and that a model is not
        alive is no error.
        """
        failed = "hook of a failed after 0.500 s, attempt 1: exit status 1"
        asleep = "hook of a does not find it awake: exit status 1"
        for hook, name, level, text in [
            (Hook.WAKE, "hook_failed", "error", failed),
            (Hook.SLEEP, "sleep_hook_failed", "error", failed),
            (Hook.ALIVE, "hook_failed", "info", asleep),
        ]:
            self.assertLogged(
                HookFinished("a", hook, Reason.REQUEST, 1, 0.5, "exit status 1"),
                name,
                level,
                f"The {hook.value} {text}",
                error="exit status 1",
                hook=hook.value,
            )

    def test_requestTimeout(self) -> None:
        """
        A request that waited too long is a warning.
        """
        self.assertLogged(
            RequestDropped("a", "timeout", 30.0, 1),
            "request_timeout",
            "warn",
            "A request for a was given up after it had waited 30.000 s",
            model="a",
            waited=30.0,
            depth=1,
        )

    def test_requestDropped(self) -> None:
        """
        Other requests that were not served are not dwelt on.
        """
        self.assertLogged(
            RequestDropped("a", "left", 3.0, 1),
            "request_dropped",
            "debug",
            "A request for a was dropped after 3.000 s: left",
            why="left",
        )

    def test_requestCut(self) -> None:
        """
        A request that was cut off is a warning; others, which are many, are
        not logged.
        """
        self.assertLogged(
            RequestDone("a", 2.0, 1, cut=True),
            "request_cut",
            "warn",
            "A request to a was cut off after 2.000 s",
            in_flight=1,
        )
        del self.lines[:]
        self.events.notify(RequestDone("a", 2.0, 1))
        self.events.notify(RequestGranted("a", 0.0, 0, 1))
        self.assertEqual(self.lines, [])

    def test_boundMissed(self) -> None:
        """
        A bound that was missed is a warning that names the setting.
        """
        line = self.logged(BoundMissed("a", 125.0, 120.0))
        self.assertEqual(line["event"], "bound_missed")
        self.assertIn("120 s of max_wait_secs", formatEvent(line))
        self.assertIn("in the order of arrival", formatEvent(line))

    def test_decisionRefused(self) -> None:
        """
        A decision that was refused is told in words.
        """
        decisions: list[tuple[Decision, str]] = [
            (Switch("b", {"c", "a"}), "switch from a, c to b"),
            (Admit(Waiting("b", 0.0, 1)), "admit a request to b"),
            (Stay(), "stay"),
        ]
        for decision, words in decisions:
            self.assertLogged(
                DecisionRefused(decision, "b is pinned"),
                "decision_refused",
                "error",
                f"The policy's decision to {words} was refused: b is pinned",
                decision=words,
            )

    def test_json(self) -> None:
        """
        As JSON, a line has its fields as plain values.
        """
        file = io.StringIO()
        jsonFileLogObserver(file, "")(
            self.logged(SwitchStarted("b", ("a",), Reason.REQUEST))
        )
        line = json.loads(file.getvalue())
        self.assertEqual(line["event"], "switch_started")
        self.assertEqual(line["victims"], ["a"])


class LouderTests(SynchronousTestCase):
    """
    Tests for L{Louder}.
    """

    def test_debug(self) -> None:
        """
        Details are news.
        """
        seen = EventLoggingObserver()
        logger: Logger = Louder(observer=seen)
        logger.debug("so much for {it}", it="that")
        (event,) = seen
        self.assertEqual(event["log_level"].name, "info")
