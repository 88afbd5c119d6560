"""
Tests for L{llmux}: run them with C{trial llmux}.
"""

import contextlib

# Tests of properties say what must hold, not how fast a machine is.
with contextlib.suppress(ImportError):
    from hypothesis import HealthCheck, settings

    settings.register_profile(
        "llmux", deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("llmux")
