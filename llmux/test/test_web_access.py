"""
Tests for L{llmux.web._access}.
"""

from __future__ import annotations

from hashlib import sha256

from twisted.trial.unittest import SynchronousTestCase

from llmux.config import ApiKey
from llmux.switching.costs import Costs
from llmux.test._memory import FakeClient, makeAsked
from llmux.testing import makeConfig
from llmux.web._access import Access, Principal, Use, isLoopback
from llmux.web._denied import ForeignOrigin, InvalidKey, NotAllowed, TooManyAtOnce
from llmux.web._errors import answerTo


def bearer(key: str) -> dict[bytes, bytes]:
    """
    The header that has a key.
    """
    return {b"Authorization": f"Bearer {key}".encode()}


class AccessTests(SynchronousTestCase):
    """
    Tests for L{Access}; on the wire there are more.
    """

    def make(self, *keys: ApiKey) -> Access:
        """
        Have some keys.
        """
        return Access(
            makeConfig(
                models={"a": {"aliases": ("gpt",)}, "b": {}},
                api_keys={key.name: key for key in keys},
            )
        )

    def admit(self, access: Access, key: str, use: Use = Use.MODELS) -> Principal:
        """
        Have somebody come with a key.
        """
        return access.admit(makeAsked(headers=bearer(key)), FakeClient(), use)

    def test_anyone(self) -> None:
        """
        Without keys everyone may do everything.
        """
        access = self.make()
        for use in Use:
            principal = access.admit(makeAsked(), FakeClient(), use)
        self.assertEqual(set(principal.config.models), {"a", "b"})
        self.assertIsNone(principal.maxInFlight)
        self.assertFalse(access.isOwnKey(b"x"))

    def test_principal(self) -> None:
        """
        Who comes with a key has what the key has.
        """
        access = self.make(
            ApiKey("me", "x", models=("gpt",), priority=2, max_priority=3)
        )
        principal = self.admit(access, "x")
        self.assertEqual(principal.name, "me")
        self.assertEqual(set(principal.config.models), {"a"})
        self.assertEqual((principal.priority, principal.maxPriority), (2, 3))
        self.assertIs(self.admit(access, "x"), principal)

    def test_hashed(self) -> None:
        """
        The hash of a key lets in who has the key, and not who has the hash.
        """
        hashed = f"sha256:{sha256(b'x').hexdigest()}"
        access = self.make(ApiKey("me", hashed))
        self.assertEqual(self.admit(access, "x").name, "me")
        self.assertRaises(InvalidKey, self.admit, access, hashed)
        self.assertRaises(InvalidKey, self.admit, access, hashed[7:])

    def test_uses(self) -> None:
        """
        Not every key is for looking and steering, or for metrics.
        """
        access = self.make(
            ApiKey("user", "u"),
            ApiKey("monitor", "m", metrics=True),
            ApiKey("operator", "o", operator=True),
        )
        self.assertRaises(NotAllowed, self.admit, access, "u", Use.OPERATORS)
        self.assertRaises(NotAllowed, self.admit, access, "u", Use.METRICS)
        self.assertRaises(NotAllowed, self.admit, access, "m", Use.OPERATORS)
        for key, use in (("m", Use.METRICS), ("o", Use.METRICS), ("o", Use.OPERATORS)):
            self.admit(access, key, use)

    def test_password(self) -> None:
        """
        A browser asks its user for a password where operators look, and only
        there.
        """
        access = self.make(ApiKey("me", "x"))
        for use, isAsked in ((Use.OPERATORS, True), (Use.MODELS, False)):
            error = self.assertRaises(InvalidKey, self.admit, access, "y", use)
            ((name, value),) = answerTo(error).headers
            self.assertEqual(name, b"WWW-Authenticate")
            self.assertEqual(b"Basic" in value, isAsked)

    def test_atOnce(self) -> None:
        """
        A key has as many requests at once as it may, whoever sends them.
        """
        access = self.make(ApiKey("me", "x", max_in_flight=2))
        principal = self.admit(access, "x")
        costs = Costs()
        costs.served("a", 30.0)
        principal.enter("a", costs)
        self.admit(access, "x").enter("b", costs)
        error = self.assertRaises(TooManyAtOnce, principal.enter, "a", costs)
        self.assertEqual(error.retryAfter, costs.service("a"))
        principal.leave()
        principal.enter("a", costs)
        self.assertEqual(principal.inFlight, 2)

    def test_secret(self) -> None:
        """
        No key is in what these look like.
        """
        access = self.make(ApiKey("me", "hush"))
        principal = self.admit(access, "hush")
        self.assertNotIn("hush", repr(principal) + repr(vars(access)))
        error = self.assertRaises(InvalidKey, self.admit, access, "hush2")
        self.assertNotIn("hush", str(error) + repr(error) + repr(answerTo(error)))

    def test_pagesOfOperators(self) -> None:
        """
        Pages that are not llmux's and not listed by name have no business
        where operators look, whatever program they are in.
        """
        access = Access(makeConfig(cors_origins=("*", "https://ops.example")))
        for origin, use, ok in (
            (b"https://ops.example", Use.OPERATORS, True),
            (b"https://x.example", Use.OPERATORS, False),
            (b"https://x.example", Use.METRICS, False),
            (b"https://x.example", Use.MODELS, True),
            (b"app://x", Use.OPERATORS, False),
        ):
            asked = makeAsked(headers={b"Host": b"llmux", b"Origin": origin})
            client = FakeClient()
            if not ok:
                self.assertRaises(ForeignOrigin, access.admit, asked, client, use)
            else:
                access.admit(asked, client, use)
            self.assertEqual(bool(client.added), ok)

    def test_preflight(self) -> None:
        """
        A browser that asks for a private network is told so; what it lists is
        said back only if it is a list of names.
        """
        access = Access(makeConfig(cors_origins=("*",)))
        asked = {
            b"Origin": b"https://x.example",
            b"Access-Control-Request-Method": b"POST",
            b"Access-Control-Request-Headers": b"x\xff",
        }
        for private in (False, True):
            if private:
                asked[b"Access-Control-Request-Private-Network"] = b"true"
            headers = access.preflight(
                makeAsked(method=b"OPTIONS", headers=asked), Use.MODELS
            )
            assert headers is not None
            names = [name for name, _ in headers]
            self.assertNotIn(b"Access-Control-Allow-Headers", names)
            self.assertEqual(b"Access-Control-Allow-Private-Network" in names, private)
        self.assertIsNone(access.preflight(makeAsked(headers=asked), Use.MODELS))


class LoopbackTests(SynchronousTestCase):
    """
    Tests for L{isLoopback}.
    """

    def test_all(self) -> None:
        """
        These are addresses of this machine alone, those are not.
        """
        for host in ("127.0.0.1", "127.9.9.9", "::1", "::1%lo", "::ffff:127.0.0.1"):
            self.assertTrue(isLoopback(host), host)
        for host in (
            "",
            "0.0.0.0",
            "10.0.0.1",
            "::",
            "localhost",
            "1",
            "::ffff:10.0.0.1",
        ):
            self.assertFalse(isLoopback(host), host)
