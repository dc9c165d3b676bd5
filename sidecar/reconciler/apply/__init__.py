"""Make Backrest load the document: through its API, else by a restart of its container.

In comes the desired state of each pass. Out go saves through the API, or a restart when
Backrest is idle, and results such as `applied` or `waiting` for the report.
"""
