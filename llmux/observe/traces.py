# -*- test-case-name: llmux.test.test_observe_traces -*-
"""
Requests and switches as OpenTelemetry's traces.

A request is a span, with what it went through as spans within: C{queue},
C{first byte} and C{stream}.  It belongs to its client's trace, if that has one,
and what its model's server does can belong to it.

A switch serves many requests, and so is a trace of its own, with C{drain},
C{sleep} and C{wake} within.  The C{queue} of a request that waited for it links
to it.

This module needs C{llmux[traces]}, and is only imported where it is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from attrs import define
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider as SDKTracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    Link,
    Span,
    SpanKind,
    Status,
    StatusCode,
    TracerProvider,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThreadPool
from zope.interface import implementer

from llmux._version import __version__
from llmux.interfaces import (
    Event,
    Hook,
    HookFinished,
    IObserver,
    SwitchEnded,
    SwitchStarted,
)
from llmux.observe.account import Account, IAccountant

__all__ = ["Traces", "otlpTraces"]

Pair = tuple[bytes, bytes]

_propagator = TraceContextTextMapPropagator()
_FIELDS = {name.encode("ascii"): name for name in _propagator.fields}


@define(eq=False)
class _Switch:
    """
    A switch.

    @ivar ended: when it was over, if it is.
    """

    span: Span
    started: float
    members: frozenset[str]
    ended: float | None = None

    @property
    def within(self) -> Context:
        """
        For spans that are a part of it.
        """
        return set_span_in_context(self.span, Context())


@implementer(IObserver, IAccountant)
class Traces:
    """
    Makes spans.  Most of them are made when they are over, as their times are
    known then, and only a request's own when it comes, as its id is passed on.
    """

    def __init__(self, provider: TracerProvider, clock: IReactorTime) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("llmux", __version__)
        self._clock = clock
        self._switches: dict[str, _Switch] = {}

    def start(self) -> None:
        """
        There is nothing to do.
        """

    def stop(self) -> Deferred[None]:
        """
        End what is under way.

        @return: fires when all that there was is on its way.
        """
        for switch in self._switches.values():
            if switch.ended is None:
                switch.span.end(_nanoseconds(self._clock.seconds()))
        self._switches.clear()
        return succeed(None)

    # Requests.

    def begin(self, account: Account, headers: Sequence[Pair]) -> list[Pair]:
        """
        A request is here.

        @return: its headers, with the place in its trace that is this
            request's.
        """
        given = {
            _FIELDS[name.lower()]: value.decode("latin-1")
            for name, value in headers
            if name.lower() in _FIELDS
        }
        span = self._tracer.start_span(
            "request",
            _propagator.extract(given, Context()),
            SpanKind.SERVER,
            start_time=_nanoseconds(account.arrived),
        )
        account.span = span
        passed: dict[str, str] = {}
        _propagator.inject(passed, set_span_in_context(span, Context()))
        return [
            *((name, value) for name, value in headers if name.lower() not in _FIELDS),
            *((n.encode("ascii"), v.encode("latin-1")) for n, v in passed.items()),
        ]

    def requestFinished(self, account: Account) -> None:
        """
        See L{IAccountant.requestFinished}.
        """
        span: Any = account.span
        if span is None:
            return
        account.span = None
        if span.is_recording():
            self._describe(span, account)
            self._parts(span, account)
        span.end(_nanoseconds(account.ended))

    def _describe(self, span: Span, account: Account) -> None:
        request, usage = account.request, account.usage
        attributes: dict[str, Any] = {
            "http.request.method": request.method.decode("latin-1"),
            "http.response.status_code": account.status,
            "http.response.body.size": account.size,
            "client.address": request.peer.decode("latin-1"),
            "gen_ai.request.model": account.model,
            "gen_ai.usage.input_tokens": usage.prompt,
            "gen_ai.usage.output_tokens": usage.completion,
            "llmux.request_id": request.requestId.decode("latin-1"),
            "llmux.key": account.key or None,
            "llmux.aborted": account.aborted or None,
            "llmux.retries": account.retries,
        }
        span.set_attributes({k: v for k, v in attributes.items() if v is not None})
        if account.status >= 500 or account.aborted in ("backend_error", "cut"):
            span.set_status(Status(StatusCode.ERROR, account.aborted or None))

    def _parts(self, span: Span, account: Account) -> None:
        within = set_span_in_context(span, Context())
        granted, begun = account.granted, account.begun
        waited = account.ended if granted is None else granted
        # Nobody waits for a model that is awake.
        if waited - account.arrived >= 0.001:
            switch = self._switches.get(account.model)
            isLate = switch is None or (switch.ended or waited) < account.arrived
            links = [] if switch is None or isLate else [switch.span.get_span_context()]
            self._past(
                "queue", within, account.arrived, waited, [Link(link) for link in links]
            )
        if granted is not None:
            self._past(
                "first byte", within, granted, account.ended if begun is None else begun
            )
        if begun is not None:
            self._past("stream", within, begun, account.ended)

    def _past(
        self,
        name: str,
        within: Context,
        started: float,
        ended: float,
        links: Sequence[Link] = (),
        error: str = "",
        **attributes: str | int,
    ) -> None:
        span = self._tracer.start_span(
            name,
            within,
            attributes={f"llmux.{key}": value for key, value in attributes.items()},
            links=links,
            start_time=_nanoseconds(started),
        )
        if error:
            span.set_status(Status(StatusCode.ERROR, error))
        span.end(_nanoseconds(ended))

    # Switches.

    def notify(self, event: Event) -> None:
        """
        See L{IObserver.notify}.
        """
        if isinstance(event, SwitchStarted):
            self._switchStarted(event)
        elif isinstance(event, SwitchEnded):
            self._switchEnded(event)
        elif isinstance(event, HookFinished) and event.hook is not Hook.ALIVE:
            self._hookFinished(event)

    def _switchStarted(self, event: SwitchStarted) -> None:
        now = self._clock.seconds()
        span = self._tracer.start_span(
            "switch",
            Context(),
            attributes={
                "llmux.model": event.target,
                "llmux.victims": event.victims,
                "llmux.reason": event.reason.value,
            },
            start_time=_nanoseconds(now),
        )
        members = frozenset((event.target, *event.victims))
        self._switches[event.target] = _Switch(span, now, members)

    def _switchEnded(self, event: SwitchEnded) -> None:
        switch = self._switches.get(event.target)
        if switch is None or switch.ended is not None:
            return
        if event.victims:
            drained = switch.started + event.drain
            self._past("drain", switch.within, switch.started, drained)
        switch.span.set_attribute("llmux.result", event.result)
        if event.result == "failed":
            switch.span.set_status(Status(StatusCode.ERROR))
        # It is kept, for those who waited for it.
        switch.ended = self._clock.seconds()
        switch.span.end(_nanoseconds(switch.ended))

    def _hookFinished(self, event: HookFinished) -> None:
        within = Context()
        for switch in self._switches.values():
            if switch.ended is None and event.model in switch.members:
                within = switch.within
        now = self._clock.seconds()
        self._past(
            event.hook.value,
            within,
            now - event.duration,
            now,
            error=event.error,
            model=event.model,
            reason=event.reason.value,
            attempt=event.attempt,
        )


class _SentTraces(Traces):
    """
    Traces that are sent by a provider of their own.
    """

    _provider: SDKTracerProvider

    def stop(self) -> Deferred[None]:
        """
        See L{Traces.stop}.
        """
        super().stop()
        reactor: Any = self._clock
        # It waits for those who take them.
        return deferToThreadPool(
            reactor, reactor.getThreadPool(), self._provider.shutdown
        )


def otlpTraces(reactor: Any) -> Traces:
    """
    Traces that are sent to where C{OTEL_EXPORTER_OTLP_ENDPOINT} and the other
    variables of OpenTelemetry say.
    """
    # What is given here would come before what stands in the environment.
    named = {} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: "llmux"}
    provider = SDKTracerProvider(resource=Resource.create(named))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return _SentTraces(provider, reactor)


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000)
