"""
Tests for C{examples/grafana}: the queries are held to the metrics that there
are, and the rules are tried by Prometheus' own tool.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from llmux.interfaces import Hook, State
from llmux.observe.account import ABORTED
from llmux.observe.metrics import Metrics
from llmux.test._processes import EXAMPLES, needsExamples, needsPrograms

FOLDER = EXAMPLES / "grafana"

#: What is no metric of llmux's.
OTHERS = {"up": {"job", "instance"}}

#: The values that labels can have, where those are llmux's.
VALUES = {
    "state": {state.value for state in State},
    "hook": {hook.value for hook in Hook},
    "result": {"ok", "failed", "cancelled"},
    "kind": {"prompt", "completion"},
    "why": {
        *ABORTED,
        *("timeout", "wake_failed", "queue_full", "shutting_down"),
    },
}


def dashboard() -> dict[str, Any]:
    """
    The dashboard.
    """
    read: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text("utf-8"))
    return read


def rules() -> list[dict[str, Any]]:
    """
    The rules.
    """
    read = yaml.safe_load((FOLDER / "alerts.yaml").read_text("utf-8"))
    return [rule for group in read["groups"] for rule in group["rules"]]


def queries() -> Iterator[str]:
    """
    All queries, as Prometheus gets them.
    """
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"].replace("$__rate_interval", "5m")
    for rule in rules():
        yield rule["expr"]


def metrics() -> dict[str, set[str]]:
    """
    The names of all series, and the labels that they have.
    """
    registry = Metrics(["a"]).registry
    found: dict[str, set[str]] = {}
    for collector in set(registry._collector_to_names):
        # There is no public way to the names of the library's labels.
        names = getattr(collector, "labelNames", None)
        labels = set(getattr(collector, "_labelnames", ()) or names or ())
        (metric,) = collector.collect()
        if metric.type == "histogram":
            for end in ("_bucket", "_sum", "_count"):
                found[metric.name + end] = labels | (
                    {"le"} if end == "_bucket" else set()
                )
        else:
            found[metric.name + ("_total" if metric.type == "counter" else "")] = labels
    return found


def walk(expression: Any) -> Iterator[Any]:
    """
    An expression and all that are in it.
    """
    yield expression
    for name in ("lhs", "rhs", "expr", "param", "vector_selector", "vs"):
        inner = getattr(expression, name, None)
        if inner is not None and not isinstance(inner, str):
            yield from walk(inner)
    for inner in getattr(expression, "args", None) or ():
        yield from walk(inner)


class QueryTests(SynchronousTestCase):
    """
    Tests for the queries.
    """

    skip = needsExamples() or (
        None
        if find_spec("promql_parser")
        else "PyPI's promql-parser is not installed (it is in llmux[real])"
    )

    def test_names(self) -> None:
        """
        Each query is one, and asks for metrics, labels and values of labels
        that there are.
        """
        import promql_parser

        known = metrics() | OTHERS
        asked = set()
        for query in queries():
            for inner in walk(promql_parser.parse(query)):
                if not isinstance(inner, promql_parser.VectorSelector):
                    continue
                assert inner.name is not None, query
                asked.add(inner.name)
                self.assertIn(inner.name, known, query)
                for matcher in inner.matchers.matchers:
                    self.assertIn(matcher.name, known[inner.name], query)
                    values = VALUES.get(matcher.name)
                    if values is not None:
                        self.assertIn(matcher.value, values, query)
        self.assertGreater(len(asked), 15)

    def test_labels(self) -> None:
        """
        What is grouped by, and what legends and texts name, are labels, too.
        """
        labels = {"instance"}.union(*metrics().values())
        grouped = re.compile(r"\bby \(([^)]*)\)")
        named = re.compile(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}")
        texts = [
            target["legendFormat"]
            for panel in dashboard()["panels"]
            for target in panel.get("targets", ())
        ]
        texts += [text for rule in rules() for text in rule["annotations"].values()]
        for query in queries():
            for names in grouped.findall(query):
                self.assertLessEqual(
                    {name.strip() for name in names.split(",")}, labels
                )
        found = {name for text in texts for name in named.findall(text)}
        self.assertGreater(len(found), 5)
        self.assertLessEqual(found, labels)

    def test_all(self) -> None:
        """
        Every metric is shown.
        """
        shown = "\n".join(queries())
        for name in metrics():
            family = re.sub(r"_(bucket|sum|count)$", "", name)
            self.assertIn(family, shown)


class DashboardTests(SynchronousTestCase):
    """
    Tests for the dashboard.
    """

    skip = needsExamples()

    def test_layout(self) -> None:
        """
        No panel has the number of another, or lies on one.
        """
        panels = dashboard()["panels"]
        ids = [panel["id"] for panel in panels]
        self.assertEqual(len(set(ids)), len(ids))
        taken: set[tuple[int, int]] = set()
        for panel in panels:
            place = panel["gridPos"]
            self.assertLessEqual(place["x"] + place["w"], 24)
            for x in range(place["x"], place["x"] + place["w"]):
                for y in range(place["y"], place["y"] + place["h"]):
                    self.assertNotIn((x, y), taken, panel["title"])
                    taken.add((x, y))

    def test_states(self) -> None:
        """
        The timeline knows every state, and gives it the number by which the
        query names it.
        """
        (panel,) = (p for p in dashboard()["panels"] if p["type"] == "state-timeline")
        (target,) = panel["targets"]
        asked = dict(re.findall(r'(\d+) \* .*?state="(\w+)"', target["expr"]))
        (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
        shown = {n: option["text"] for n, option in mapping["options"].items()}
        self.assertEqual(asked, shown)
        self.assertEqual(set(shown.values()), VALUES["state"])


#: For each alert: series that set it off, and such that do not.  In the notation
#: of promtool: 0+1x30 begins at 0 and grows by 1 for 30 minutes.
SERIES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "LLMuxDown": (
        {'up{job="llmux"}': "1 0x60"},
        {'up{job="llmux"}': "1x60"},
    ),
    "LLMuxModelStuck": (
        {'llmux_model_state{model="a",state="stuck"}': "1x60"},
        {'llmux_model_state{model="a",state="awake"}': "1x60"},
    ),
    "LLMuxWakeFails": (
        {'llmux_hook_failures_total{model="a",hook="wake"}': "0x52 2 4 6 6x10"},
        {'llmux_hook_failures_total{model="a",hook="alive"}': "0+1x60"},
    ),
    "LLMuxModelDies": (
        {
            'llmux_requests_aborted_total{model="a",why="backend_error"}': "0x50 2 4 6x10"
        },
        {'llmux_requests_aborted_total{model="a",why="left"}': "0+9x60"},
    ),
    "LLMuxErrors": (
        {
            'llmux_requests_total{model="a",status="200"}': "0+9x60",
            'llmux_requests_total{model="a",status="502"}': "0+1x60",
        },
        {
            'llmux_requests_total{model="a",status="200"}': "0+99x60",
            'llmux_requests_total{model="a",status="499"}': "0+50x60",
            'llmux_requests_total{model="a",status="502"}': "0+1x60",
        },
    ),
    "LLMuxQueueOld": (
        {'llmux_request_queue_age_seconds{model="a"}': "0x50 250 310x10"},
        {'llmux_request_queue_age_seconds{model="a"}': "250x60"},
    ),
    "LLMuxPassedOver": (
        {'llmux_bound_missed_total{model="a"}': "0x55 1x6"},
        {'llmux_bound_missed_total{model="a"}': "7x60"},
    ),
    "LLMuxThrashes": (
        {'llmux_switch_duration_seconds_sum{from="a",to="b"}': "0+40x70"},
        {'llmux_switch_duration_seconds_sum{from="a",to="b"}': "0+20x70"},
    ),
    "LLMuxRefusesDecisions": (
        {"llmux_decisions_refused_total": "0x55 1x6"},
        {"llmux_decisions_refused_total": "7x60"},
    ),
    "LLMuxFewDescriptors": (
        {"llmux_descriptors_short": "0x50 1x10"},
        {"llmux_descriptors_short": "0x57 1x3"},
    ),
}


class AlertTests(SynchronousTestCase):
    """
    Tests for the rules.
    """

    skip = needsExamples() or needsPrograms("promtool")

    def promtool(self, *argv: str) -> None:
        """
        Run Prometheus' tool, which must agree.
        """
        done = subprocess.run(
            ["promtool", *argv], capture_output=True, text=True, check=False
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_configuration(self) -> None:
        """
        The configuration is one, and the rules that it names are, too.
        """
        self.promtool("check", "config", str(FOLDER / "prometheus.yaml"))

    def test_alerts(self) -> None:
        """
        Each alert is set off by what it is for, and not by what is like it.
        """
        self.assertEqual({rule["alert"] for rule in rules()}, set(SERIES))
        tests = []
        for rule in rules():
            for isBad, series in zip((True, False), SERIES[rule["alert"]], strict=True):
                tests.append(
                    {
                        "name": f"{rule['alert']} {isBad}",
                        "interval": "1m",
                        "input_series": [
                            {"series": name, "values": values}
                            for name, values in series.items()
                        ],
                        # A text of alerts is hard to say; whether there is one is
                        # asked by the series that Prometheus makes of them.
                        "promql_expr_test": [
                            {
                                "expr": "count(ALERTS"
                                f'{{alertname="{rule["alert"]}",alertstate="firing"}})',
                                "eval_time": "60m",
                                "exp_samples": [{"labels": "{}", "value": 1}]
                                if isBad
                                else [],
                            }
                        ],
                    }
                )
        path = Path(self.mktemp())
        path.write_text(
            yaml.safe_dump(
                {
                    "rule_files": [str(FOLDER / "alerts.yaml")],
                    "evaluation_interval": "1m",
                    "tests": tests,
                }
            )
        )
        self.promtool("test", "rules", str(path))
