"""
llmux beside nginx as a plain reverse proxy: what each costs for the same load
on the same machine at the same time.  C{python -m benchmarks.proxy --help}.
"""
