# -*- test-case-name: llmux.test.test_exchange -*-
"""
What all exchanges have in common.
"""

from __future__ import annotations

from typing import Any

from attrs import Factory, define, field
from twisted.internet.interfaces import IReactorTime

from llmux.config import Config
from llmux.observe.account import Accounts
from llmux.switching.switcher import Switcher
from llmux.web._access import Access
from llmux.web._backend import Backends

__all__ = ()


@define(eq=False)
class Context:
    """
    What all exchanges have in common.

    @ivar accountant: provides L{llmux.observe.account.IAccountant}.
    @ivar traces: a L{llmux.observe.traces.Traces}, if there are traces.
    @ivar access: lets requests in; by default those that the configuration
        does.
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
