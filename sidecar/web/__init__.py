"""What both daemons show to others: pages over HTTP, and the runner's control socket.

In come a daemon's report and what may be asked of the runner (`ControlApi`). Out go pages for
people and Prometheus, and streams of a job's events for the runner's own commands. One event loop
serves all of it (`HttpHost`). The daemons do not know this package: the command line passes them
`serve`.
"""
