"""
Tests for L{llmux.config._values} and L{llmux.config._keys}.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import NOTHING, evolve, field, fields, frozen
from twisted.trial.unittest import SynchronousTestCase

from llmux.config import (
    Alias,
    ApiKey,
    Config,
    Limits,
    ModelConfig,
    PolicyConfig,
    Timeouts,
)
from llmux.config._keys import LONGEST, entries, key, seconds


def model(name: str = "llama", **settings: object) -> ModelConfig:
    """
    Make a model.
    """
    return ModelConfig(name, "w", "s", "a", **settings)  # type: ignore[arg-type]


class ModelTests(SynchronousTestCase):
    """
    Tests for L{ModelConfig}.
    """

    def test_address(self) -> None:
        """
        The address is that of the port on this machine, or the URL without
        the slash at its end, or empty.
        """
        self.assertEqual(model(port=8001).address, "http://127.0.0.1:8001")
        self.assertEqual(model(url="http://gpu2/v/").address, "http://gpu2/v")
        self.assertEqual(model(url="unix:/run/x.sock").address, "unix:/run/x.sock")
        self.assertEqual(model().address, "")

    def test_needs(self) -> None:
        """
        What a model needs cannot be changed, not even by the mapping that it
        was made from.
        """
        needs = {"gpu": 1.0}
        made = model(needs=needs)
        needs["gpu"] = 2.0
        self.assertEqual(made.needs, {"gpu": 1.0})
        self.assertNotIsInstance(made.needs, dict)
        self.assertIsNone(model().needs)


class ConfigTests(SynchronousTestCase):
    """
    Tests for L{Config}.
    """

    def test_modelNamed(self) -> None:
        """
        A model is found by its name and by its aliases.
        """
        llama = model(aliases=["gpt", "x"])
        other = model("other")
        config = Config(models={"llama": llama, "other": other})
        self.assertIs(config.modelNamed("llama"), llama)
        self.assertIs(config.modelNamed("x"), llama)
        self.assertIs(config.modelNamed("other"), other)
        self.assertIsNone(config.modelNamed("nobody"))

    def test_evolved(self) -> None:
        """
        A configuration in which something was replaced finds its models.
        """
        config = Config(models={"llama": model(aliases=["gpt"])})
        evolved = evolve(config, models={"other": model("other")}, port=1)
        self.assertIsNone(evolved.modelNamed("gpt"))
        self.assertIsNotNone(evolved.modelNamed("other"))
        self.assertEqual(evolve(config), config)

    def test_seed(self) -> None:
        """
        The defaults are those of the Rust program llmux 2.2, but for the
        policy.
        """
        config = Config(models={})
        self.assertEqual(config.port, 3000)
        self.assertEqual(config.policy.name, "cost-aware")
        self.assertIsNone(config.policy.request_timeout_secs)
        self.assertIs(config.policy.drain_before_switch, True)
        self.assertEqual(config.policy.min_active_secs, 0)


class KeyTests(SynchronousTestCase):
    """
    Tests for what is known about keys.
    """

    def test_everyField(self) -> None:
        """
        Each field is a key with a text about it in whole sentences, or is
        known not to be one.
        """
        without = set()
        for kind in (
            Config,
            ModelConfig,
            Alias,
            PolicyConfig,
            Limits,
            Timeouts,
            ApiKey,
        ):
            known = entries(kind)
            for attribute in fields(kind):
                if attribute.name not in known:
                    without.add((kind, attribute.name))
                    continue
                entry = known[attribute.name]
                self.assertRegex(entry.key.about, r"^[A-Z].*\.$")
                self.assertEqual(entry.required, attribute.default is NOTHING)
                self.assertNotEqual(entry.key.example, entry.value)
        self.assertEqual(
            without,
            {
                (ApiKey, "name"),
                (ModelConfig, "name"),
                (Alias, "name"),
                (Config, "folder"),
                (Config, "_names"),
                (Config, "_shapes"),
            },
        )

    def test_entry(self) -> None:
        """
        A key has its type, its default and what its metadata says; durations
        are 0 or more unless they say that they are not.
        """

        made = entries(_Sample)
        self.assertEqual(list(made), ["must", "wait", "gap", "names"])
        self.assertTrue(made["must"].required)
        self.assertIs(made["must"].type, int)
        self.assertEqual(made["wait"].value, 3)
        self.assertEqual(made["wait"].key.unit, "seconds")
        self.assertEqual((made["wait"].key.low, made["wait"].key.high), (0, LONGEST))
        self.assertEqual((made["gap"].key.low, made["gap"].key.above), (None, 0))
        self.assertEqual(made["names"].value, {})


@frozen
class _Sample:
    must: int = field(metadata=key("Must.", 1))
    wait: float = field(default=3, metadata=seconds("Wait.", 1))
    gap: float | None = field(default=None, metadata=seconds("Gap.", 1, above=0))
    names: Mapping[str, float] = field(factory=dict, metadata=key("Names.", {"a": 1}))
    other: int = 0
