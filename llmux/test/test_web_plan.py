"""
Tests for L{llmux.web._plan}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from llmux.config import Limits
from llmux.errors import UnknownModel
from llmux.test._memory import makeAsked
from llmux.testing import makeConfig
from llmux.web._errors import BadBody, BodyTooLarge, ModelRequired, NotFound
from llmux.web._pieces import chunks
from llmux.web._plan import makePlan

FORM = {b"Content-Type": b"application/x-www-form-urlencoded"}


class PlanTests(SynchronousTestCase):
    """
    Tests for L{makePlan}.
    """

    def setUp(self) -> None:
        """
        Two models, one of which its server knows by another name.
        """
        self.config = makeConfig(
            models={"a": {"aliases": ("gpt",)}, "b": {"backend_model": "org/b"}}
        )

    def plan(self, **asked: Any) -> tuple[str, bytes, bytes]:
        """
        Plan for a request.

        @return: the model, the target and the body.
        """
        request = makeAsked(**asked)
        plan = makePlan(self.config, request)
        body = b"".join(chunks(plan.pieces, request.body))
        return plan.model.name, plan.target, body

    def test_body(self) -> None:
        """
        A body names a model, or an alias, and stays as it is.
        """
        for body in (b'{"model": "a"}', b'{"model": "gpt"}'):
            self.assertEqual(self.plan(body=body, target=b"/x"), ("a", b"/x", body))

    def test_query(self) -> None:
        """
        So does a query, if the body does not.
        """
        self.assertEqual(
            self.plan(body=b"{}", target=b"/x?model=a"), ("a", b"/x?model=a", b"{}")
        )
        self.assertEqual(
            self.plan(body=b"", target=b"/x?model=a"), ("a", b"/x?model=a", b"")
        )
        self.assertEqual(self.plan(target=b"/x?model=b")[0], "a")

    def test_path(self) -> None:
        """
        So does a path, before anything else, and a body is not looked at then.
        """
        for body in (b"", b'{"model": "b"}', b'{"model": 1}', b"not JSON"):
            self.assertEqual(
                self.plan(body=body, target=b"/upstream/a/x?y"), ("a", b"/x?y", body)
            )

    def test_backendModel(self) -> None:
        """
        A server that knows the model by another name is told that, wherever
        the client named it.
        """
        named = b'{"model": "org/b"}'
        self.assertEqual(self.plan(body=b'{"model": "b"}')[2], named)
        self.assertEqual(self.plan(body=b"model=b", headers=FORM)[2], b"model=org%2Fb")
        self.assertEqual(
            self.plan(body=b"", target=b"/x?model=b"), ("b", b"/x?model=org%2Fb", b"")
        )
        self.assertEqual(
            self.plan(body=b'{"model": "b"}', target=b"/upstream/b/x")[2], named
        )

    def test_backendModelElsewhere(self) -> None:
        """
        If the path names the model, another name in the body stays, and so
        does a body that cannot be read.
        """
        for body in (b"", b'{"model": "a"}', b'{"model": "org/b"}', b"{}", b"}"):
            self.assertEqual(self.plan(body=body, target=b"/upstream/b/x")[2], body)

    def test_unknown(self) -> None:
        """
        A name that no model has is an error, wherever it stands.
        """
        for asked in (
            {"body": b'{"model": "c"}'},
            {"body": b"", "target": b"/x?model=c"},
            {"target": b"/upstream/c/x"},
        ):
            with self.assertRaises(UnknownModel):
                self.plan(**asked)

    def test_none(self) -> None:
        """
        A request that names none needs one if it has a body and is for a path
        that is known to need one; else there is nothing here for it.
        """
        with self.assertRaises(ModelRequired):
            self.plan(body=b"{}", target=b"/v1/x")
        with self.assertRaises(NotFound):
            self.plan(body=b"", target=b"/v1/x")
        with self.assertRaises(NotFound):
            self.plan(body=b"{}", target=b"/x")

    def test_broken(self) -> None:
        """
        A body that is not what it is said to be is an error.
        """
        with self.assertRaises(BadBody):
            self.plan(body=b"{")

    def test_tooLarge(self) -> None:
        """
        So is one that is too large.
        """
        self.config = makeConfig("a", limits=Limits(body_mb=1 / 1024))
        self.plan(body=b'{"model": "a"}'.ljust(1024))
        with self.assertRaises(BodyTooLarge):
            self.plan(body=b'{"model": "a"}'.ljust(1025))
