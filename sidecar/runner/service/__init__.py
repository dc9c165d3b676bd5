"""The loop and what sits around it: seats, locks, the control socket, the parts put together."""
