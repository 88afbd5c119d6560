"""
What is done from a shell beside serving: to look at a llmux that runs, to
steer it, and to get one going.
"""
