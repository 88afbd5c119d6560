"""
Tests for L{llmux.config._schema}.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from twisted.trial.unittest import SynchronousTestCase

from llmux.config import Config
from llmux.config._schema import schema, schemaText
from llmux.test._config import HOOKS, lines

_RIGHT = [
    f"models: {{a: {{{HOOKS}}}}}",
    f"models: {{a: {{{HOOKS}, port: 8001, url: null}}}}",
    f"models: {{'a b/c': {{{HOOKS}, url: 'unix:/x', aliases: [x, y], needs: {{}}}}}}",
    f"models: {{a: {{{HOOKS}, url: '${{env:X}}', timeouts: {{wake: 1, idle: null}}}}}}",
    (
        f"models: {{a: {{{HOOKS}, aliases: {{x: , y: {{set: {{t: [1, {{}}]}}}}}}, "
        "set: {n: null}, strip: [q], metadata: {meta: {n: 1}}, unlisted: true}}"
    ),
    f"models: {{a: {{{HOOKS}}}}}\npolicy:\nlimits:\nlisten:\nresources:",
    (
        f"models: {{a: {{{HOOKS}, needs: {{g: 1}}}}}}\nresources: {{g: 1.5}}\n"
        "policy: {max_wait_secs: 0, request_timeout_secs: null}\nlisten: ['tcp:80']\n"
        "on_exit: ${env:X}\nport: 65535\nhost: '::1'"
    ),
    (
        f"models: {{a: {{{HOOKS}}}}}\nresources: {{g: {{total: 1.5, "
        "free_command: f, free_timeout_secs: 3}, h: {total: 1}}"
    ),
    f"models: {{a: {{{HOOKS}}}}}\napi_keys: [x, y]\ncors_origins: ['*']",
    f"models: {{a: {{{HOOKS}}}}}\napi_keys: {{b: {{key: x, models: [a]}}}}",
]
_WRONG = [
    "port: 80",
    "models: {}",
    "models:",
    "models: {a: }",
    "models: {a: {wake: w, sleep: s}}",
    f"models: {{'': {{{HOOKS}}}}}",
    f"models: {{{'x' * 257}: {{{HOOKS}}}}}",
    f'models: {{"a\\nb": {{{HOOKS}}}}}',
    *(
        f"models: {{a: {{{HOOKS}, {more}}}}}"
        for more in [
            "prot: 80",
            "port: '80'",
            "port: true",
            "port: 70000",
            "port: 80, url: 'http://x'",
            "url: 'ftp://x'",
            "aliases: x",
            "aliases: [x, x]",
            "aliases: ['']",
            "aliases: [1]",
            "aliases: {x: [1]}",
            "aliases: {x: {sett: {}}}",
            "aliases: {x: {set: {model: m}}}",
            "aliases: {'': {}}",
            "set: 5",
            "set: {model: m}",
            "strip: [model]",
            "metadata: {id: x}",
            "context_length: 0",
            "needs: {g: -1}",
            "ttl_secs: 0",
            "preload: yes please",
            "preload: null",
            "max_in_flight: 1.5",
            "timeouts: {wake: null}",
            "backend_model: ' '",
        ]
    ),
    *(
        f"models: {{a: {{{HOOKS}}}}}\nresources: {{g: {what}}}"
        for what in [
            "-1",
            "x",
            "",
            "[1]",
            "{}",
            "{total: -1}",
            "{totl: 1}",
            "{total: 1, free_command: ''}",
            "{total: 1, free_timeout_secs: 0}",
        ]
    ),
    *(
        f"models: {{a: {{{HOOKS}}}}}\n{more}"
        for more in [
            "api_keys: []",
            "api_keys: {}",
            "api_keys:",
            "api_keys: x",
            "api_keys: [3]",
            "api_keys: {b: {}}",
            "on_exit: stop",
            "listen: [' ']",
            "port: 0",
            "limits: 3",
            "polcy:",
        ]
    ),
]


class SchemaTests(SynchronousTestCase):
    """
    Tests for the JSON Schema.
    """

    def setUp(self) -> None:
        """
        Make a validator.
        """
        Draft202012Validator.check_schema(schema())
        self.validator = Draft202012Validator(schema())

    def test_shipped(self) -> None:
        """
        The schema in the package is that of the code.  If not:
        python -m llmux.config.reference --write
        """
        shipped = files("llmux").joinpath("config.schema.json").read_text("utf-8")
        self.assertEqual(shipped, schemaText())

    def test_agrees(self) -> None:
        """
        The schema and the reader agree on what is right and what is wrong.
        """
        for text in _RIGHT:
            environment = {"X": "leave" if "on_exit" in text else "http://x"}
            self.assertEqual(lines(text, environment=environment), [])
            self.assertTrue(self.validator.is_valid(yaml.safe_load(text)), text)
        for text in _WRONG:
            self.assertNotEqual(lines(text), [], text)
            self.assertFalse(self.validator.is_valid(yaml.safe_load(text)), text)

    def test_everyKey(self) -> None:
        """
        Each key is described, and its examples and its default are allowed.
        """
        self.assertGreater(self.describe(schema()), 50)

    def describe(self, section: Any) -> int:
        """
        Look at a section and those in it.

        @return: how many keys they have.
        """
        count = 0
        for name, one in section["properties"].items():
            count += 1
            self.assertTrue(one["description"].endswith("."), name)
            self.assertNotIn("``", one["description"])
            validator = Draft202012Validator(one)
            # The example of `models` is whole; that of a section is a part.
            for example in one["examples"]:
                validator.validate(example)
            if "default" in one:
                validator.validate(one["default"])
            if "properties" in one:
                count += self.describe(one)
            inner = one.get("anyOf", [one])[0].get("additionalProperties")
            if isinstance(inner, dict):
                for kind in inner.get("anyOf", [inner]):
                    if "properties" in kind:
                        count += self.describe(kind)
        return count

    def test_defaults(self) -> None:
        """
        Defaults are those of the code.
        """
        properties = schema()["properties"]
        self.assertEqual(properties["port"]["default"], Config(models={}).port)
        self.assertEqual(properties["listen"]["default"], [])
        self.assertNotIn("default", properties["models"])
