"""
What llmux costs, measured.
"""
