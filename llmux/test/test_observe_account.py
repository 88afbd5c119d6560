"""
Tests for L{llmux.observe.account}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from llmux.observe.account import LEFT, UNKNOWN, Account, Accounts, IAccountant
from llmux.observe.usage import Usage
from llmux.test._accounts import Came, account


@implementer(IAccountant)
class Listener:
    """
    Remembers what it is told.
    """

    def __init__(self) -> None:
        self.told: list[Account] = []

    def requestFinished(self, account: Account) -> None:
        """
        See L{IAccountant.requestFinished}.
        """
        self.told.append(account)


class AccountTests(SynchronousTestCase):
    """
    Tests for L{Account} and L{Accounts}.
    """

    def test_nothing(self) -> None:
        """
        A client that left before anything was done is said to have left.
        """
        made = Account(Came(), 5.0)
        made.ended = 7.0
        self.assertEqual((made.model, made.status), (UNKNOWN, LEFT))
        self.assertEqual((made.duration, made.usage), (2.0, Usage()))

    def test_usage(self) -> None:
        """
        The tokens are looked up once.
        """
        made = account(last=[b'"usage": {"prompt_tokens": 5}'])
        self.assertEqual(made.usage, Usage(5))
        self.assertIs(made.usage, made.usage)

    def test_accounts(self) -> None:
        """
        Many are told as one.
        """
        listeners = [Listener(), Listener()]
        all_ = Accounts(*listeners)
        self.assertTrue(verifyObject(IAccountant, all_))
        made = account()
        all_.requestFinished(made)
        self.assertEqual([listener.told for listener in listeners], [[made]] * 2)

    def test_raises(self) -> None:
        """
        One that raises is logged, and the others are told.
        """
        listener = Listener()
        Accounts(object(), listener).requestFinished(made := account())
        self.assertEqual(listener.told, [made])
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)
