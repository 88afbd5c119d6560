"""
Tests of what tries to break llmux: it has to see what is broken.
"""
