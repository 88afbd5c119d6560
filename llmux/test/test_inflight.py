"""
Tests for L{llmux.switching.inflight}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from llmux.switching.inflight import Token


class TokenTests(SynchronousTestCase):
    """
    One token, and what its switcher is told of it.
    """

    def setUp(self) -> None:
        self.said: list[tuple[str, object]] = []
        self.token = Token(
            "a",
            "http://127.0.0.1:8001",
            2.0,
            1.0,
            7,
            lambda token: self.said.append(("released", token)),
            lambda token: self.said.append(("answered", token)),
        )

    def cut(self, why: str) -> None:
        """
        Take note of being cut, and of whether the token was held then.
        """
        self.said.append((f"cut: {why}", self.token.held))

    def test_release(self) -> None:
        """
        A token is held until it is given back, which counts once.
        """
        self.assertTrue(self.token.held)
        self.token.release()
        self.token.release()
        self.assertFalse(self.token.held)
        self.assertEqual(self.said, [("released", self.token)])

    def test_answered(self) -> None:
        """
        The first answer is told, and no other.
        """
        self.token.answered()
        self.token.answered()
        self.assertEqual(self.said, [("answered", self.token)])

    def test_cut(self) -> None:
        """
        When it is cut, its holder ends the work while it is still held; then
        it counts as given back.
        """
        self.token.whenCut(self.cut)
        self.token.cut("enough")
        self.assertEqual(self.said, [("cut: enough", True), ("released", self.token)])
        self.assertTrue(self.token.wasCut)
        self.token.cut("again")
        self.token.release()
        self.assertEqual(len(self.said), 2)

    def test_cutReleases(self) -> None:
        """
        The holder may give it back while it is told.
        """
        self.token.whenCut(lambda why: self.token.release())
        self.token.cut("enough")
        self.assertEqual(self.said, [("released", self.token)])

    def test_cutUnheard(self) -> None:
        """
        It is cut although its holder has not said how yet; the holder is told
        as soon as it asks to be.
        """
        self.token.cut("enough")
        self.token.whenCut(self.cut)
        self.assertEqual(self.said, [("released", self.token), ("cut: enough", False)])

    def test_cutAfterRelease(self) -> None:
        """
        What is over is not cut.
        """
        self.token.whenCut(self.cut)
        self.token.release()
        self.token.cut("enough")
        self.assertFalse(self.token.wasCut)
        self.assertEqual(self.said, [("released", self.token)])

    def test_repr(self) -> None:
        """
        It says which it is, and nothing of the switcher behind it.
        """
        self.assertIn("number=7", repr(self.token))
        self.assertNotIn("function", repr(self.token))
