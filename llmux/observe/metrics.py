# -*- test-case-name: llmux.test.test_observe_metrics -*-
"""
Events as Prometheus metrics, in a registry of their own.

No client's word becomes a label: models are those of the configuration, and
all else is C{unknown}.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder
from zope.interface import implementer

from llmux.interfaces import (
    BoundMissed,
    DecisionRefused,
    Event,
    Hook,
    HookFinished,
    ICosts,
    IObserver,
    RequestDone,
    RequestDropped,
    RequestGranted,
    RequestQueued,
    Snapshot,
    State,
    StateChanged,
    SwitchEnded,
    isDeath,
)
from llmux.observe._tally import Counts, Histograms, ModelSeries, Sums, Tally
from llmux.observe.account import ABORTED, UNKNOWN, Account, IAccountant

__all__ = ["Metrics"]

#: How the newer of the two formats is asked for.
_OPEN_METRICS = "application/openmetrics-text; version=1.0.0"

#: Bounds in seconds.  Of requests, from a cached embedding to a long answer.
_REQUEST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
#: Of what moves a model's weights, from a sleeping engine to a cold start.
_SWITCH = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300, 600)
#: Of how long a model serves before it makes place for another.
_ACTIVE = (1, 5, 15, 60, 300, 900, 3600, 14400, 86400)

#: The states in which a model serves.
_SERVING = frozenset({State.AWAKE, State.CHECKING, State.DRAINING})


@implementer(IObserver, IAccountant)
class Metrics:
    """
    The metrics of one service.

    @ivar registry: where they are.  Others may add theirs.
    """

    def __init__(
        self,
        models: Iterable[str],
        costs: ICosts | None = None,
        snapshot: Callable[[], Snapshot] | None = None,
        isShort: Callable[[], bool] = bool,
    ) -> None:
        """
        @param models: the names of the configured models, which are shown
            from the start.
        @param costs: what C{llmux_switch_cost_ema_seconds} is read from.
        @param snapshot: what C{llmux_request_queue_age_seconds} is read from.
        @param isShort: says whether file descriptors are short.
        """
        self.registry = registry = CollectorRegistry()
        counter = partial(Counter, registry=registry)
        gauge = partial(Gauge, registry=registry)
        histogram = partial(Histogram, registry=registry)
        self.costs = costs
        self._snapshot = snapshot
        self._isShort = isShort
        pair, model, hook = ["from", "to"], ["model"], ["model", "hook"]
        self._switches = counter(
            "llmux_switch_total",
            "Switches that are over: ok, failed or cancelled.",
            [*pair, "result"],
        )
        self._switchDuration = histogram(
            "llmux_switch_duration_seconds",
            "From the start of a switch that succeeded until its model was awake.",
            pair,
            buckets=_SWITCH,
        )
        self._drainDuration = histogram(
            "llmux_switch_drain_duration_seconds",
            "The part of it in which requests in flight came to their end.",
            pair,
            buckets=_SWITCH,
        )
        self._activeDuration = histogram(
            "llmux_model_active_duration_seconds",
            "How long a model served from when it woke until it no longer did.",
            model,
            buckets=_ACTIVE,
        )
        self._cost = gauge(
            "llmux_switch_cost_ema_seconds",
            "What a switch has been measured to cost, drain excluded.",
            pair,
        )
        self._depth = gauge(
            "llmux_request_queue_depth",
            "Requests that wait for a model.",
            model,
        )
        self._wait = Histograms(
            "llmux_request_queue_wait_seconds",
            "How long requests that were served had waited for their model.",
            model,
            (*_REQUEST, 600),
        )
        self._inFlight = gauge(
            "llmux_model_in_flight",
            "Requests that a model is serving.",
            model,
        )
        self._requestDuration = Histograms(
            "llmux_request_duration_seconds",
            "From the arrival of a request until its answer was over.",
            ["model", "status"],
            _REQUEST,
        )
        requests = Counts(
            "llmux_requests_total",
            "Requests that were answered.",
            ["model", "status"],
            self._requestDuration,
        )
        self._firstByte = Histograms(
            "llmux_request_first_byte_seconds",
            "From the arrival of a request until its model began to answer.",
            model,
            _REQUEST,
        )
        self._tokens = Sums(
            "llmux_tokens_total",
            "Tokens of prompts and completions, where the model's server says.",
            ["model", "kind"],
        )
        for one in (
            self._wait,
            requests,
            self._requestDuration,
            self._firstByte,
            self._tokens,
        ):
            registry.register(one)
        self._aborted = counter(
            "llmux_requests_aborted_total",
            "Requests whose answers ended before they were whole.",
            ["model", "why"],
        )
        self._retries = counter(
            "llmux_request_retries_total",
            "Requests that were sent again, as their model was not there.",
            model,
        )
        self._heartbeats = counter(
            "llmux_heartbeats_total",
            "Signs of life to clients that waited for a model.",
            model,
        )
        self._age = gauge(
            "llmux_request_queue_age_seconds",
            "How long the first of those that wait for a model has waited.",
            model,
        )
        self._hookRetries = counter(
            "llmux_hook_retries_total",
            "Hooks that were run again, as they had failed before.",
            hook,
        )
        self._hookDuration = histogram(
            "llmux_hook_duration_seconds",
            "How long hooks took, whether or not they did well.",
            hook,
            buckets=_SWITCH,
        )
        self._hookFailures = counter(
            "llmux_hook_failures_total",
            "Hooks that failed.",
            hook,
        )
        self._dropped = counter(
            "llmux_requests_dropped_total",
            "Requests that waited for a model and were not served.",
            ["model", "why"],
        )
        self._state = gauge(
            "llmux_model_state",
            "1 for the state in which a model is, 0 for those in which it was.",
            ["model", "state"],
        )
        self._boundMissed = counter(
            "llmux_bound_missed_total",
            "Requests that were passed over for longer than max_wait_secs.",
            model,
        )
        self._deaths = counter(
            "llmux_model_deaths_total",
            "Times that an awake model was found dead or hung, and put to sleep.",
            model,
        )
        self._refused = counter(
            "llmux_decisions_refused_total",
            "Decisions of the policy that would have broken a promise.",
        )
        self._short = gauge(
            "llmux_descriptors_short",
            "1 while new clients may have to wait for file descriptors, else 0.",
        )
        self._pairs: set[tuple[str, str]] = set()
        self._answers: dict[tuple[str, int], Tally] = {}
        self._models: dict[str, ModelSeries] = {}
        self.show(models)
        self._takers: dict[type[Any], Callable[[Any], None]] = {
            RequestGranted: self._requestGranted,
            RequestDone: self._requestDone,
            RequestQueued: self._requestQueued,
            RequestDropped: self._requestDropped,
            StateChanged: self._stateChanged,
            HookFinished: self._hookFinished,
            SwitchEnded: self._switchEnded,
            BoundMissed: lambda event: self._boundMissed.labels(event.model).inc(),
            DecisionRefused: lambda event: self._refused.inc(),
        }

    def show(self, models: Iterable[str]) -> None:
        """
        Show models, whether there is anything to be said of them yet or not.
        """
        for name in models:
            self._series(name)

    def notify(self, event: Event) -> None:
        """
        See L{IObserver.notify}.
        """
        take = self._takers.get(type(event))
        if take is not None:
            take(event)

    def requestFinished(self, account: Account) -> None:
        """
        Count a request that was answered, by llmux itself or by its model.

        What is not about a configured model, or about one that there were
        events of, counts as L{UNKNOWN}.
        """
        model = account.model
        answers = self._answers.get((model, account.status))
        if answers is None:
            if model not in self._models:
                model = UNKNOWN
            answers = self._answers[model, account.status] = self._requestDuration.of(
                model, str(account.status)
            )
        answers.observe(account.ended - account.arrived)
        series = self._models.get(model)
        if account.begun is not None and series is not None:
            series.firstByte.observe(account.begun - account.arrived)
            prompt, completion = account.usage
            if prompt:
                series.prompt.value += prompt
            if completion:
                series.completion.value += completion
        if account.aborted:
            self._aborted.labels(model, account.aborted).inc()
        if account.heartbeats:
            self._heartbeats.labels(model).inc(account.heartbeats)
        if account.retries:
            self._retries.labels(model).inc(account.retries)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """
        @param accept: the C{Accept} header of who asks.

        @return: all metrics as they are now, and their content type.
        """
        self.refresh()
        return self.encoded(accept)

    def refresh(self) -> None:
        """
        Take up what is only looked at when it is asked for.
        """
        for name, model in self._models.items():
            self._depth.labels(name).set(model.depth)
            self._inFlight.labels(name).set(model.inFlight)
        self._short.set(self._isShort())
        if self._snapshot is not None:
            snapshot = self._snapshot()
            for name, view in snapshot.models.items():
                since = snapshot.now if view.oldest is None else view.oldest.since
                self._age.labels(name).set(snapshot.now - since)
        if self.costs is not None:
            for source, target in self._pairs:
                costs = self.costs
                cost = costs.switch(source, target) if source else costs.wake(target)
                self._cost.labels(source, target).set(cost)

    def encoded(self, accept: str = "") -> tuple[bytes, str]:
        """
        As L{render}, without L{refresh}: this may be called in a thread.
        """
        # Not the header itself: a version that is none makes the library raise.
        openMetrics = "application/openmetrics-text" in accept
        encode, contentType = choose_encoder(_OPEN_METRICS if openMetrics else "")
        return encode(self.registry), contentType

    def _series(self, name: str) -> ModelSeries:
        series = self._models.get(name)
        if series is None:
            series = self._models[name] = ModelSeries(
                self._wait.of(name),
                self._firstByte.of(name),
                self._tokens.of(name, "prompt"),
                self._tokens.of(name, "completion"),
            )
            # What alerts look at is there before it happens: an increase is seen
            # from 0 on only.
            self._boundMissed.labels(name)
            self._retries.labels(name)
            for hook in Hook:
                self._hookFailures.labels(name, hook.value)
                self._hookRetries.labels(name, hook.value)
            for why in ABORTED:
                self._aborted.labels(name, why)
        return series

    def _requestQueued(self, event: RequestQueued) -> None:
        self._series(event.model).depth = event.depth

    def _requestGranted(self, event: RequestGranted) -> None:
        series = self._series(event.model)
        series.depth = event.depth
        series.inFlight = event.inFlight
        series.wait.observe(event.waited)

    def _requestDone(self, event: RequestDone) -> None:
        self._series(event.model).inFlight = event.inFlight

    def _requestDropped(self, event: RequestDropped) -> None:
        self._series(event.model).depth = event.depth
        self._dropped.labels(event.model, event.why).inc()

    def _stateChanged(self, event: StateChanged) -> None:
        self._state.labels(event.model, event.before.value).set(0)
        self._state.labels(event.model, event.after.value).set(1)
        if isDeath(event):
            self._deaths.labels(event.model).inc()
        if event.before in _SERVING:
            series = self._series(event.model)
            series.served += event.duration
            if event.after not in _SERVING:
                self._activeDuration.labels(event.model).observe(series.served)
                series.served = 0.0

    def _hookFinished(self, event: HookFinished) -> None:
        labels = (event.model, event.hook.value)
        self._hookDuration.labels(*labels).observe(event.duration)
        if event.error:
            self._hookFailures.labels(*labels).inc()
        if event.attempt > 1:
            self._hookRetries.labels(*labels).inc()

    def _switchEnded(self, event: SwitchEnded) -> None:
        # One sample for each that was put to sleep: what is asked of these
        # metrics is what it costs to go from one model to another.
        for source in event.victims or ("",):
            pair = (source, event.target)
            self._switches.labels(*pair, event.result).inc()
            if event.result == "ok":
                self._pairs.add(pair)
                self._switchDuration.labels(*pair).observe(event.duration)
                self._drainDuration.labels(*pair).observe(event.drain)
