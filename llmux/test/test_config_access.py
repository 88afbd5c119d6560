"""
Tests for L{llmux.config._access}.
"""

from __future__ import annotations

from hashlib import sha256

from twisted.trial.unittest import SynchronousTestCase

from llmux.config import ApiKey
from llmux.test._config import HOOKS, lines, read

_MODELS = f"models: {{a: {{{HOOKS}, aliases: [gpt]}}, b: {{{HOOKS}}}}}\n"


class KeyTests(SynchronousTestCase):
    """
    Keys in a configuration.
    """

    def test_listed(self) -> None:
        """
        A list is of keys that are good for everything, named by their places.
        """
        keys = read(_MODELS + "api_keys: [x, y]").api_keys
        self.assertEqual(
            keys,
            {
                "1": ApiKey("1", "x", operator=True),
                "2": ApiKey("2", "y", operator=True),
            },
        )
        self.assertIsNone(keys["1"].models)

    def test_named(self) -> None:
        """
        A key with a name is good for what is said, and for models only if
        nothing is said.
        """
        keys = read(
            _MODELS + "api_keys:\n"
            "  alice: {key: x, models: [a, gpt], priority: 1, max_priority: 2,"
            " max_in_flight: 3, operator: true, metrics: true}\n"
            "  bob: {key: y}\n"
            "  carol: {key: z, models: []}\n"
        ).api_keys
        self.assertEqual(
            keys["alice"], ApiKey("alice", "x", ("a", "gpt"), 1, 2, 3, True, True)
        )
        self.assertEqual(keys["bob"], ApiKey("bob", "y"))
        self.assertFalse(keys["bob"].operator or keys["bob"].metrics)
        self.assertEqual(keys["carol"].models, ())

    def test_environment(self) -> None:
        """
        A key may be in the environment, in a list as well.
        """
        given = {"K": "secret"}
        for text in ("[x, '${env:K}']", "{me: {key: '${env:K}'}}"):
            keys = read(f"{_MODELS}api_keys: {text}", environment=given).api_keys
            self.assertEqual([key.key for key in keys.values()][-1], "secret")

    def test_hashed(self) -> None:
        """
        A key may be given as its hash.
        """
        digest = sha256(b"secret").digest()
        self.assertEqual(ApiKey("1", "secret").digest, digest)
        self.assertEqual(ApiKey("1", f"sha256:{digest.hex().upper()}").digest, digest)

    def test_secret(self) -> None:
        """
        A key is shown nowhere: not with the configuration, and not in what is
        said to be wrong with it.
        """
        config = read(_MODELS + "api_keys: [hush]")
        self.assertNotIn("hush", repr(config) + str(config))
        for text in (
            "['hush hush']",
            "[hush, hush]",
            "{a: {key: hush}, b: {key: hush}}",
            "[sha256:hush]",
            "hush",
            f"['{'hush' * 2000}']",
        ):
            said = lines(f"{_MODELS}api_keys: {text}")
            self.assertTrue(said)
            self.assertNotIn("hush", "".join(said))

    def test_wrong(self) -> None:
        """
        What is no key, or good for nothing that there is, is an error.
        """
        for text, said in (
            ("[]", "api_keys: there is no key in it; add one, or leave it out to let"),
            ("", "api_keys: there is no key in it; add one, or leave it out to let"),
            ("{}", "api_keys: there is no key in it; add one, or leave it out to let"),
            ("x", "api_keys: must be keys with values, or a list, not text"),
            ("[x, 3]", "api_keys[1]: must be text, not a number; put it in quotes"),
            ("[x, ä]", "api_keys[1]: must have no spaces and none but ASCII"),
            ("[y, x, x]", 'api_keys[2]: is the key of "2" already'),
            ("{m: {key: x}, n: {key: x}}", 'api_keys.n.key: is the key of "m" already'),
            ("{m: {}}", "api_keys.m.key: is missing; add it, such as"),
            (
                "{m: {key: x, models: [c]}}",
                "api_keys.m.models[0]: no such model; there",
            ),
            (
                "{m: {key: x, models: [gptt]}}",
                'api_keys.m.models[0]: no such model, did you mean "gpt"?',
            ),
            ("{m: {key: x, max_in_flight: 0}}", "api_keys.m.max_in_flight: must be 1"),
            ("{m: {key: 'sha256:12'}}", "api_keys.m.key: must have 64 hexadecimal"),
        ):
            (line,) = lines(f"{_MODELS}api_keys: {text}")
            self.assertIn(f"c.yaml:2: {said}", line)


class NameTests(SynchronousTestCase):
    """
    Hosts and origins in a configuration.
    """

    def test_right(self) -> None:
        """
        These can be asked by and from.
        """
        config = read(
            _MODELS + "allowed_hosts: [llm, a-b.example.com, '*', my_box.]\n"
            "cors_origins: ['https://a.example', 'http://localhost:8080',"
            " 'app://obsidian.md', '*', 'chrome-extension://abc', 'http://[::1]:80']"
        )
        self.assertEqual(len(config.allowed_hosts) + len(config.cors_origins), 10)

    def test_wrong(self) -> None:
        """
        These cannot.
        """
        for host in ("a:80", "http://a", "*.a", "a..b", "a/", "ä", "'a b'", "x" * 254):
            (line,) = lines(f"{_MODELS}allowed_hosts: [{host!r}]")
            self.assertIn("allowed_hosts[0]: must be a name", line)
        for origin in (
            "a",
            "https://a/",
            "https://a/b",
            "https://",
            "https://*",
            "//a",
        ):
            (line,) = lines(f"{_MODELS}cors_origins: [{origin!r}]")
            self.assertIn("cors_origins[0]: must be an origin", line)
