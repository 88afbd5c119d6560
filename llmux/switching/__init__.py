"""
Who is awake: queues, in-flight tokens, the states of models, and the switches
between them.
"""
