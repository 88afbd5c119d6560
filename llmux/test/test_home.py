"""
Tests for L{llmux.switching._home}.
"""

from __future__ import annotations

from typing import Any

from llmux.config import PolicyConfig
from llmux.interfaces import State
from llmux.test._config import HOOKS, lines
from llmux.test.test_switcher import SwitcherTestCase
from llmux.testing import makeConfig


class HomeTests(SwitcherTestCase):
    """
    Tests for L{llmux.switching._home.Home}.
    """

    def policy(self, **settings: Any) -> PolicyConfig:
        """
        With a default model.
        """
        settings.setdefault("default_model", "a")
        settings.setdefault("default_after_secs", 60)
        return super().policy(**settings)

    def build(self, *names: str, **settings: Any) -> None:
        """
        See L{SwitcherTestCase.build}.  One that was there wishes no more.
        """
        if hasattr(self, "switcher"):
            self.successResultOf(self.switcher.stop())
        super().build(*names, **settings)

    def test_start(self) -> None:
        """
        Where nothing is asked for from the start, it is woken then.
        """
        self.clock.advance(59.9)
        self.assertEqual(self.hooks.ran, [])
        self.clock.advance(0.2)
        self.assertEqual(self.hooks.ran, [("a", "wake")])
        self.hooks.finish("a")
        self.clock.advance(1000)
        self.assertEqual(self.hooks.ran, [("a", "wake")])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_afterOthers(self) -> None:
        """
        It comes back when nothing has been asked of another for long enough,
        counted from the end of the last request.
        """
        token = self.awake("b")
        self.clock.pump([10.0] * 20)
        self.assertIs(self.state("b"), State.AWAKE)
        token.release()
        self.clock.pump([1.0] * 30)
        # This one does not wait.
        self.successResultOf(self.switcher.acquire("b")).release()
        self.clock.pump([1.0] * 59)
        self.assertEqual(self.hooks.ran, [("b", "wake")])
        self.clock.pump([1.0] * 62)
        self.hooks.finish("b")
        self.hooks.finish("a")
        self.assertEqual(self.hooks.ran[1:], [("b", "sleep"), ("a", "wake")])
        self.assertIs(self.state("a"), State.AWAKE)

    def test_takenBack(self) -> None:
        """
        When something is asked for before it is under way, it is taken back.
        """
        self.build("a", "b", policy=self.policy(min_active_secs=100))
        self.awake("b").release()
        self.clock.pump([1.0] * 70)
        self.assertEqual(len(self.switcher.snapshot().models["a"].queue), 1)
        token = self.successResultOf(self.switcher.acquire("b"))
        self.assertEqual(len(self.switcher.snapshot().models["a"].queue), 0)
        self.clock.pump([1.0] * 100)
        self.assertIs(self.state("b"), State.AWAKE)
        self.assertTrue(token.held)

    def test_others(self) -> None:
        """
        What has a place of its own does not keep it from being woken.
        """
        needs = {name: {"needs": {f"gpu-{name}": 1}} for name in "ab"}
        self.build(models=needs, resources={"gpu-a": 1, "gpu-b": 1})
        self.awake("b")
        self.clock.advance(60)
        self.hooks.finish("a")
        self.assertIs(self.state("a"), State.AWAKE)
        self.assertIs(self.state("b"), State.AWAKE)

    def test_failed(self) -> None:
        """
        If it cannot be woken, it is tried again later.
        """
        self.clock.advance(60)
        self.hooks.fail("a")
        self.hooks.finish("a")
        self.clock.pump([1.0] * 30)
        self.assertEqual(len(self.hooks.ran), 2)
        self.clock.pump([1.0] * 40)
        self.assertEqual(self.hooks.ran[2:], [("a", "wake")])

    def test_died(self) -> None:
        """
        It is woken again after it has died.
        """
        self.build(alive_interval_secs=10)
        self.clock.advance(60)
        self.hooks.finish("a")
        self.clock.advance(100)
        self.hooks.awake.clear()
        self.clock.pump([1.0] * 20)
        self.hooks.finish("a")
        self.clock.pump([1.0] * 70)
        self.assertEqual(self.hooks.ran, [("a", "wake"), ("a", "sleep"), ("a", "wake")])

    def test_stop(self) -> None:
        """
        Nothing of it is left when the switcher stops.
        """
        self.successResultOf(self.switcher.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_removed(self) -> None:
        """
        Another configuration may have another, or none.
        """
        self.switcher.reconfigure(
            makeConfig("a", "b", policy=self.policy(default_model="b"))
        )
        self.clock.pump([1.0] * 61)
        self.assertEqual(self.hooks.ran, [("b", "wake")])
        self.hooks.finish("b")
        self.switcher.reconfigure(
            makeConfig("a", policy=self.policy(default_model=None))
        )
        self.hooks.finish("b")
        self.clock.pump([1.0] * 100)
        self.assertEqual(self.hooks.ran[1:], [("b", "sleep")])

    def test_check(self) -> None:
        """
        A default model that is not there, or does not stay, is an error.
        """
        text = f"models: {{llama: {{{HOOKS}, aliases: [x]}}}}\npolicy: "
        self.assertEqual(lines(text + "{default_model: x}"), [])
        self.assertEqual(
            "\n".join(lines(text + "{default_model: lama}")),
            "c.yaml:2: policy.default_model: there is no such model, did you mean "
            '"llama"?',
        )
        (wrong,) = lines(
            text.replace("aliases", "ttl_secs: 5, aliases") + "{default_model: llama}"
        )
        self.assertIn("policy.default_model: is put to sleep after its ttl_secs", wrong)
