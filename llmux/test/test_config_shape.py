"""
Tests for L{llmux.config._shape}, and for aliases that say something.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from llmux.config import Alias, Shape
from llmux.test._config import HOOKS, lines, read


class ShapeTests(SynchronousTestCase):
    """
    What is done to parameters.
    """

    def test_nothing(self) -> None:
        """
        Names that say nothing of parameters have no shape.
        """
        config = read(f"models: {{a: {{{HOOKS}, aliases: {{x: , y: {{set: {{}}}}}}}}}}")
        self.assertEqual(config.models["a"].aliases, (Alias("x"), Alias("y")))
        for name in ("a", "x", "y", "z"):
            self.assertIsNone(config.shapeFor(name))

    def test_alias(self) -> None:
        """
        Of a parameter counts what the alias says, if it says something, and
        what the model says otherwise.
        """
        config = read(
            """
            models:
              llama:
                wake: w
                sleep: s
                alive: a
                set: {temperature: 0, "n": 1, top_p: null}
                set_default: {max_tokens: 100, stop: [x, y]}
                strip: [user, seed]
                aliases:
                  plain:
                  llama:creative:
                    set: {temperature: 1.5, user: ü, stop: {a: {b: [true]}}}
                    set_default: {seed: 7}
                    strip: ["n"]
            """
        )
        model = Shape(
            {"temperature": b"0", "n": b"1", "top_p": b"null"},
            {"max_tokens": b"100", "stop": b'["x","y"]'},
            frozenset({"user", "seed"}),
        )
        self.assertEqual(config.shapeFor("llama"), model)
        self.assertEqual(config.shapeFor("plain"), model)
        self.assertEqual(
            config.shapeFor("llama:creative"),
            Shape(
                {
                    "top_p": b"null",
                    "temperature": b"1.5",
                    "user": b'"\\u00fc"',
                    "stop": b'{"a":{"b":[true]}}',
                },
                {"max_tokens": b"100", "seed": b"7"},
                frozenset({"n"}),
            ),
        )
        creative = config.modelNamed("llama:creative")
        assert creative is not None
        self.assertEqual(creative.name, "llama")
        self.assertEqual(creative.names, ("llama", "plain", "llama:creative"))

    def test_environment(self) -> None:
        """
        Texts in values have what is in the environment put in.
        """
        config = read(
            f"models: {{a: {{{HOOKS}, set: {{x: [{{y: '${{env:Z}}!'}}]}}}}}}",
            environment={"Z": "z"},
        )
        shape = config.shapeFor("a")
        assert shape is not None
        self.assertEqual(shape.always, {"x": b'[{"y":"z!"}]'})

    def test_wrong(self) -> None:
        """
        What is wrong is said with its place, and what may have been meant.
        """
        found = lines(
            """
            models:
              a:
                wake: w
                sleep: s
                alive: a
                set: {x: .inf, y: 1, z: 1, deep: [{a: "${env:NO}"}]}
                set_default: {model: b, y: 2}
                strip: [z, 1, q, q, model]
                sett: {}
                metadata: {state: x, context_length: 5}
                context_length: 0
                aliases:
                  b: {set_defaults: {x: 1}, set: 5, strip: x}
                  c: [1]
                  a: {}
                  d: {set: {"": 1}, strip: [v], set_default: {v: 1}}
            """
        )
        wanted = [
            (6, "set.deep[0].a", "the environment variable NO is not set; set "),
            (6, "set.x", "must be a finite number"),
            (7, "set_default.model", "the model's name is no parameter; backend_mo"),
            (7, "set_default.y", 'stands in "set" as well; one thing is done t'),
            (8, "strip", '"q" stands there twice'),
            (8, "strip", 'stands in "set" as well; one thing is done t'),
            (8, "strip[1]", "must be text, not a number; put it in quotes"),
            (8, "strip[4]", "the model's name is no parameter; backend_mo"),
            (9, "sett", 'unknown key, did you mean "set"?'),
            (
                10,
                "metadata.context_length",
                "stands beside `metadata`: write context_leng",
            ),
            (10, "metadata.state", "is said by llmux itself; take it out"),
            (11, "context_length", "must be 1 or more, not 0"),
            (13, "aliases.b.set", "must be keys with values, not a number"),
            (13, "aliases.b.set_defaults", 'unknown key, did you mean "set_default"?'),
            (13, "aliases.b.strip", "must be a list such as [logit_bias], not tex"),
            (14, "aliases.c", "must be keys with values, not a list"),
            (15, "aliases.a", "is a name of this model already; give each n"),
            (16, 'aliases.d.set.""', "a name must not be empty"),
            (16, "aliases.d.strip", 'stands in "set_default" as well; one thing i'),
        ]
        self.assertEqual(len(found), len(wanted), "\n".join(found))
        for line, where, what in wanted:
            start = f"c.yaml:{line}: models.a.{where}: {what}"
            self.assertTrue(any(one.startswith(start) for one in found), start)
