"""From labels and mounts to plans: pure, without I/O, clock, random or environment.

In: what Docker shows (`Inventory`), the operator's `Policy`, the document as it is and the
history of earlier passes. Out: a `Proposal`, which is the next document, what changes in it and
why, and the problems. `propose` is the whole pass; `coverage` and `lint` explain its result.
"""
