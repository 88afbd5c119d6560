"""
Makes C{twist llmux} known.  Imports nothing of llmux, nor the reactor, so that
listing plugins stays cheap.
"""

from twisted.application.service import ServiceMaker

llmux = ServiceMaker(
    "llmux",
    "llmux.tap",
    "Many language models behind one address, woken and put to sleep on demand.",
    "llmux",
)
