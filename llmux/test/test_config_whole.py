"""
Tests for L{llmux.config._whole}: what can be wrong between keys.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from llmux.test._config import HOOKS, lines


def models(*more: str, rest: str = "") -> str:
    """
    A file with models C{a}, C{b} and so on, of which each has more than its
    hooks, on a line of its own.
    """
    text = "models:\n"
    for name, one in zip("abcdefghijklmnop", more, strict=False):
        text += f"  {name}: {{{HOOKS}{one and ', '}{one}}}\n"
    return text + rest


class NameTests(SynchronousTestCase):
    """
    Tests for names and aliases.
    """

    def test_none(self) -> None:
        """
        There must be a model.
        """
        for text in ("models: {}", "models:"):
            self.assertEqual(
                lines(text),
                ["c.yaml:1: models: there is no model; llmux needs one at least"],
            )

    def test_twice(self) -> None:
        """
        No name is that of two models, or of one twice.
        """
        self.assertEqual(
            lines(models("aliases: [x, b, a]", "aliases: [y, y, x, z]")),
            [
                (
                    'c.yaml:2: models.a.aliases[1]: is a name of "b" already; give each '
                    "name to one model"
                ),
                (
                    "c.yaml:2: models.a.aliases[2]: is a name of this model already; give "
                    "each name to one model"
                ),
                (
                    "c.yaml:3: models.b.aliases[1]: is a name of this model already; give "
                    "each name to one model"
                ),
                (
                    'c.yaml:3: models.b.aliases[2]: is a name of "a" already; give each '
                    "name to one model"
                ),
            ],
        )

    def test_besideOthers(self) -> None:
        """
        That an alias is there twice is told also if another is no alias.
        """
        found = lines(models("aliases: [1, 2, x, x]"))
        self.assertEqual(len(found), 3)
        self.assertIn("aliases[3]: is a name of this model", found[2])

    def test_sameServer(self) -> None:
        """
        Models may share a server.
        """
        self.assertEqual(lines(models("port: 80", "port: 80")), [])


class AddressTests(SynchronousTestCase):
    """
    Tests for where servers are.
    """

    def test_both(self) -> None:
        """
        A model has a port or a URL or neither, but not both.
        """
        self.assertEqual(lines(models("", "port: 80", "url: http://x")), [])
        self.assertEqual(
            lines(models('port: 80, url: "http://x"')),
            ['c.yaml:2: models.a.url: give "port" or "url", not both'],
        )


class ResourceTests(SynchronousTestCase):
    """
    Tests for what models need.
    """

    def test_unknown(self) -> None:
        """
        A model can need only what there is.
        """
        found = lines(
            models("needs: {gpu1: 1}", "needs: {tpu: 1}", rest="resources: {gpu0: 1}")
        )
        self.assertEqual(
            found,
            [
                'c.yaml:2: models.a.needs.gpu1: no such resource, did you mean "gpu0"?',
                "c.yaml:3: models.b.needs.tpu: no such resource; there are: gpu0",
            ],
        )

    def test_noResources(self) -> None:
        """
        A model cannot need anything where there are no resources.
        """
        (line,) = lines(models("needs: {gpu0: 1}"))
        self.assertIn('there are no "resources" in this file; add them', line)
        self.assertEqual(lines(models("needs: {}")), [])

    def test_badResources(self) -> None:
        """
        From resources that are wrong themselves nothing is concluded.
        """
        for resources in ("3", "{gpu0: x}"):
            (line,) = lines(
                models("needs: {gpu0: 1}", "pin: true", rest=f"resources: {resources}")
            )
            self.assertIn(": resources", line)

    def test_tooMuch(self) -> None:
        """
        A model that needs more than there is can never be woken.
        """
        found = lines(
            models("needs: {g: 24}", "needs: {g: 25}", rest="resources: {g: 24}")
        )
        self.assertEqual(
            found,
            [
                (
                    "c.yaml:3: models.b.needs: can never be woken: it needs 25 of g, of "
                    "which there is 24"
                )
            ],
        )

    def test_besidePinned(self) -> None:
        """
        A model that needs more than pinned models leave can never be woken,
        whether it is pinned itself or not.
        """
        self.assertEqual(
            lines(
                models(
                    "pin: true, needs: {g: 10}",
                    "needs: {g: 14}",
                    "needs: {g: 15}",
                    "",
                    rest="resources: {g: 24}",
                )
            ),
            [
                (
                    "c.yaml:4: models.c.needs: can never be woken: it needs 15 of g, and "
                    'of 24 the pinned models ("a") hold 10'
                ),
                (
                    "c.yaml:5: models.d.needs: can never be woken: it needs 24 of g (all "
                    'of it, since there is no "needs"), and of 24 the pinned models ("a") '
                    "hold 10"
                ),
            ],
        )
        found = lines(
            models(
                "pin: true, needs: {g: 20}",
                "pin: true, needs: {g: 20}",
                rest="resources: {g: 24}",
            )
        )
        self.assertEqual(len(found), 2)

    def test_sums(self) -> None:
        """
        Amounts that fit but for the rounding of floating point do fit.
        """
        text = models(
            "pin: true, needs: {g: 0.1}",
            "pin: true, needs: {g: 0.2}",
            "pin: true, needs: {g: 0.3, h: 1}",
            rest="resources: {g: 0.6, h: 1}",
        )
        self.assertEqual(lines(text), [])

    def test_pinnedAlone(self) -> None:
        """
        Where one model is awake at a time, a pinned one keeps out all others.
        """
        self.assertEqual(lines(models("pin: true")), [])
        self.assertEqual(lines(models("pin: true", "needs: {}")), [])
        self.assertEqual(
            lines(models("pin: true", "")),
            [
                (
                    'c.yaml:3: models.b.needs: can never be woken: "a" has "pin", and '
                    'without "resources" one model is awake at a time'
                )
            ],
        )

    def test_unknownBesidePinned(self) -> None:
        """
        That there is no such resource is all that is told of it.
        """
        text = models("pin: true, needs: {h: 1}", rest="resources: {g: 1}")
        self.assertEqual(len(lines(text)), 1)

    def test_misspelled(self) -> None:
        """
        From a key that is left out because it was misspelled nothing is
        concluded.
        """
        text = models(
            "pin: true, needs: {g: 1}", "need: {g: 1}", rest="resources: {g: 2}"
        )
        (line,) = lines(text)
        self.assertIn('did you mean "needs"?', line)


class PolicyTests(SynchronousTestCase):
    """
    Tests for the name of the policy.
    """

    def find(self, name: str) -> object:
        """
        Know one policy.
        """
        if name == "odd":
            raise LookupError
        if name != "good":
            raise LookupError(f"no policy\n{name}")
        return object()

    def test_found(self) -> None:
        """
        A policy that is there is no problem.
        """
        text = models("", rest="policy: {name: good}")
        self.assertEqual(lines(text, findPolicy=self.find), [])

    def test_notFound(self) -> None:
        """
        What is said by who looked for it becomes one line, in its place;
        also if it is the default that is not there.
        """
        text = models("", rest="policy:\n  name: bad")
        self.assertEqual(
            lines(text, findPolicy=self.find),
            ["c.yaml:4: policy.name: no policy\\nbad"],
        )
        self.assertEqual(
            lines(models("", rest="policy: {name: odd}"), findPolicy=self.find),
            ["c.yaml:3: policy.name: there is no such policy"],
        )
        (line,) = lines(models(""), findPolicy=self.find)
        self.assertIn("c.yaml:1: policy.name: no policy", line)

    def test_notAsked(self) -> None:
        """
        A name that is none is not looked for.
        """
        for policy in ("{name: 3}", "3"):
            text = models("", rest=f"policy: {policy}")
            self.assertEqual(len(lines(text, findPolicy=self.find)), 1)
