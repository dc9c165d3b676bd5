"""Proving that a snapshot can be restored, by restoring a sample of it.

In come a plan, its engine and how many files of which size. Out goes a `Verification`: which
files are as they should be, and in what others differ.
"""
