"""
The conformance suite, run on L{ProxySite} with L{ProxyResource}.
"""

from __future__ import annotations

from llmux.test import _conformance
from llmux.test._wire import REACTOR
from llmux.web.exchange import Context
from llmux.web.resource import ProxyResource
from llmux.web.site import ProxySite


class SiteTests(_conformance.Conformance):
    """
    The site as the service builds it.
    """

    def frontEnd(self, context: Context) -> ProxySite:
        """
        See L{WireCase.frontEnd}.
        """
        return ProxySite(
            ProxyResource(context),
            REACTOR,
            context.config.limits,
            context.access.isKnown,
            context.backends.descriptors,
        )
