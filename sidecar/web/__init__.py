"""What both daemons show to others: pages over HTTP, and the runner's control socket.

In come a daemon's report (`ReconcilerReport`, `RunnerReport`) and what may be asked of the runner
(`ControlApi`). Out go pages for people and Prometheus, and JSON messages for the runner's own
commands. The daemons do not know this package: the command line passes them `serve`.
"""
