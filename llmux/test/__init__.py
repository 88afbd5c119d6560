"""
Tests for L{llmux}: run them with C{trial llmux}.
"""
