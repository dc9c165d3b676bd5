"""The contract: all that the sidecar and a runner share. No I/O."""
