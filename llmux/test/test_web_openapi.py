"""
Tests for L{llmux.web._openapi}.
"""

from __future__ import annotations

import ast
import inspect
import json
from typing import Any
from urllib.parse import urljoin

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from llmux.interfaces import Reason, State
from llmux.test.test_web_control import ControlTestCase
from llmux.web import control, resource
from llmux.web._openapi import description, document


def paths(module: Any) -> set[str]:
    """
    The paths, and beginnings of paths, that stand in a module's text.
    """
    return {
        node.value.decode("ascii")
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, bytes)
        and node.value.startswith(b"/")
        and len(node.value) > 1
    }


class DocumentTests(SynchronousTestCase):
    """
    The document by itself.
    """

    def setUp(self) -> None:
        """
        Read it.
        """
        self.document = document()
        self.schemas = self.document["components"]["schemas"]

    def test_json(self) -> None:
        """
        It is served as JSON, which programs read, and has llmux's version.
        """
        self.assertEqual(json.loads(description()), self.document)
        self.assertRegex(self.document["info"]["version"], r"^\d+\.\d+")

    def test_server(self) -> None:
        """
        Whoever reads it finds the routes beside it, wherever it is mounted.
        """
        (server,) = self.document["servers"]
        base = urljoin("http://h/prefix/llmux/openapi.json", server["url"])
        self.assertEqual(base, "http://h/prefix/")

    def test_allRoutes(self) -> None:
        """
        Each path that the code knows is described: whoever adds a route adds
        it to C{openapi.yaml}, too.
        """
        described = self.document["paths"]
        known = paths(control) | paths(resource)
        self.assertIn("/llmux/status", known)
        missing = {
            path
            for path in known
            if not any(
                there == path.rstrip("/") or there.startswith(path)
                for there in described
            )
        }
        self.assertEqual(missing - {"/llmux"}, set())

    def test_operations(self) -> None:
        """
        Each operation has a name of its own, a summary, and says what errors
        look like.
        """
        names: set[str] = set()
        for path, item in self.document["paths"].items():
            for method, operation in item.items():
                if method == "parameters":
                    continue
                self.assertTrue(operation["summary"].endswith("."), path)
                self.assertIn("default", operation["responses"])
                self.assertNotIn(operation["operationId"], names)
                names.add(operation["operationId"])

    def test_words(self) -> None:
        """
        The states and reasons are those of the code.
        """
        for schema, kind in (("State", State), ("Reason", Reason)):
            values = [member.value for member in kind]
            self.assertEqual(self.schemas[schema]["enum"], values)


class AnswerTests(ControlTestCase):
    """
    What the routes answer, beside what is said of it.
    """

    def setUp(self) -> None:
        """
        Make something of everything: an error, a switch that is over, one
        under way, requests that wait and that are served.
        """
        super().setUp()
        self.schemas = document()["components"]["schemas"]
        self.switcher.wake("a").addErrback(lambda _: None)
        self.hooks.fail("a")
        self.hooks.finish("a")
        self.wake("p")
        self.switcher.grant("p")
        self.switcher.acquire("org/b")

    def check(self, path: str, schema: str, method: bytes = b"GET") -> Any:
        """
        Ask for something, and hold it to its schema.
        """
        try:
            from jsonschema import Draft202012Validator
        except ImportError:
            raise SkipTest("needs jsonschema") from None
        answer = self.get(path, method=method).json()
        whole = {"$ref": f"#/components/schemas/{schema}", **document()}
        Draft202012Validator(whole).validate(answer)
        return answer

    def test_served(self) -> None:
        """
        Each path of operators is served, by the methods that are said.
        """
        for path, item in document()["paths"].items():
            plain = path.replace("{id}", "a").encode("ascii")
            tags = {
                tag
                for one in ("get", "post")
                for tag in item.get(one, {}).get("tags", ())
            }
            if tags.isdisjoint({"operators", "llama-swap"}):
                self.assertFalse(self.control.serves(plain))
                continue
            for method in {"get", "post"} & item.keys():
                found = self.control._routeOf(plain)
                assert found is not None, path
                self.assertEqual(found[0], method.upper().encode("ascii"), path)

    def test_status(self) -> None:
        """
        The status has what is said, and nothing else.
        """
        found = self.check("/llmux/status", "Status")
        for part, schema in (
            (found, "Status"),
            (found["models"][0], "Model"),
            (found["models"][0]["last_error"], "Mishap"),
            (found["switches"][0], "Switch"),
            (found["recent_switches"][0], "PastSwitch"),
        ):
            self.assertEqual(part.keys(), self.schemas[schema]["properties"].keys())
            self.assertEqual(part.keys(), set(self.schemas[schema]["required"]))
        self.assertEqual(found["recent_errors"][0]["model"], "a")

    def test_others(self) -> None:
        """
        So it is with all else that is JSON.
        """
        self.check("/llmux/timeline", "Timeline")
        running = self.check("/running", "Running")["running"]
        self.assertEqual([one["model"] for one in running], ["org/b", "p"])
        self.check("/llmux/models/p/sleep", "Error", method=b"POST")
        self.check("/llmux/models/x/wake", "Error", method=b"POST")
        self.check("/llmux/models/p/wake", "Model", method=b"POST")
        self.check("/llmux/reload", "Error", method=b"POST")

    def test_itself(self) -> None:
        """
        The document is served.
        """
        client = self.get("/llmux/openapi.json")
        self.assertEqual(client.headers[b"Content-Type"], b"application/json")
        self.assertEqual(client.json(), document())
