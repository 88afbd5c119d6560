"""
Tests for L{llmux.errors}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from llmux.errors import (
    ConfigError,
    HookFailed,
    LLMuxError,
    NeverFits,
    Problem,
    QueueFull,
    ShuttingDown,
    UnknownModel,
    WaitedTooLong,
    WakeFailed,
)


class ProblemTests(SynchronousTestCase):
    """
    What is wrong with a configuration.
    """

    def test_line(self) -> None:
        """
        A problem is one line: file, line, key path, and what is wrong.
        """
        problem = Problem("models.a.port", "must be at most 65535", "c.yaml", 7)
        self.assertEqual(str(problem), "c.yaml:7: models.a.port: must be at most 65535")

    def test_parts(self) -> None:
        """
        What is not known is left out.
        """
        self.assertEqual(
            str(Problem("", "no such file", "c.yaml")), "c.yaml: no such file"
        )
        self.assertEqual(
            str(Problem("port", "is not a number")), "port: is not a number"
        )

    def test_one(self) -> None:
        """
        An error about one problem reads as that problem.
        """
        error = ConfigError.one("is empty", file="c.yaml")
        self.assertEqual(str(error), "c.yaml: is empty")
        self.assertEqual(error.problems, (Problem("", "is empty", "c.yaml"),))

    def test_many(self) -> None:
        """
        An error about several problems is one line for each, in order.
        """
        error = ConfigError.many(Problem(key, "is missing") for key in ("a", "b"))
        self.assertEqual(str(error), "a: is missing\nb: is missing")

    def test_none(self) -> None:
        """
        An error about nothing is a mistake of whoever raises it.
        """
        self.assertRaises(AssertionError, ConfigError.many, [])


class MessageTests(SynchronousTestCase):
    """
    What the errors say.
    """

    def test_messages(self) -> None:
        """
        Each names the model and what became of it.
        """
        for error, text in (
            (UnknownModel("m"), "no model named 'm' is configured"),
            (
                NeverFits("m"),
                (
                    "'m' can never be woken: it needs more than the configured "
                    "resources leave beside the pinned models"
                ),
            ),
            (QueueFull("m"), "the queue for 'm' is full"),
            (WakeFailed("m"), "'m' could not be woken"),
            (WaitedTooLong("m", 30.0), "'m' was not ready within 30 seconds"),
            (ShuttingDown(), "llmux is shutting down"),
            (
                HookFailed("m", "wake", "exit status 3"),
                "the wake hook of 'm' failed: exit status 3",
            ),
        ):
            self.assertIsInstance(error, LLMuxError)
            self.assertEqual(str(error), text)

    def test_quoted(self) -> None:
        """
        A name that a client made up cannot break out of its message.
        """
        self.assertNotIn("\n", str(UnknownModel("a\nERROR b")))
