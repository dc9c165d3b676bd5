"""What both daemons are made of: start, signals, reports, health, heartbeat, metrics, file watch.

In come callbacks, facts, findings and tables of the program; out go hints, exit codes, snapshots of
the facts, a heartbeat file and the text of a metrics page. Nothing here knows what the daemon does.
"""
