"""The commands of backrest-sidecar, grouped by what people use them for.

In come flags. Each command makes `ReconcilerSettings` of them, calls one function, and shows what
that returns.
"""
