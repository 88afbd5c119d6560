# -*- test-case-name: llmux.test.test_checks -*-
"""
Everything that can be known to be wrong before anything is served: what
L{llmux.config} finds, and a policy that is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from llmux import policies
from llmux.config import Config
from llmux.config import load as loadConfig
from llmux.errors import ConfigError, Problem

__all__ = ["check", "load"]


def load(path: str, environment: Mapping[str, str]) -> Config:
    """
    Load a configuration that can be served.

    @param path: as for L{llmux.config.load}.
    @param environment: as for L{llmux.config.load}.
    @raise ConfigError: if anything is wrong, with all that is.
    """
    return loadConfig(path, environment, partial(_found, policies.find))


def check(path: str, environment: Mapping[str, str]) -> tuple[Problem, ...]:
    """
    @return: what L{load} finds wrong, in the order of the file.
    """
    try:
        load(path, environment)
    except ConfigError as error:
        return error.problems
    return ()


def _found(find: Callable[[str], object], name: str) -> object:
    """
    Find a policy.

    @raise LookupError: there is none, or it is of another package, in which
        anything can be wrong.
    """
    try:
        return find(name)
    except LookupError:
        raise
    except Exception as error:
        raise LookupError(
            f'the policy "{name}" cannot be loaded: {type(error).__name__}: {error}'
        ) from error
