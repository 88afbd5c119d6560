"""
Tests for L{llmux.web._cost}.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from io import BytesIO
from time import thread_time

from twisted.trial.unittest import SynchronousTestCase

from llmux.config import Shape
from llmux.web._errors import BadBody
from llmux.web._looks import Look, Renaming, Shaping, Translating
from llmux.web._ollamaasked import Route
from llmux.web._scanner import LEAST, TURN
from llmux.web.ollama import OllamaExchange

JSON = b"application/json"
SHAPE = Shape({"x": b"1"}, {"y": b"1"}, frozenset({"z"}))
MEBIBYTE = 1 << 20


def looks(length: int, kind: bytes = JSON) -> list[Look]:
    """
    All kinds of looks at a body.
    """
    return [
        Look(kind, None, length),
        Renaming(kind, None, length, "b"),
        Shaping(kind, None, length, SHAPE, "b"),
    ]


def bodies(size: int) -> Iterator[bytes]:
    """
    Bodies that take long, each in a way of its own.
    """
    for start, part, end in (
        (b'{"model":"a","x":[', b"[],", b"1]}"),
        (b'{"model":"a","x":[', b"[" * 300 + b"]" * 300 + b",", b"1]}"),
        (b'{"model":"a","options":[', b"{},", b"1]}"),
        (b'{"model":"a","x":[', b'"",', b"1]}"),
        (b'{"model":"a","x":["', b"\\n", b'"]}'),
        (b'{"model":"a","x":[', b"1,", b"1]}"),
        (b'{"model":"a","x":[', b'{"model":"a"},', b"1]}"),
        (b'{"model":"a"', b',"model":"a"', b"}"),
        (b'{"model":"a"', b',"":1', b"}"),
        (b'{"model":"a"', b" ", b"}"),
    ):
        yield start + part * ((size - len(start + end)) // len(part)) + end


class CostTests(SynchronousTestCase):
    """
    What looks cost, and what is told of it.
    """

    def test_text(self) -> None:
        """
        Large bodies of texts and of images can be looked at in one turn,
        whatever for; so can long conversations.
        """
        text = b'{"model":"a","input":"%b"}' % (b"x" * (2 * MEBIBYTE))
        for look in looks(len(text)):
            self.assertLess(look.cost(memoryview(text)), TURN)
        said = b'{"role":"user","content":"%b"},' % (b"what is said " * 12)
        talk = b'{"model":"a","messages":[%b{}]}' % (said * (MEBIBYTE // len(said)))
        for look in looks(len(talk)):
            self.assertLess(look.cost(memoryview(talk)), TURN)

    def test_parts(self) -> None:
        """
        Those of many parts cannot.
        """
        for body in list(bodies(MEBIBYTE // 4))[:2]:
            self.assertGreater(looks(len(body))[2].cost(memoryview(body)), TURN)

    def test_others(self) -> None:
        """
        Of what is not JSON nothing is counted, but forms are read.
        """
        body = memoryview(b"=" * MEBIBYTE)
        for look in looks(len(body), b"text/plain")[:2]:
            self.assertEqual(look.cost(body), 0)
        for kind in (b"Multipart/form-data; boundary=x", b"application/x-www-form-x"):
            for look in looks(len(body), kind)[:2]:
                self.assertGreater(look.cost(body), 3)

    def test_enough(self) -> None:
        """
        No look takes longer than that, nor than it does at the worst; small
        bodies never take too long.
        """
        for body in bodies(LEAST):
            for look in looks(len(body)):
                took = min(self.took(look, body) for _ in range(3))
                worst = look.worst * len(body) / MEBIBYTE
                # The machine may be slower than the one on which it was
                # measured, and be busy.
                self.assertLess(
                    took, 4 * min(look.cost(memoryview(body)), worst) + 2, body[:40]
                )
                self.assertLess(worst, 1.3 * TURN)
        for body in bodies(OllamaExchange._least):
            look = Translating(JSON, None, len(body), Route.EMBEDDINGS, "a")
            took = min(self.took(look, body) for _ in range(3))
            worst = look.worst * len(body) / MEBIBYTE
            cost = look.cost(memoryview(body))
            self.assertLess(took, 4 * min(cost, worst) + 2, body[:40])
            self.assertLess(worst, 1.3 * TURN)

    def test_translating(self) -> None:
        """
        Long texts and images can be translated in one turn, and many parts
        cannot.
        """
        text = b'{"model":"a","prompt":"%b"}' % (b"x" * (4 * MEBIBYTE))
        look = Translating(JSON, None, len(text), Route.GENERATE, "a")
        self.assertLess(look.cost(memoryview(text)), TURN)
        for body in list(bodies(MEBIBYTE // 4))[:2]:
            self.assertGreater(look.cost(memoryview(body)), TURN)

    def took(self, look: Look, body: bytes) -> float:
        """
        How many milliseconds a look takes.
        """
        began = thread_time()
        # Some have too much of something.
        with contextlib.suppress(BadBody):
            look.at(BytesIO(body))
        return (thread_time() - began) * 1000
