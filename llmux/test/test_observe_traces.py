"""
Tests for L{llmux.observe.traces} and L{llmux.observe.tracing}.
"""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from llmux.errors import ConfigError
from llmux.interfaces import (
    Event,
    Hook,
    HookFinished,
    IObserver,
    Reason,
    SwitchEnded,
    SwitchStarted,
)
from llmux.observe.account import IAccountant
from llmux.observe.tracing import tracesFor
from llmux.test._accounts import account
from llmux.test._memory import FakeClient, MemoryCase, makeAsked
from llmux.test._processes import ROOT
from llmux.web.exchange import Exchange

NEEDS = (
    None
    if find_spec("opentelemetry") and find_spec("opentelemetry.sdk")
    else "OpenTelemetry is not installed (it is in llmux[traces])"
)

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01".encode()


def inMemory() -> tuple[Any, Any]:
    """
    A provider, and what keeps the spans that are over.
    """
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import (
        InMemorySpanExporter,
    )

    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, exporter


class TracesTests(SynchronousTestCase):
    """
    Tests for L{Traces}.
    """

    skip = NEEDS

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(100)
        provider, self.exporter = inMemory()
        (self.traces,) = tracesFor("off", self.clock, provider)

    def spans(self) -> dict[str, Any]:
        """
        The spans that are over, by name.
        """
        return {span.name: span for span in self.exporter.get_finished_spans()}

    def times(self) -> dict[str, tuple[float, float]]:
        """
        When they began and ended.
        """
        return {
            name: (span.start_time / 1e9, span.end_time / 1e9)
            for name, span in self.spans().items()
        }

    def happens(self, *events: Event) -> None:
        """
        Have something happen.
        """
        for event in events:
            self.traces.notify(event)

    def request(self, *headers: tuple[bytes, bytes], **more: Any) -> dict[bytes, bytes]:
        """
        Have a request that is over.

        @return: the headers that are passed on.
        """
        made = account(**more)
        passed = dict(self.traces.begin(made, headers))
        self.traces.requestFinished(made)
        return passed

    def test_interfaces(self) -> None:
        """
        It is told of requests and of events.
        """
        self.assertTrue(verifyObject(IAccountant, self.traces))
        self.assertTrue(verifyObject(IObserver, self.traces))

    def test_request(self) -> None:
        """
        A request is a span with its parts within.
        """
        self.request(
            duration=9.0,
            granted=103.0,
            begun=104.0,
            size=321,
            last=[b'"usage":{"prompt_tokens":5,"completion_tokens":7}'],
        )
        self.assertEqual(
            self.times(),
            {
                "request": (100, 109),
                "queue": (100, 103),
                "first byte": (103, 104),
                "stream": (104, 109),
            },
        )
        spans = self.spans()
        request = spans.pop("request")
        self.assertIsNone(request.parent)
        self.assertEqual(request.kind.name, "SERVER")
        self.assertTrue(request.status.is_ok or request.status.is_unset)
        for part in spans.values():
            self.assertEqual(part.parent.span_id, request.context.span_id)
        self.assertEqual(
            dict(request.attributes),
            {
                "http.request.method": "POST",
                "http.response.status_code": 200,
                "http.response.body.size": 321,
                "client.address": "127.0.0.1",
                "gen_ai.request.model": "a",
                "gen_ai.usage.input_tokens": 5,
                "gen_ai.usage.output_tokens": 7,
                "llmux.request_id": "r-1",
                "llmux.retries": 0,
            },
        )

    def test_atOnce(self) -> None:
        """
        Who did not wait was in no queue.
        """
        self.request(granted=100.0001, begun=100.5)
        self.assertEqual(set(self.spans()), {"request", "first byte", "stream"})

    def test_notServed(self) -> None:
        """
        Who was not served has waited to the end.
        """
        self.request(status=503, duration=5.0)
        self.assertEqual(self.times(), {"request": (100, 105), "queue": (100, 105)})
        self.assertFalse(self.spans()["request"].status.is_ok)
        self.assertEqual(self.spans()["request"].status.status_code.name, "ERROR")

    def test_noAnswer(self) -> None:
        """
        A model that did not begin to answer was waited for to the end.
        """
        self.request(status=502, duration=5.0, granted=100.0)
        self.assertEqual(self.times()["first byte"], (100, 105))

    def test_brokenOff(self) -> None:
        """
        An answer that broke off is an error, and one whose client left is not.
        """
        for why, name in (("backend_error", "ERROR"), ("left", "UNSET")):
            self.exporter.clear()
            self.request(granted=100.0, begun=100.5, aborted=why)
            request = self.spans()["request"]
            self.assertEqual(request.status.status_code.name, name)
            self.assertEqual(request.attributes["llmux.aborted"], why)

    def test_context(self) -> None:
        """
        The request belongs to its client's trace, and what its server does to
        the request.
        """
        passed = self.request(
            (b"TraceParent", PARENT), (b"tracestate", b"vendor=1"), (b"X-Other", b"2")
        )
        request = self.spans()["request"]
        self.assertEqual(f"{request.context.trace_id:032x}", TRACE)
        self.assertEqual(f"{request.parent.span_id:016x}", "b7ad6b7169203331")
        own = f"00-{TRACE}-{request.context.span_id:016x}-01".encode()
        self.assertEqual(
            passed, {b"X-Other": b"2", b"traceparent": own, b"tracestate": b"vendor=1"}
        )

    def test_noContext(self) -> None:
        """
        Without one, or with nonsense for one, a trace begins.
        """
        for headers in ([], [(b"traceparent", b"00-\xff-zz")]):
            passed = self.request(*headers)
            self.assertRegex(
                passed[b"traceparent"].decode(), r"^00-[0-9a-f]{32}-[0-9a-f]{16}-0[13]$"
            )
            self.assertEqual(len(passed), 1)

    def test_notSampled(self) -> None:
        """
        A client that wants no trace gets none, and that is passed on.
        """
        unwanted = PARENT[:-2] + b"00"
        passed = self.request((b"traceparent", unwanted), granted=100.0)
        self.assertEqual(self.spans(), {})
        self.assertEqual(passed[b"traceparent"][-2:], b"00")

    def test_switch(self) -> None:
        """
        A switch is a trace of its own, with its drain and its hooks within.
        """
        self.happens(SwitchStarted("b", ("a",), Reason.REQUEST))
        self.clock.advance(4)
        self.happens(HookFinished("a", Hook.SLEEP, Reason.REQUEST, 1, 1.0))
        self.clock.advance(5)
        self.happens(
            HookFinished("b", Hook.WAKE, Reason.REQUEST, 2, 5.0),
            HookFinished("b", Hook.ALIVE, Reason.REQUEST, 1, 1.0),
            SwitchEnded("b", ("a",), "ok", 9.0, 3.0, 1),
        )
        self.assertEqual(
            self.times(),
            {
                "switch": (100, 109),
                "drain": (100, 103),
                "sleep": (103, 104),
                "wake": (104, 109),
            },
        )
        spans = self.spans()
        switch = spans.pop("switch")
        self.assertIsNone(switch.parent)
        self.assertEqual(
            dict(switch.attributes),
            {
                "llmux.model": "b",
                "llmux.victims": ("a",),
                "llmux.reason": "request",
                "llmux.result": "ok",
            },
        )
        for part in spans.values():
            self.assertEqual(part.parent.span_id, switch.context.span_id)
        self.assertEqual(spans["wake"].attributes["llmux.attempt"], 2)

    def test_failed(self) -> None:
        """
        A hook that failed says why, and a switch that failed is an error.
        """
        self.happens(
            SwitchStarted("b", (), Reason.REQUEST),
            HookFinished("b", Hook.WAKE, Reason.REQUEST, 1, 0.0, "exit status 1"),
            SwitchEnded("b", (), "failed", 0.0, 0.0, 1),
            SwitchEnded("b", (), "failed", 0.0, 0.0, 1),
        )
        spans = self.spans()
        self.assertEqual(set(spans), {"switch", "wake"})
        self.assertEqual(spans["wake"].status.description, "exit status 1")
        self.assertEqual(spans["switch"].status.status_code.name, "ERROR")

    def test_alone(self) -> None:
        """
        A hook that runs without a switch is a trace of its own.
        """
        self.happens(HookFinished("a", Hook.SLEEP, Reason.TTL, 1, 1.0))
        self.assertIsNone(self.spans()["sleep"].parent)

    def test_link(self) -> None:
        """
        Who waited for a switch has a link to it, and who came later has not.
        """
        self.happens(SwitchStarted("a", (), Reason.REQUEST))
        self.clock.advance(2)
        self.happens(SwitchEnded("a", (), "ok", 2.0, 0.0, 1))
        self.request(granted=102.0)
        (link,) = self.spans()["queue"].links
        switch = self.spans()["switch"]
        self.assertEqual(link.context.span_id, switch.context.span_id)
        self.exporter.clear()
        made = account(granted=106.0, duration=9.0)
        made.arrived = 105.0
        self.traces.begin(made, [])
        self.traces.requestFinished(made)
        self.assertEqual(len(self.spans()["queue"].links), 0)

    def test_stop(self) -> None:
        """
        A switch that is under way at the end is told, too.
        """
        self.traces.start()
        self.happens(SwitchStarted("a", (), Reason.REQUEST))
        self.successResultOf(self.traces.stop())
        self.assertEqual(set(self.spans()), {"switch"})
        self.happens(SwitchEnded("a", (), "ok", 2.0, 0.0, 1))

    def test_notBegun(self) -> None:
        """
        Of a request whose begin was not told there is nothing to tell.
        """
        self.traces.requestFinished(account())
        self.assertEqual(self.spans(), {})


class ExchangeTests(MemoryCase):
    """
    Tests for traces of what goes through an exchange.
    """

    skip = NEEDS

    def test_passedOn(self) -> None:
        """
        The server of the model gets the request's place in the trace.
        """
        provider, exporter = inMemory()
        (traces,) = tracesFor("off", self.clock, provider)
        self.context.traces = self.context.accountant = traces
        client = FakeClient()
        asked = makeAsked(headers={b"traceparent": PARENT})
        Exchange(self.context, client, asked).start()
        connection = self.servers.accept()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        client.leave()
        (request,) = (s for s in exporter.get_finished_spans() if s.name == "request")
        given = re.findall(rb"(?i)traceparent: (\S+)", connection.received)
        own = f"00-{TRACE}-{request.context.span_id:016x}-01".encode()
        self.assertEqual(given, [own])


class ChoiceTests(SynchronousTestCase):
    """
    Tests for L{tracesFor}.
    """

    def test_off(self) -> None:
        """
        By default there are none.
        """
        self.assertEqual(tracesFor("off", Clock()), [])

    def without(self, package: str) -> None:
        """
        Have a package not be installed.
        """
        # In the table itself: Python does not look at another in its place.
        names = [package, "llmux.observe.traces"]
        before = {name: sys.modules[name] for name in names if name in sys.modules}

        def restore() -> None:
            for name in names:
                sys.modules.pop(name, None)
            sys.modules.update(before)

        self.addCleanup(restore)
        for name in names:
            sys.modules.pop(name, None)
        sys.modules[package] = None  # type: ignore[assignment]

    def test_missing(self) -> None:
        """
        Where OpenTelemetry is not installed, that is said by key, with what
        mends it.
        """
        self.without("opentelemetry.context")
        error = self.assertRaises(ConfigError, tracesFor, "otlp", Clock())
        self.assertIn("traces: traces need what is not installed", str(error))
        self.assertIn("pip install 'llmux[traces]'", str(error))

    def test_notImported(self) -> None:
        """
        Whoever has no traces does not load OpenTelemetry.
        """
        code = (
            "import sys, llmux.service, llmux.observe.tracing\n"
            "llmux.observe.tracing.tracesFor('off', None)\n"
            "print([name for name in sys.modules if 'opentelemetry' in name])"
        )
        ran = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertEqual(ran.stdout.strip(), "[]")
