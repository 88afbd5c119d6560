# -*- test-case-name: llmux.test.test_policies -*-
"""
Switch policies, found by the name that stands in the configuration.

Other packages add theirs by an entry point in the group C{llmux.policies}
whose name is the policy's and whose object, called without arguments, returns
an L{llmux.interfaces.ISwitchPolicy}::

    [options.entry_points]
    llmux.policies =
        night-shift = mypackage.policy:NightShift
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import entry_points
from typing import cast

from llmux.interfaces import ISwitchPolicy

#: The entry point group of policies from other packages.
GROUP = "llmux.policies"

#: llmux's own, which need no installation to be found.
_OWN = {
    "cost-aware": "llmux.policies.costaware:CostAware",
    "fifo": "llmux.policies.fifo:FirstComeFirstServed",
}


def names() -> list[str]:
    """
    @return: the names of all policies that can be found, sorted.
    """
    return sorted({*_OWN, *(point.name for point in entry_points(group=GROUP))})


def find(name: str) -> Callable[[], ISwitchPolicy]:
    """
    Find a policy.

    @param name: as in C{policy.name}.
    @return: makes a new policy of that name.
    @raise LookupError: there is none; its message names what there is.
    """
    if name in _OWN:
        module, attribute = _OWN[name].split(":")
        return cast(
            "Callable[[], ISwitchPolicy]", getattr(import_module(module), attribute)
        )
    for point in entry_points(group=GROUP, name=name):
        return cast("Callable[[], ISwitchPolicy]", point.load())
    near = get_close_matches(name, names(), 1)
    hint = f'did you mean "{near[0]}"?' if near else f"there are: {', '.join(names())}"
    raise LookupError(f'no policy is named "{name}", {hint}')
