"""
Tests for L{llmux.web._errors}.
"""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from llmux.errors import (
    Conflict,
    HookFailed,
    NeverFits,
    QueueFull,
    ShuttingDown,
    SleepFailed,
    UnknownModel,
    WaitedTooLong,
    WakeFailed,
)
from llmux.web._denied import (
    ForeignOrigin,
    InvalidKey,
    NotAllowed,
    TooManyAtOnce,
    TooManyReaders,
    UnknownHost,
)
from llmux.web._errors import (
    BackendError,
    BadBody,
    BodyTooLarge,
    ModelRequired,
    NotFound,
    WrongMethod,
    answerTo,
)
from llmux.web._late import LateAnswer

#: Each failure with the status and the code that are promised for it.
PROMISED: list[tuple[Exception, int, str]] = [
    (UnknownModel("x"), 404, "model_not_found"),
    (ModelRequired(), 400, "model_required"),
    (NotFound(), 404, "not_found"),
    (BadBody("the body is odd"), 400, "invalid_body"),
    (BodyTooLarge(5), 413, "body_too_large"),
    (InvalidKey(), 401, "invalid_api_key"),
    (WrongMethod("POST"), 405, "method_not_allowed"),
    (ForeignOrigin(), 403, "foreign_origin"),
    (UnknownHost(), 403, "host_not_allowed"),
    (NotAllowed(), 403, "permission_denied"),
    (TooManyAtOnce(3), 429, "too_many_in_flight"),
    (TooManyReaders(), 503, "too_many_readers"),
    (Conflict("x", "is pinned"), 409, "conflict"),
    (SleepFailed("x"), 503, "sleep_failed"),
    (QueueFull("x", 3.2), 429, "queue_full"),
    (BackendError("x"), 502, "backend_error"),
    (LateAnswer("x", 400), 502, "backend_error"),
    (WakeFailed("x", 8.0), 503, "wake_failed"),
    (HookFailed("x", "wake", "exit status 3"), 503, "wake_failed"),
    (NeverFits("x"), 503, "never_fits"),
    (ShuttingDown(), 503, "shutting_down"),
    (WaitedTooLong("x", 300.0), 504, "switch_timeout"),
    (ZeroDivisionError("secret"), 500, "internal_error"),
]


class AnswerTests(SynchronousTestCase):
    """
    What a client is told of a failure.
    """

    def test_statusAndCode(self) -> None:
        """
        Each failure has the status and the code that are promised for it.
        """
        for error, status, code in PROMISED:
            answer = answerTo(error)
            self.assertEqual((answer.status, answer.code), (status, code), error)

    def test_envelope(self) -> None:
        """
        Every answer is the envelope that OpenAI's clients read, on one line.
        """
        for error, _, code in PROMISED:
            body = answerTo(error).body()
            self.assertNotIn(b"\n", body)
            self.assertEqual(list(json.loads(body)), ["error"])
            envelope = json.loads(body)["error"]
            self.assertEqual(set(envelope), {"message", "type", "param", "code"})
            self.assertEqual(envelope["type"], "llmux_error")
            self.assertEqual(envelope["code"], code)
            self.assertTrue(envelope["message"].endswith((".", "...")), envelope)

    def test_ownWords(self) -> None:
        """
        What a hook or an unforeseen exception says is not said to a client.
        """
        for error in (HookFailed("x", "wake", "secret"), ZeroDivisionError("secret")):
            self.assertNotIn(b"secret", answerTo(error).body())

    def test_unexpected(self) -> None:
        """
        Only a failure that nobody foresaw asks to be logged.
        """
        surprising = [e for e, _, _ in PROMISED if not answerTo(e).expected]
        self.assertEqual([type(e) for e in surprising], [ZeroDivisionError])

    def test_param(self) -> None:
        """
        An error about the model says so in C{param}.
        """
        self.assertEqual(answerTo(UnknownModel("x")).param, "model")
        self.assertEqual(answerTo(BadBody("it is odd", "model")).param, "model")
        self.assertIsNone(answerTo(BadBody("it is odd")).param)

    def test_event(self) -> None:
        """
        In an event stream an error is one frame of type C{error}.
        """
        answer = answerTo(BackendError("x"))
        self.assertEqual(
            answer.event(), b"event: error\ndata: " + answer.body() + b"\n\n"
        )

    def test_retryAfter(self) -> None:
        """
        C{Retry-After} is in whole seconds, at least 1 and at most the 120
        that clients obey.
        """
        for seconds, expected in [
            (-1.0, b"1"),
            (0.0, b"1"),
            (0.2, b"1"),
            (3.2, b"4"),
            (119.5, b"120"),
            (1e9, b"120"),
            (float("inf"), b"120"),
            (float("nan"), b"120"),
        ]:
            for error in (QueueFull("x", seconds), WakeFailed("x", seconds)):
                headers = dict(answerTo(error).headers)
                self.assertEqual(headers[b"Retry-After"], expected, seconds)

    def test_whoRetries(self) -> None:
        """
        Clients are told when to come back where that helps, and not to try
        again at once where it cannot.
        """
        after = {
            c for e, _, c in PROMISED if b"Retry-After" in dict(answerTo(e).headers)
        }
        never = {
            c
            for e, _, c in PROMISED
            if dict(answerTo(e).headers).get(b"x-should-retry") == b"false"
        }
        self.assertEqual(
            after,
            {"queue_full", "too_many_in_flight", "wake_failed", "shutting_down"},
        )
        self.assertEqual(never, {"wake_failed", "never_fits", "sleep_failed"})

    def test_challenge(self) -> None:
        """
        A 401 says how to authenticate, as HTTP asks.
        """
        self.assertEqual(
            answerTo(InvalidKey()).headers, ((b"WWW-Authenticate", b"Bearer"),)
        )

    def test_longName(self) -> None:
        """
        A name of any length makes a message of bounded length.
        """
        for error in (UnknownModel("x" * 10_000), BadBody("x" * 10_000)):
            self.assertLess(len(answerTo(error).body()), 1000)

    @given(st.text(st.characters()))
    def test_anyName(self, name: str) -> None:
        """
        Whatever a client calls a model, the answer is ASCII on one line.
        """
        event = answerTo(UnknownModel(name)).event()
        self.assertTrue(event.isascii())
        self.assertEqual(event.count(b"\n"), 3)
        json.loads(event.partition(b"data: ")[2])


class ExceptionTests(SynchronousTestCase):
    """
    What the exceptions say in a log.
    """

    def test_words(self) -> None:
        """
        Each says what happened, in a few words.
        """
        for error, words in [
            (BadBody("the body is odd"), "the body is odd"),
            (BodyTooLarge(5), "the request body is larger than 5 bytes"),
            (ModelRequired(), "the request names no model"),
            (NotFound(), "there is no such path"),
            (InvalidKey(), "the API key is missing or wrong"),
            (BackendError("x", "is odd"), "the server of 'x' is odd"),
        ]:
            self.assertEqual(str(error), words)
