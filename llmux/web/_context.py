# -*- test-case-name: llmux.test.test_exchange -*-
"""
What all exchanges have in common.
"""

from __future__ import annotations

from typing import Any, ClassVar

from attrs import Factory, define, evolve, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from llmux.config import Config
from llmux.observe.account import Account, Accounts
from llmux.switching.switcher import Switcher
from llmux.web._access import Access
from llmux.web._backend import Backends
from llmux.web._plan import Asked
from llmux.web._scanner import Scanner

__all__ = ()


@define(eq=False)
class Context:
    """
    What all exchanges have in common.

    @ivar accountant: provides L{llmux.observe.account.IAccountant}.
    @ivar traces: a L{llmux.observe.traces.Traces}, if there are traces.
    @ivar access: lets requests in; by default those that the configuration
        does.
    @ivar scanner: makes plans for requests with large bodies.
    """

    config: Config
    switcher: Switcher
    backends: Backends
    clock: IReactorTime
    accountant: Any = field(factory=Accounts)
    access: Access = field(
        default=Factory(lambda self: Access(self.config), takes_self=True)
    )
    traces: Any = None
    scanner: Scanner = field(
        default=Factory(lambda self: Scanner(self.clock), takes_self=True)
    )

    log: ClassVar = Logger()

    def begin(self, asked: Asked) -> tuple[Asked, Account]:
        """
        A request is here.

        @return: the request as it is to go on, and what is going to be said of
            it.
        """
        account = Account(asked, self.clock.seconds())
        if self.traces is None:
            return asked, account
        try:
            headers = self.traces.begin(account, asked.headers)
        except Exception:
            # It is served without.
            self.log.failure("while a trace was begun", event="trace_failed")
            return asked, account
        return evolve(asked, headers=headers), account
