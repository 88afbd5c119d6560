"""
Tests for L{llmux.test._fuzz}: what is in the corpus, tried again.

C{python -m chaos.fuzz} makes up more.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from llmux.test._fuzz import CORPUS, TARGETS, tried


class CorpusTests(SynchronousTestCase):
    """
    Nothing that a client, a model's server, a hook or a user is known to send
    breaks a promise.
    """

    def test_corpus(self) -> None:
        """
        There is something for each target, and nothing of it does any harm.
        """
        for name in TARGETS:
            files = sorted((CORPUS / name).iterdir())
            self.assertTrue(files, name)
            for file in files:
                try:
                    tried(name, file.read_bytes())
                except Exception as error:
                    self.fail(f"{name}/{file.name}: {type(error).__name__}: {error}")
