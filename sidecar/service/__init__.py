"""What both daemons are made of: start, signals, health, heartbeat, metrics, file watch.

In come callbacks, findings and tables of the program; out go hints, exit codes, a heartbeat file
and the text of a metrics page. Nothing here knows what the daemon does.
"""
