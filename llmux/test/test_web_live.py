"""
Tests for L{llmux.web._live}.
"""

from __future__ import annotations

import json

from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from llmux.interfaces import (
    Hook,
    HookFinished,
    IObserver,
    Reason,
    RequestQueued,
    State,
    StateChanged,
    SwitchEnded,
    SwitchStarted,
)
from llmux.test._readers import FakeClient
from llmux.web._live import HEARTBEAT, WAITING, Feed, Live, frame


class LiveTests(SynchronousTestCase):
    """
    One reader of events.
    """

    def setUp(self) -> None:
        """
        Have it begin to read.
        """
        self.clock = Clock()
        self.client = FakeClient()
        self.ended: list[Live] = []
        self.live = Live(self.client, self.clock, self.ended.append)
        self.live.start(b"id-1", b"")

    def tearDown(self) -> None:
        """
        Whatever became of the reader, nothing is left behind once it is gone.
        """
        self.live.finish()
        self.assertEqual(self.ended, [self.live])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_head(self) -> None:
        """
        It gets a response without an end that no proxy keeps or holds back,
        and a first byte at once.
        """
        verifyObject(IPushProducer, self.live)
        self.assertEqual((self.client.status, self.client.length), (200, None))
        self.assertEqual(
            self.client.headers,
            {
                b"Content-Type": b"text/event-stream; charset=utf-8",
                b"Cache-Control": b"no-store",
                b"X-Accel-Buffering": b"no",
                b"X-Request-Id": b"id-1",
            },
        )
        self.assertEqual(self.client.body, b": llmux\n\n")

    def test_send(self) -> None:
        """
        Events are sent as they come.
        """
        self.live.send(b"one")
        self.live.send(b"two")
        self.assertTrue(self.client.body.endswith(b"onetwo"))

    def test_heartbeat(self) -> None:
        """
        While nothing happens, comments keep the connection alive.
        """
        self.client.body = b""
        self.clock.pump([HEARTBEAT] * 3)
        self.assertEqual(self.client.body, b": llmux\n\n" * 3)

    def test_pause(self) -> None:
        """
        While a reader takes nothing, it is sent nothing; then what it missed.
        """
        self.client.body = b""
        self.live.pauseProducing()
        self.live.send(b"one")
        self.clock.advance(HEARTBEAT)
        self.live.send(b"two")
        self.assertEqual(self.client.body, b"")
        self.live.resumeProducing()
        self.assertEqual(self.client.body, b"onetwo")
        self.clock.advance(HEARTBEAT)
        self.assertEqual(self.client.body, b"onetwo: llmux\n\n")

    def test_resumeWithNothing(self) -> None:
        """
        A reader that missed nothing is sent nothing.
        """
        self.client.body = b""
        self.live.pauseProducing()
        self.live.resumeProducing()
        self.assertEqual(self.client.body, b"")

    def test_tooMuchWaits(self) -> None:
        """
        A reader for which more waits than may is dropped, and nothing is sent
        to it any more.
        """
        self.live.pauseProducing()
        self.live.send(b"x" * WAITING)
        self.assertEqual(self.client.ended, "")
        self.live.send(b"x")
        self.assertEqual(self.client.ended, "aborted")
        self.live.send(b"more")
        self.live.resumeProducing()
        self.live.stopProducing()

    def test_tooLong(self) -> None:
        """
        A reader that takes nothing from one heartbeat to the next is dropped,
        even if nothing happens.
        """
        self.live.pauseProducing()
        self.clock.advance(HEARTBEAT)
        self.assertEqual(self.client.ended, "")
        self.clock.advance(HEARTBEAT)
        self.assertEqual(self.client.ended, "aborted")

    def test_leaves(self) -> None:
        """
        A reader may leave.
        """
        self.client.leave()
        self.live.send(b"more")


class FeedTests(SynchronousTestCase):
    """
    What readers are told.
    """

    def test_events(self) -> None:
        """
        Every state change, hook and switch is told by name, as JSON on one
        line; single requests are not.
        """
        clock, client = Clock(), FakeClient()
        feed = Feed(clock, dict)
        verifyObject(IObserver, feed)
        live = Live(client, clock, feed.readers.discard)
        feed.notify(SwitchStarted("a", (), Reason.REQUEST))
        live.start(b"", b"first\n\n")
        feed.readers.add(live)
        feed.notify(StateChanged("a", State.ASLEEP, State.WAKING, 1.5))
        feed.notify(SwitchStarted("a", ("b",), Reason.OPERATOR))
        feed.notify(SwitchEnded("a", ("b",), "ok", 2.0, 1.0, 3))
        feed.notify(HookFinished("a", Hook.WAKE, Reason.REQUEST, 1, 2.0))
        feed.notify(RequestQueued("a", 1))
        first, *events, rest = client.body.decode().split("\n\n")
        self.assertEqual((first, rest), ("first", ""))
        found = [event.split("\n") for event in events]
        self.assertEqual(
            [name for name, _ in found],
            [
                "event: state_changed",
                "event: switch_started",
                "event: switch_ended",
                "event: hook_finished",
            ],
        )
        told = [json.loads(data.removeprefix("data: ")) for _, data in found]
        self.assertEqual(
            told[0],
            {"model": "a", "before": "asleep", "after": "waking", "duration": 1.5},
        )
        self.assertEqual(told[1]["victims"], ["b"])
        live.finish()
        self.assertEqual(feed.readers, set())

    def test_frame(self) -> None:
        """
        Text is sent as it is, and needs no name.
        """
        self.assertEqual(frame("über"), "data: über\n\n".encode())
