"""The commands of backrest-runner, grouped by what people use them for.

In come flags. Each command makes `RunnerSettings` of them, calls one function or asks the daemon,
and shows what comes of it.
"""
