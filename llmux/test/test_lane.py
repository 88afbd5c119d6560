"""
The conformance suite, run on L{ProxySite} with the lane.
"""

from __future__ import annotations

from llmux.test import _conformance
from llmux.test._wire import REACTOR
from llmux.web.exchange import Context
from llmux.web.lane import Lane
from llmux.web.resource import ProxyResource
from llmux.web.site import ProxySite


class LaneTests(_conformance.Conformance):
    """
    The site as the service builds it, with C{lane} on.
    """

    def frontEnd(self, context: Context) -> ProxySite:
        """
        See L{WireCase.frontEnd}.
        """
        resource = ProxyResource(context)
        site = ProxySite(
            resource,
            REACTOR,
            context.config.limits,
            context.access.isKnown,
            context.backends.descriptors,
        )
        lane = Lane(context, resource.serves)
        self.addCleanup(lane.close)
        site.protocol = lane.protocol  # type: ignore[assignment]
        return site
