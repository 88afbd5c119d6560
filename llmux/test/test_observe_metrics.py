"""
Tests for L{llmux.observe.metrics}.
"""

from __future__ import annotations

from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from llmux.interfaces import (
    BoundMissed,
    DecisionRefused,
    Event,
    Hook,
    HookFinished,
    IObserver,
    ModelView,
    Reason,
    RequestDone,
    RequestDropped,
    RequestGranted,
    RequestQueued,
    Snapshot,
    State,
    StateChanged,
    Stay,
    SwitchEnded,
    SwitchStarted,
    Waiting,
)
from llmux.observe import Metrics
from llmux.observe.account import IAccountant
from llmux.switching.costs import Costs
from llmux.test._accounts import account


class MetricsTests(SynchronousTestCase):
    """
    L{Metrics}
    """

    def setUp(self) -> None:
        self.costs = Costs()
        self.metrics = Metrics(["a", "b"], self.costs)

    def sample(self, name: str, **labels: str) -> float | None:
        """
        The value of a sample, as whoever scrapes it sees it.
        """
        labels = {key.rstrip("_"): value for key, value in labels.items()}
        text = self.metrics.render()[0].decode()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return sample.value
        return None

    def test_interface(self) -> None:
        """
        It is told of events and of requests.
        """
        self.assertTrue(verifyObject(IObserver, self.metrics))
        self.assertTrue(verifyObject(IAccountant, self.metrics))

    def test_names(self) -> None:
        """
        The names and labels are those that dashboards rely on.
        """
        self.metrics.notify(SwitchEnded("b", ("a",), "ok", 3.0, 1.0, 0))
        self.metrics.notify(StateChanged("a", State.AWAKE, State.SLEEPING, 5.0))
        self.metrics.notify(
            HookFinished("a", Hook.WAKE, Reason.REQUEST, 1, 1.0, "exit status 1")
        )
        self.metrics.notify(RequestGranted("a", 1.0, 0, 1))
        self.metrics.requestFinished(account())
        found: dict[str, set[str]] = {}
        text = self.metrics.render()[0].decode()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                name = sample.name.removesuffix("_bucket")
                found.setdefault(name, set()).update(set(sample.labels) - {"le"})
        for name, labels in {
            "llmux_switch_total": {"from", "to", "result"},
            "llmux_switch_duration_seconds": {"from", "to"},
            "llmux_switch_drain_duration_seconds": {"from", "to"},
            "llmux_model_active_duration_seconds": {"model"},
            "llmux_switch_cost_ema_seconds": {"from", "to"},
            "llmux_request_queue_depth": {"model"},
            "llmux_request_queue_wait_seconds": {"model"},
            "llmux_model_in_flight": {"model"},
            "llmux_requests_total": {"model", "status"},
            "llmux_request_duration_seconds": {"model", "status"},
            "llmux_hook_duration_seconds": {"model", "hook"},
            "llmux_hook_failures_total": {"model", "hook"},
        }.items():
            self.assertEqual(found.get(name), labels, name)

    def test_ownRegistry(self) -> None:
        """
        Two services in one process have nothing in common, and neither uses
        the global registry.
        """
        other = Metrics(["a"])
        other.requestFinished(account())
        self.assertIsNone(self.sample("llmux_requests_total", model="a", status="200"))
        self.assertIsNone(
            REGISTRY.get_sample_value(
                "llmux_requests_total", {"model": "a", "status": "200"}
            )
        )

    def test_fromTheStart(self) -> None:
        """
        Configured models are there before anything has happened to them.
        """
        self.assertEqual(self.sample("llmux_model_in_flight", model="b"), 0)
        self.assertEqual(self.sample("llmux_request_queue_depth", model="b"), 0)
        self.assertEqual(
            self.sample("llmux_request_queue_wait_seconds_count", model="b"), 0
        )

    def test_later(self) -> None:
        """
        A model that is configured later is there from its first event on.
        """
        self.metrics.notify(RequestQueued("c", 4))
        self.assertEqual(self.sample("llmux_request_queue_depth", model="c"), 4)
        self.metrics.requestFinished(account("c"))
        self.assertEqual(
            self.sample("llmux_requests_total", model="c", status="200"), 1
        )

    def test_switch(self) -> None:
        """
        A switch that succeeded is counted and timed for each model that was
        put to sleep.
        """
        self.metrics.notify(SwitchStarted("b", ("a", "c"), Reason.REQUEST))
        self.metrics.notify(SwitchEnded("b", ("a", "c"), "ok", 3.0, 1.0, 0))
        for source in "ac":
            pair = {"from_": source, "to": "b"}
            self.assertEqual(self.sample("llmux_switch_total", result="ok", **pair), 1)
            self.assertEqual(
                self.sample("llmux_switch_duration_seconds_sum", **pair), 3
            )
            self.assertEqual(
                self.sample("llmux_switch_drain_duration_seconds_sum", **pair), 1
            )

    def test_switchFromNone(self) -> None:
        """
        If nothing had to be put to sleep, C{from} is empty.
        """
        self.costs.woke("b", 7.0)
        self.metrics.notify(SwitchEnded("b", (), "ok", 3.0, 0.0, 0))
        self.assertEqual(
            self.sample("llmux_switch_total", from_="", to="b", result="ok"), 1
        )
        self.assertEqual(
            self.sample("llmux_switch_cost_ema_seconds", from_="", to="b"),
            self.costs.wake("b"),
        )

    def test_switchFailed(self) -> None:
        """
        A switch that failed is counted, and what it took is not mixed with
        what switches take.
        """
        self.metrics.notify(SwitchEnded("b", ("a",), "failed", 3.0, 1.0, 0))
        self.assertEqual(
            self.sample("llmux_switch_total", from_="a", to="b", result="failed"), 1
        )
        self.assertIsNone(
            self.sample("llmux_switch_duration_seconds_sum", from_="a", to="b")
        )

    def test_cost(self) -> None:
        """
        The cost of a switch is the switcher's own estimate, as it is when it
        is asked for.
        """
        self.metrics.notify(SwitchEnded("b", ("a",), "ok", 3.0, 1.0, 0))
        self.costs.switched("a", "b", 2.0)
        self.assertEqual(
            self.sample("llmux_switch_cost_ema_seconds", from_="a", to="b"),
            self.costs.switch("a", "b"),
        )

    def test_noCosts(self) -> None:
        """
        Where nobody estimates costs there are none to see.
        """
        self.metrics = Metrics(["a"])
        self.metrics.notify(SwitchEnded("b", ("a",), "ok", 3.0, 1.0, 0))
        self.assertIsNone(
            self.sample("llmux_switch_cost_ema_seconds", from_="a", to="b")
        )

    def test_active(self) -> None:
        """
        A model has been active from when it was awake until it no longer
        serves, also if it was about to be put to sleep in between.
        """
        for before, after, duration in [
            (State.WAKING, State.AWAKE, 100.0),
            (State.AWAKE, State.DRAINING, 10.0),
            (State.DRAINING, State.AWAKE, 1.0),
            (State.AWAKE, State.CHECKING, 5.0),
            (State.CHECKING, State.AWAKE, 1.0),
            (State.AWAKE, State.DRAINING, 3.0),
        ]:
            self.metrics.notify(StateChanged("a", before, after, duration))
        name = "llmux_model_active_duration_seconds"
        self.assertIsNone(self.sample(f"{name}_count", model="a"))
        self.metrics.notify(StateChanged("a", State.DRAINING, State.SLEEPING, 2.0))
        self.assertEqual(self.sample(f"{name}_sum", model="a"), 22)
        self.metrics.notify(StateChanged("a", State.AWAKE, State.SLEEPING, 3.0))
        self.assertEqual(self.sample(f"{name}_sum", model="a"), 25)
        self.assertEqual(self.sample(f"{name}_count", model="a"), 2)

    def test_state(self) -> None:
        """
        A model is in one state.
        """
        self.metrics.notify(StateChanged("a", State.ASLEEP, State.WAKING, 1.0))
        self.metrics.notify(StateChanged("a", State.WAKING, State.AWAKE, 1.0))
        name = "llmux_model_state"
        self.assertEqual(self.sample(name, model="a", state="waking"), 0)
        self.assertEqual(self.sample(name, model="a", state="awake"), 1)

    def test_requests(self) -> None:
        """
        The gauges follow requests from the queue to their end.
        """
        states = []
        events: list[Event] = [
            RequestQueued("a", 1),
            RequestQueued("a", 2),
            RequestDropped("a", "left", 1.0, 1),
            RequestGranted("a", 2.0, 0, 1),
            RequestDone("a", 5.0, 0),
        ]
        for event in events:
            self.metrics.notify(event)
            states.append(
                (
                    self.sample("llmux_request_queue_depth", model="a"),
                    self.sample("llmux_model_in_flight", model="a"),
                )
            )
        self.assertEqual(states, [(1, 0), (2, 0), (1, 0), (0, 1), (0, 0)])
        self.assertEqual(
            self.sample("llmux_request_queue_wait_seconds_sum", model="a"), 2
        )
        self.assertEqual(
            self.sample("llmux_requests_dropped_total", model="a", why="left"), 1
        )

    def test_requestFinished(self) -> None:
        """
        Requests are counted and timed by model and status.
        """
        for code in (200, 200, 502):
            self.metrics.requestFinished(account("a", code, 1.5))
        for status, count in (("200", 2), ("502", 1)):
            labels = {"model": "a", "status": status}
            self.assertEqual(self.sample("llmux_requests_total", **labels), count)
            self.assertEqual(
                self.sample("llmux_request_duration_seconds_sum", **labels),
                1.5 * count,
            )

    def test_answers(self) -> None:
        """
        How long a model took to begin is measured, and tokens are counted where
        the answer says how many there were.
        """
        usage = b'"usage": {"prompt_tokens": 5, "completion_tokens": 7}'
        self.metrics.requestFinished(account(begun=100.25, last=[usage]))
        self.metrics.requestFinished(account(begun=101.0, last=[b"audio"]))
        self.metrics.requestFinished(account(status=499))
        name = "llmux_request_first_byte_seconds"
        self.assertEqual(self.sample(f"{name}_count", model="a"), 2)
        self.assertEqual(self.sample(f"{name}_sum", model="a"), 1.25)
        for kind, count in (("prompt", 5), ("completion", 7)):
            found = self.sample("llmux_tokens_total", model="a", kind=kind)
            self.assertEqual(found, count)

    def test_notWell(self) -> None:
        """
        Answers that were cut short are counted by the reason, and so are
        requests that were sent again.
        """
        for why in ("left", "backend_error", "left"):
            self.metrics.requestFinished(account(begun=100.25, aborted=why))
        self.metrics.requestFinished(account(retries=1))
        self.metrics.requestFinished(account(heartbeats=4))
        self.assertEqual(self.sample("llmux_heartbeats_total", model="a"), 4)
        name = "llmux_requests_aborted_total"
        self.assertEqual(self.sample(name, model="a", why="left"), 2)
        self.assertEqual(self.sample(name, model="a", why="backend_error"), 1)
        self.assertEqual(self.sample("llmux_request_retries_total", model="a"), 1)

    def test_age(self) -> None:
        """
        The age of a queue is that of the first in it, at the time of asking.
        """
        views = {
            "a": ModelView("a", State.WAKING, 0.0, {}, oldest=Waiting("a", 40.0, 1)),
            "b": ModelView("b", State.ASLEEP, 0.0, {}),
        }
        costs = self.costs
        self.metrics = Metrics(views, costs, lambda: Snapshot(100.0, views, {}, costs))
        name = "llmux_request_queue_age_seconds"
        self.assertEqual(self.sample(name, model="a"), 60)
        self.assertEqual(self.sample(name, model="b"), 0)

    def test_unknownModel(self) -> None:
        """
        What clients take for models becomes no label.
        """
        for number in range(100):
            self.metrics.requestFinished(account(f"model {number}", 404))
        self.metrics.requestFinished(account("unknown", 404))
        self.assertEqual(
            self.sample("llmux_requests_total", model="unknown", status="404"), 101
        )
        self.assertNotIn(b"model 7", self.metrics.render()[0])
        self.assertEqual(len(self.metrics._answers), 1)

    def test_hooks(self) -> None:
        """
        Hooks are timed, and those that failed are counted.
        """
        for error in ("", "exit status 1"):
            self.metrics.notify(
                HookFinished("a", Hook.SLEEP, Reason.REQUEST, 1, 1.5, error)
            )
        labels = {"model": "a", "hook": "sleep"}
        self.assertEqual(self.sample("llmux_hook_duration_seconds_sum", **labels), 3)
        self.assertEqual(self.sample("llmux_hook_failures_total", **labels), 1)
        self.assertEqual(self.sample("llmux_hook_retries_total", **labels), 0)
        self.metrics.notify(HookFinished("a", Hook.SLEEP, Reason.REQUEST, 2, 1.5))
        self.assertEqual(self.sample("llmux_hook_retries_total", **labels), 1)

    def test_trouble(self) -> None:
        """
        What should not happen is counted.
        """
        self.metrics.notify(BoundMissed("a", 125.0, 120.0))
        self.metrics.notify(DecisionRefused(Stay(), "why"))
        self.assertEqual(self.sample("llmux_bound_missed_total", model="a"), 1)
        self.assertEqual(self.sample("llmux_decisions_refused_total"), 1)

    def test_short(self) -> None:
        """
        It is shown whether file descriptors are short.
        """
        self.assertEqual(self.sample("llmux_descriptors_short"), 0)
        self.metrics = Metrics(["a"], isShort=lambda: True)
        self.assertEqual(self.sample("llmux_descriptors_short"), 1)

    def test_render(self) -> None:
        """
        The content type is that of the text, which is what is asked for if
        that is possible.
        """
        text, contentType = self.metrics.render()
        self.assertEqual(contentType, "text/plain; version=0.0.4; charset=utf-8")
        self.assertIn(b"# TYPE llmux_switch_total counter\n", text)
        text, contentType = self.metrics.render(
            "application/openmetrics-text; version=1.0.0"
        )
        self.assertTrue(contentType.startswith("application/openmetrics-text"))
        self.assertTrue(text.endswith(b"# EOF\n"))

    def test_renderNonsense(self) -> None:
        """
        A header that makes no sense does no harm.
        """
        for accept in (
            "application/openmetrics-text; version=x",
            "text/plain; version=abc",
            ";;,=",
            "text/plain; version",
        ):
            self.assertIn(b"llmux_", self.metrics.render(accept)[0])
