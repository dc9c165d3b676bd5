"""The doctor: checks of everything that the sidecar depends on, with a hint for what is wrong.

In come the settings; checks ask this machine, Docker, Backrest's container and its API.
Out goes a report with one result for each check, in their order.
"""
