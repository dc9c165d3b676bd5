"""One job from its begin to its end.

In comes a job that is due and the document; `worker` prepares it, `session` and `steps` run
hooks and engine in Backrest's order and record each step in the journal, so that `recovery` can
finish the run if the runner dies. Out come a run, its progress, and reports of it.
"""
