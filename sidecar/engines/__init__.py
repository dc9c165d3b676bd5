"""The programs that make snapshots, behind one interface.

In come a repository, a plan and a retention of Backrest's document; out come command lines that
are run at once, their interpreted results, progress, snapshots and their entries.
"""
