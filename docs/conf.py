"""
How Sphinx builds the documentation.
"""

from llmux import __version__

project = "llmux"
author = "the llmux authors"
version = release = __version__
html_theme = "alabaster"
html_theme_options = {"description": "Many language models behind one address"}
exclude_patterns = ["_build"]
highlight_language = "yaml"
