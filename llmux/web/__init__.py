"""
HTTP: what clients say to llmux, and what llmux says to the servers of models.
"""
