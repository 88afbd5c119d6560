"""
Scheduling: policies on synthetic traffic, in virtual time.
"""
