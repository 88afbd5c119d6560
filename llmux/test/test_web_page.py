"""
Tests for L{llmux.web._page}, and for what can be said of the page without a
browser.  In one it is tried in L{llmux.test.test_browser}.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser

from twisted.trial.unittest import SynchronousTestCase

from llmux.interfaces import State
from llmux.test.test_web_control import ControlTestCase
from llmux.web._page import FILES, content


def text(name: str) -> str:
    """
    A file of the page.
    """
    body, _ = content(b"/llmux/" + name.encode("ascii"))
    return body.decode("utf-8")


class Elements(HTMLParser):
    """
    The elements of a page.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text(""))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """
        See L{HTMLParser.handle_starttag}.
        """
        self.found.append((tag, dict(attrs)))

    def values(self, attribute: str) -> set[str]:
        """
        All values of an attribute.
        """
        return {
            attributes[attribute] or ""
            for _, attributes in self.found
            if attribute in attributes
        }


class RouteTests(ControlTestCase):
    """
    How the page is served.
    """

    def test_files(self) -> None:
        """
        It and what belongs to it are served with their types; nothing may be
        loaded from elsewhere or put around it.
        """
        for path, (_, kind) in FILES.items():
            client = self.get(path.decode("ascii"))
            self.assertEqual((client.status, client.ended), (200, "finished"))
            self.assertEqual(client.headers[b"Content-Type"], kind)
            self.assertEqual(client.length, len(client.body))
            policy = client.headers[b"Content-Security-Policy"].split(b"; ")
            self.assertEqual(policy[0], b"default-src 'none'")
            self.assertIn(b"frame-ancestors 'none'", policy)
            self.assertNotIn(b"unsafe", client.headers[b"Content-Security-Policy"])
            self.assertEqual(client.headers[b"X-Content-Type-Options"], b"nosniff")

    def test_short(self) -> None:
        """
        Who leaves out the last slash is sent on, wherever llmux is mounted.
        """
        client = self.get("/llmux")
        self.assertEqual((client.status, client.ended), (308, "finished"))
        self.assertEqual(client.headers[b"Location"], b"llmux/")

    def test_onlyRead(self) -> None:
        """
        It can only be read.
        """
        self.assertEqual(self.post("/llmux/").status, 405)


class FileTests(SynchronousTestCase):
    """
    The files.
    """

    def test_ownOnly(self) -> None:
        """
        No address of another server stands in them, but for the name of SVG's
        namespace.
        """
        for path in FILES:
            body, _ = content(path)
            found = set(re.findall(rb"(?:https?:)?//[a-z][\w.]*", body))
            self.assertLessEqual(
                {one for one in found if b"." in one}, {b"http://www.w3.org"}, path
            )

    def test_small(self) -> None:
        """
        They are small.
        """
        self.assertLess(sum(len(content(path)[0]) for path in FILES), 40_000)

    def test_nothingInline(self) -> None:
        """
        No program and no style stands in the page itself, which its policy
        would not let run; and the program sets no HTML.
        """
        for tag, attributes in Elements().found:
            self.assertNotEqual(tag, "style")
            self.assertTrue(tag != "script" or attributes.get("src") == "page.js")
            for name in attributes:
                self.assertFalse(name == "style" or name.startswith("on"), name)
        for word in (
            "innerHTML",
            "outerHTML",
            "insertAdjacent",
            "document.write",
            "eval(",
        ):
            self.assertNotIn(word, text("page.js"))

    def test_names(self) -> None:
        """
        What the program looks for is there, and so is what labels and other
        references name.
        """
        elements = Elements()
        ids = elements.values("id")
        wanted = set(re.findall(r'\$\("([^"]+)"\)', text("page.js")))
        self.assertGreater(len(wanted), 20)
        self.assertLessEqual(wanted, ids)
        for attribute in ("for", "aria-labelledby", "aria-describedby"):
            self.assertLessEqual(elements.values(attribute), ids)

    def test_labels(self) -> None:
        """
        All that can be filled in has a label.
        """
        elements = Elements()
        for tag, attributes in elements.found:
            if tag in ("input", "select", "textarea"):
                self.assertIn(attributes["id"], elements.values("for"))

    def test_states(self) -> None:
        """
        Each state of a model has a colour, and stands in the legend.
        """
        for state in State:
            self.assertIn(f'[data-state="{state.value}"]', text("page.css"))
            self.assertIn(f'"{state.value}"', text("page.js"))
