"""The shell of the reconciler: engine in, document out."""
