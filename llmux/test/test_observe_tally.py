"""
Tests for L{llmux.observe._tally}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from twisted.trial.unittest import SynchronousTestCase

from llmux.observe._tally import Counts, Histograms, Sums

BOUNDS = (0.1, 1, 2.5)


def shown(registry: CollectorRegistry) -> list[str]:
    """
    What whoever reads the metrics gets, but for when they were made.
    """
    return sorted(
        line
        for line in generate_latest(registry).decode().splitlines()
        if "_created" not in line
    )


class TallyTests(SynchronousTestCase):
    """
    They are to whoever reads them what the library's own metrics are.
    """

    @given(
        st.lists(
            st.tuples(
                st.sampled_from("ab"),
                st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.5, 2.75, 1000.0]),
            )
        )
    )
    def test_same(self, values: list[tuple[str, float]]) -> None:
        """
        Whatever they are given, they show the same as the library's.
        """
        ours, theirs = CollectorRegistry(), CollectorRegistry()
        histograms = Histograms("x_seconds", "Time.", ["model"], BOUNDS)
        counts = Counts("y_total", "Count.", ["model"], histograms)
        sums = Sums("z_total", "Sum.", ["model"])
        for one in (histograms, counts, sums):
            ours.register(one)
        histogram = Histogram(
            "x_seconds", "Time.", ["model"], buckets=BOUNDS, registry=theirs
        )
        counter = Counter("y_total", "Count.", ["model"], registry=theirs)
        total = Counter("z_total", "Sum.", ["model"], registry=theirs)
        for model, value in values:
            histograms.of(model).observe(value)
            sums.of(model).value += value
            histogram.labels(model).observe(value)
            counter.labels(model).inc()
            total.labels(model).inc(value)
        self.assertEqual(shown(theirs), shown(ours))

    def test_twice(self) -> None:
        """
        There cannot be two of the same name.
        """
        registry = CollectorRegistry()
        registry.register(Sums("z_total", "Sum.", ["model"]))
        self.assertRaises(
            ValueError, registry.register, Sums("z_total", "Sum.", ["model"])
        )

    def test_shown(self) -> None:
        """
        What has been named is shown before there is anything to it.
        """
        registry = CollectorRegistry()
        sums = Sums("z_total", "Sum.", ["model"])
        registry.register(sums)
        sums.of("a")
        self.assertIn('z_total{model="a"} 0.0', shown(registry))
