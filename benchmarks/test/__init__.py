"""
Tests for the benchmarks' own arithmetic.
"""
