"""
What tests of the configuration have in common.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping

from llmux.config import Config, parse
from llmux.errors import ConfigError

#: The three hooks, as they may stand in a mapping in flow style.
HOOKS = "wake: w, sleep: s, alive: a"


def lines(
    text: str,
    *,
    name: str = "c.yaml",
    environment: Mapping[str, str] | None = None,
    findPolicy: Callable[[str], object] | None = None,
) -> list[str]:
    """
    What is wrong with a configuration, a line for each thing; none if it is
    right.  The text may be indented.
    """
    try:
        read(text, name=name, environment=environment, findPolicy=findPolicy)
    except ConfigError as error:
        return str(error).splitlines()
    return []


def read(
    text: str,
    *,
    name: str = "c.yaml",
    environment: Mapping[str, str] | None = None,
    findPolicy: Callable[[str], object] | None = None,
) -> Config:
    """
    Make a configuration of text, which may be indented.
    """
    return parse(
        inspect.cleandoc(text) if text.startswith("\n") else text,
        name=name,
        folder="/somewhere",
        environment=environment or {},
        findPolicy=findPolicy,
    )
