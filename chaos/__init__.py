"""
What tries to break llmux.  Not part of the package that is installed.
"""
