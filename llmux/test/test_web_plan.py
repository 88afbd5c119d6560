"""
Tests for L{llmux.web._plan}.
"""

from __future__ import annotations

from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from llmux.config import Alias, Limits
from llmux.errors import LLMuxError, UnknownModel
from llmux.test._memory import makeAsked
from llmux.testing import makeConfig
from llmux.web import _members
from llmux.web._errors import BadBody, BodyTooLarge, ModelRequired, NotFound
from llmux.web._pieces import chunks
from llmux.web._plan import Plan, makePlan, plainPlan

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
        So does a path, before anything else, whatever the body says.
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

    def test_maxTokens(self) -> None:
        """
        How long the answer may be is known wherever the model is named; not
        from a form, nor from what is no JSON.
        """
        body = b'{"model": "b", "max_tokens": 7}'
        for target in (b"/x", b"/upstream/a/x", b"/upstream/b/x"):
            plan = makePlan(self.config, makeAsked(body=body, target=target))
            self.assertEqual(plan.maxTokens, 7)
        body = b'{"options": {"num_predict": 8}}'
        for target in (b"/x?model=a", b"/upstream/a/x"):
            plan = makePlan(self.config, makeAsked(body=body, target=target))
            self.assertEqual((plan.model.name, plan.maxTokens), ("a", 8))
        form = {b"Content-Type": b"multipart/form-data; boundary=x"}
        for asked in ({"body": b"}"}, {"body": body, "headers": form}):
            plan = makePlan(self.config, makeAsked(target=b"/upstream/a/x", **asked))
            self.assertIsNone(plan.maxTokens)

    def test_shape(self) -> None:
        """
        A JSON body has the parameters that the configuration wants for the
        name by which the model was asked for, wherever that stands; any other
        body is left alone.
        """
        self.config = makeConfig(
            models={
                "a": {
                    "set_default": {"n": 1},
                    "aliases": (Alias("a:x", set={"t": 2}, strip=("n",)),),
                },
                "b": {"set": {"t": 3}, "backend_model": "org/b"},
            }
        )
        text = {b"Content-Type": b"text/plain"}
        packed = {b"Content-Encoding": b"gzip", b"Content-Type": b"application/json"}
        for asked, body in (
            ({"body": b'{"model": "a"}'}, b'{"n":1,"model": "a"}'),
            ({"body": b'{"n": 5, "model": "a:x"}'}, b'{"t":2,"model": "a:x"}'),
            ({"body": b'{"model": "b"}'}, b'{"t":3,"model": "org/b"}'),
            ({"body": b"{}", "target": b"/x?model=a:x"}, b'{"t":2}'),
            ({"body": b"{}", "target": b"/upstream/a:x/x"}, b'{"t":2}'),
            ({"body": b"{}", "target": b"/upstream/a/x", "headers": text}, b'{"n":1}'),
            (
                {"body": b'{"model": "b"}', "target": b"/upstream/b/x"},
                b'{"t":3,"model": "org/b"}',
            ),
            (
                {"body": b'{"model": "a"}', "target": b"/upstream/b/x"},
                b'{"t":3,"model": "a"}',
            ),
            (
                {"body": b'{"model": 1}', "target": b"/upstream/b/x"},
                b'{"t":3,"model": 1}',
            ),
        ):
            self.assertEqual(self.plan(**asked)[2], body, asked)
        for body, headers in (
            (b"model=a", FORM),
            (b"n", text),
            (b"}", None),
            (b"[{}]", None),
            (b"", None),
            (b"{}", packed),
        ):
            target = b"/upstream/a:x/x"
            planned = self.plan(body=body, target=target, headers=headers)
            self.assertEqual(planned[2], body)

    def test_shapeTooLarge(self) -> None:
        """
        A body that cannot be looked through is refused, rather than sent with
        parameters that are not to be.
        """
        self.config = makeConfig(models={"a": {"set": {"t": 3}}})
        self.patch(_members, "PARTS", 1)
        for target in (b"/v1/x", b"/upstream/a/x"):
            with self.assertRaises(BadBody):
                self.plan(body=b'{"model": "a", "x": [[]]}', target=target)

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


JSON = b"application/json"


class PlainTests(SynchronousTestCase):
    """
    Tests for L{plainPlan}.
    """

    config = makeConfig(
        models={
            "a": {"aliases": ("gpt",)},
            "b": {"backend_model": "org/b"},
            "c": {"set": {"t": 3}},
        }
    )

    def plans(
        self, body: bytes, target: bytes, headers: list[tuple[bytes, bytes]]
    ) -> tuple[Plan | None, Plan | None]:
        """
        The plan of the short way, and that of the long one, if there is one.
        """
        asked = makeAsked(body=body, target=target)
        asked = evolve(asked, headers=tuple(headers))
        try:
            plan: Plan | None = makePlan(self.config, asked)
        except LLMuxError:
            plan = None
        return plainPlan(self.config, asked, body), plan

    def test_plain(self) -> None:
        """
        What most requests are like is planned for.
        """
        for body in (b'{"model":"a"}', b'{"max_tokens": 7, "model": "gpt"}'):
            plain, plan = self.plans(body, b"/v1/x", [(b"content-type", JSON)])
            self.assertIsNotNone(plain)
            self.assertEqual(plain, plan)

    @given(
        st.one_of(
            st.sampled_from(
                [
                    b"",
                    b"{}",
                    b"[]",
                    b"{",
                    b'{"model": 1}',
                    b'{"model": ""}',
                    b'{"model": null}',
                    b'{"model":"nobody"}',
                    b'{"model":"b"}',
                    b'{"model":"c"}',
                    b'{"model":"gpt","n_predict":5}',
                    b'{"model":"b","model":"a"}',
                    b' {"model":"a"}',
                    b'\xef\xbb\xbf{"model":"a"}',
                    b'{"model":"\\u0061"}',
                    b'{"model":"\xff"}',
                    b'{"model":"a"} x',
                    b"{\0",
                    '{"model":"a"}'.encode("utf-16"),
                    b"model=a",
                ]
            ),
            st.binary(max_size=20),
        ),
        st.sampled_from([b"/v1/x", b"/x?model=a", b"/upstream/a/x"]),
        st.lists(
            st.tuples(
                st.sampled_from([b"Content-Type", b"content-encoding", b"X-Other"]),
                st.sampled_from(
                    [JSON, b"text/plain", b"gzip", b"multipart/form-data; boundary=x"]
                ),
            ),
            max_size=3,
        ),
    )
    def test_same(
        self, body: bytes, target: bytes, headers: list[tuple[bytes, bytes]]
    ) -> None:
        """
        Whatever is planned for the short way has the same plan the long way.
        """
        plain, plan = self.plans(body, target, headers)
        if plain is not None:
            self.assertEqual(plain, plan)

    def test_others(self) -> None:
        """
        What is to be changed, or refused, is for the long way.
        """
        for body in (b'{"model":"b"}', b'{"model":"c"}', b'{"model":"nobody"}'):
            plain, _ = self.plans(body, b"/v1/x", [(b"content-type", JSON)])
            self.assertIsNone(plain, body)
        large = b'{"model":"a","x":"%b"}' % (b"x" * 300)
        self.patch(self, "config", makeConfig(limits=Limits(body_mb=0.0002)))
        plain, plan = self.plans(large, b"/v1/x", [(b"content-type", JSON)])
        self.assertEqual((plain, plan), (None, None))
