"""
Tests for L{llmux.observe._rendering}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from llmux.observe._rendering import MANY, Rendering
from llmux.observe.metrics import Metrics


class Threads:
    """
    A reactor whose one thread works when it is told to.
    """

    def __init__(self) -> None:
        self.work: list[Callable[[], None]] = []

    def getThreadPool(self) -> Threads:
        """
        The pool.
        """
        return self

    def callInThread(self) -> None:
        """
        There are threads.
        """

    def callFromThread(self, call: Callable[..., None], *arguments: Any) -> None:
        """
        Call.
        """
        call(*arguments)

    def callInThreadWithCallback(
        self, told: Callable[[bool, Any], None], work: Callable[[], Any]
    ) -> None:
        """
        Work later.
        """
        self.work.append(lambda: told(True, work()))


class RenderingTests(SynchronousTestCase):
    """
    Tests for L{Rendering}.
    """

    def test_few(self) -> None:
        """
        The metrics of a few models are there at once.
        """
        body, kind = Rendering(Metrics(["a"]), Threads()).render(MANY - 1)
        self.assertIn(b"llmux_model_in_flight", body)
        self.assertTrue(kind.startswith(b"text/plain"))

    def test_noThreads(self) -> None:
        """
        Without threads they are there at once, however many models there are.
        """
        body, _ = Rendering(Metrics(["a"]), object()).render(MANY)
        self.assertIn(b"llmux_model_in_flight", body)

    def test_many(self) -> None:
        """
        Those of many are rendered in a thread, once for all who ask meanwhile,
        and anew for who asks then.
        """
        threads = Threads()
        rendering = Rendering(Metrics(["a"]), threads)
        asked = [rendering.render(MANY) for _ in range(3)]
        for one in asked:
            self.assertNoResult(one)
        self.assertEqual(1, len(threads.work))
        threads.work.pop()()
        for one in asked:
            self.assertIn(b"llmux_model_in_flight", self.successResultOf(one)[0])
        self.assertNoResult(rendering.render(MANY))
        self.assertEqual(1, len(threads.work))
