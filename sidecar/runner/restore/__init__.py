"""Restoring a plan's data to where it lives, or elsewhere.

In comes what somebody wants restored (`RestoreRequest`). Out goes first what would be done
(`RestorePlan`), with nothing changed, then the end of the run. Data is restored aside and moved
in when it is whole, so a kill leaves what was there before, or what was restored.
"""
