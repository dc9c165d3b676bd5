"""Labels: their registry, their syntax, and what the operator lets them do.

In: the labels of a container and of its image, and the operator's `Policy`. Out: a `LabelSpec`
with typed values, and `Problem`s with stable reason codes.
"""
