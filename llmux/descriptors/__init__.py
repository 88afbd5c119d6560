# -*- test-case-name: llmux.test.test_descriptors -*-
"""
What is done when there are hardly any file descriptors left, so that whoever
has been let in is served, and that whoever has not waits to be.

A client is let in if there is a descriptor for its connection, one for that to
a model's server, and some for all else: hooks, large bodies, files.  If there
is not, connections to servers that wait for a request are closed, then those of
clients that have asked nothing for a while, the longest first.  Meanwhile new
clients wait in the system's queue, which Twisted would empty by closing their
connections unanswered.
"""

from __future__ import annotations

from llmux.descriptors._files import OpenFiles, isShortage
from llmux.descriptors._keeper import PATIENCE, Descriptors, IClosable
from llmux.descriptors._patient import PatientEndpoint

__all__ = [
    "PATIENCE",
    "Descriptors",
    "IClosable",
    "OpenFiles",
    "PatientEndpoint",
    "isShortage",
]
