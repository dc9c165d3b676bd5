"""The bundled runner: it executes Backrest's document without Backrest.

In come the document, the clock and requests over the control socket; out come runs of its jobs,
recorded in the journal, reported to the log, notifications and markers, and judged as health.
"""
