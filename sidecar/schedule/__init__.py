"""Schedules: from a label or the document to a `Schedule`, and from that to moments and words.

A schedule label (`T T(1-5) * * *`, `@daily`, `every 6h`, `off`) becomes what Backrest stores;
`T` is the jitter that the plan's id decides. A stored schedule gives its fires, as Backrest
reckons them and as backrest-runner does, and a phrase for people.
"""
