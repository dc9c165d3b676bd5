"""What a backup leaves out: restic's exclude patterns and flags, decided once for every engine.

In come the patterns and exclude flags of a plan, and its paths; out come the paths that are taken
and those that are left out, as literal names, which no program can read differently. `pattern`
and `matcher` are pure; `walk` reads names.
"""
