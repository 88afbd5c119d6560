"""
What is known to have gone wrong in other programs of this kind, each as a test
named after where it was reported.

C{owner/repository/number} in a docstring is an issue or a pull request on
GitHub.  The stories are told in few words here; what is tested is that the
same story ends well with llmux.
"""

from __future__ import annotations

from llmux.errors import WaitedTooLong
from llmux.interfaces import Hook, State
from llmux.switching.inflight import Token
from llmux.test.test_switcher import SwitcherTestCase


class RouterTests(SwitcherTestCase):
    """
    Other routers.
    """

    def test_llamacpp28443(self) -> None:
        """
        ggml-org/llama.cpp/28443: with one slot, and two models asked for at
        once, the second waited for ever.
        """
        self.build("a", "b", "c", awake=("a",))
        second, third = self.switcher.acquire("b"), self.switcher.acquire("c")
        self.hooks.finish("a")
        self.hooks.finish("b")
        self.successResultOf(second).release()
        self.hooks.finish("b")
        self.hooks.finish("c")
        self.successResultOf(third)

    def test_llamacpp28698(self) -> None:
        """
        ggml-org/llama.cpp/28698: a model was put away before the request that
        it had been loaded for reached it.
        """
        first = self.switcher.acquire("a")
        second = self.switcher.acquire("b")
        self.hooks.finish("a")
        token = self.successResultOf(first)
        self.assertEqual(self.hooks.ran, [("a", "wake")])
        token.release()
        self.hooks.finish("a")
        self.hooks.finish("b")
        self.successResultOf(second)

    def test_llamacpp28829(self) -> None:
        """
        ggml-org/llama.cpp/28829: loading and unloading at the same time ended
        in a deadlock.
        """
        self.awake("a").release()
        slept = self.switcher.sleep("a")
        woken = self.switcher.wake("a")
        served = self.switcher.acquire("b").addCallback(Token.release)
        again = self.switcher.sleep("a")
        for _ in range(12):
            for model in list(self.hooks.running):
                self.hooks.finish(model)
        for done in (slept, woken, served, again):
            self.successResultOf(done)

    def test_llamaswap946(self) -> None:
        """
        mostlygeek/llama-swap/946: a request that came as its model was being
        unloaded for idleness wedged the group.
        """
        self.build(models={"a": {"ttl_secs": 60}, "b": {}})
        self.awake("a").release()
        self.clock.advance(60)
        self.assertIs(self.state("a"), State.SLEEPING)
        ready, other = self.switcher.acquire("a"), self.switcher.acquire("b")
        self.hooks.finish("a")
        self.hooks.finish("a")
        self.successResultOf(ready).release()
        self.hooks.finish("a")
        self.hooks.finish("b")
        self.successResultOf(other)

    def test_llamaswap727(self) -> None:
        """
        mostlygeek/llama-swap/727: a model that was asked for by mistake was
        loaded to the end while somebody waited for the place.
        """
        mistake = self.switcher.acquire("a")
        mistake.addErrback(lambda _: None)
        mistake.cancel()
        ready = self.switcher.acquire("b")
        self.assertEqual(self.hooks.stopped, ["a"])
        self.hooks.finish("a")
        self.hooks.finish("b")
        self.successResultOf(ready)

    def test_llamaswap588(self) -> None:
        """
        mostlygeek/llama-swap/588: of a burst of twenty jobs ten were refused,
        and the model was switched away and back after the first.
        """
        self.build(models={"a": {"max_in_flight": 1}, "b": {}})
        jobs = [self.switcher.acquire("a") for _ in range(20)]
        self.hooks.finish("a")
        self.switcher.acquire("b")
        for job in jobs:
            self.successResultOf(job).release()
        self.assertEqual(self.hooks.ran, [("a", "wake"), ("a", "sleep")])

    def test_llamaswap25(self) -> None:
        """
        mostlygeek/llama-swap/25: idleness was counted from the beginning of
        the last request, not from its end.
        """
        self.build(models={"a": {"ttl_secs": 60}})
        token = self.awake("a")
        self.clock.advance(300)
        token.release()
        self.clock.advance(59.9)
        self.assertIs(self.state("a"), State.AWAKE)

    def test_llamaswap119(self) -> None:
        """
        mostlygeek/llama-swap/119: after many rapid switches there were none
        any more.
        """
        for number in range(300):
            model = "ab"[number % 2]
            ready = self.switcher.acquire(model)
            if number % 3 == 0:
                ready.addErrback(lambda _: None)
                ready.cancel()
            for _ in range(3):
                for running in list(self.hooks.running):
                    self.hooks.finish(running)
            if number % 3:
                self.successResultOf(ready).release()
        self.assertEqual(self.hooks.running, {})

    def test_llamaswap100(self) -> None:
        """
        mostlygeek/llama-swap/100: a server that had run out of memory went on
        listening and answered nothing, and was believed to be well.
        """
        self.build(alive_interval_secs=30)
        token = self.awake("a")
        token.answered()
        token.release()
        self.hooks.awake.clear()
        self.clock.pump([1.0] * 40)
        self.assertEqual(self.hooks.ran[-1], ("a", "sleep"))

    def test_ollama8006(self) -> None:
        """
        ollama/ollama/8006: clients that gave up before a model was loaded had
        its load broken off, so that it was never loaded.
        """
        for _ in range(5):
            ready = self.switcher.acquire("a")
            ready.addErrback(lambda _: None)
            self.clock.advance(1)
            ready.cancel()
        self.hooks.finish("a")
        self.assertEqual(self.hooks.ran, [("a", "wake")])
        self.successResultOf(self.switcher.acquire("a"))

    def test_ollama5642(self) -> None:
        """
        ollama/ollama/5642: after a crash of the router its models went on, and
        new ones were loaded beside them.
        """
        self.build(awake=("a",))
        ready = self.switcher.acquire("b")
        self.assertEqual(self.hooks.ran, [("a", "sleep")])
        self.hooks.finish("a")
        self.hooks.finish("b")
        self.successResultOf(ready)

    def test_ollama7606(self) -> None:
        """
        ollama/ollama/7606: a generation that did not end kept its model in
        "stopping" for ever.
        """
        self.build(policy=self.policy(drain_timeout_secs=30))
        self.awake("a")
        ready = self.switcher.acquire("b")
        self.clock.advance(30)
        self.hooks.finish("a")
        self.hooks.finish("b")
        self.successResultOf(ready)

    def test_sie293(self) -> None:
        """
        superlinked/sie/293: the time of idleness ran while the model was
        being loaded, and it was put away before it was there.
        """
        self.build(models={"a": {"ttl_secs": 60}})
        ready = self.switcher.acquire("a")
        self.clock.advance(300)
        self.assertIs(self.state("a"), State.WAKING)
        self.hooks.finish("a")
        self.successResultOf(ready)


class EngineTests(SwitcherTestCase):
    """
    Engines that must not be treated in certain ways.
    """

    def test_vllm45520(self) -> None:
        """
        vllm-project/vllm/45520: an engine that is put to sleep while it
        decodes dies, and says that all is well.
        """
        token = self.awake("a")
        self.switcher.acquire("b")
        self.clock.advance(3600)
        self.assertEqual(self.hooks.ran, [("a", "wake")])
        token.release()
        self.assertEqual(self.hooks.ran[1:], [("a", "sleep")])

    def test_vllm15483(self) -> None:
        """
        vllm-project/vllm/15483: a request to an engine that sleeps kills it.
        """
        self.awake("a").release()
        self.switcher.acquire("b")
        late = self.switcher.acquire("a")
        self.assertIsNone(self.switcher.grant("a"))
        self.assertNoResult(late)
        self.hooks.finish("a")
        self.assertIsNone(self.switcher.grant("a"))
        self.assertNoResult(late)


class RustTests(SwitcherTestCase):
    """
    The Rust program llmux.
    """

    def test_210b1b0(self) -> None:
        """
        Commit 210b1b0: two models woke in turns, each drained before any of
        those who waited for it had been served.
        """
        first, second = self.switcher.acquire("a"), self.switcher.acquire("b")
        self.hooks.finish("a")
        third = self.switcher.acquire("a")
        self.successResultOf(first).release()
        self.hooks.finish("a")
        self.hooks.finish("b")
        self.successResultOf(second).release()
        self.hooks.finish("b")
        self.hooks.finish("a")
        self.successResultOf(third)

    def test_86ac9b6(self) -> None:
        """
        Commit 86ac9b6: a switch was still made after those who had asked for
        it were gone.
        """
        self.awake("a")
        ready = self.switcher.acquire("b")
        ready.addErrback(lambda _: None)
        ready.cancel()
        self.clock.advance(60)
        self.assertEqual(self.hooks.ran, [("a", "wake")])
        self.assertIs(self.state("a"), State.AWAKE)

    def test_f722a4e(self) -> None:
        """
        Commit f722a4e: when a client gave up, the server that was starting
        for it was forgotten, and a second one was started beside it.
        """
        self.build(policy=self.policy(request_timeout_secs=5))
        ready = self.switcher.acquire("a")
        self.clock.advance(5)
        self.failureResultOf(ready, WaitedTooLong)
        again = self.switcher.acquire("a")
        wakes = [call for call in self.hooks.calls if call.hook is Hook.WAKE]
        self.assertEqual(len(wakes), 1)
        self.hooks.finish("a")
        self.successResultOf(again)
