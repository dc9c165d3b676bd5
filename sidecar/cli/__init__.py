"""The command lines of both programs: flags → settings → one call → output.

In come words and variables. Out go tables, JSON and diffs on standard output, errors and progress
on standard error, and an exit status. A command imports what it needs when it runs, so that a
cold start stays short.
"""
