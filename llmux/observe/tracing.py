# -*- test-case-name: llmux.test.test_observe_traces -*-
"""
Whether there are traces: OpenTelemetry is only imported if there are.
"""

from __future__ import annotations

from typing import Any

from llmux.errors import ConfigError

__all__ = ["tracesFor"]


def tracesFor(setting: str, reactor: Any, provider: Any = None) -> list[Any]:
    """
    @param setting: a configuration's C{traces}.
    @param provider: OpenTelemetry's C{TracerProvider} of a program that has
        one, which is used whatever the setting is.
    @return: one L{llmux.observe.traces.Traces}, or none.
    @raise ConfigError: OpenTelemetry is not installed.
    """
    if setting == "off" and provider is None:
        return []
    try:
        from llmux.observe.traces import Traces, otlpTraces
    except ModuleNotFoundError as error:
        raise ConfigError.one(
            f"traces need what is not installed ({error.name}): "
            "pip install 'llmux[traces]'",
            "traces",
        ) from None
    return [otlpTraces(reactor) if provider is None else Traces(provider, reactor)]
