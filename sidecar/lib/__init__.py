"""What knows nothing of backups: files, processes, threads, time, texts, errors, the log.

In come plain values, out go plain values; no other package of ours is imported.
"""
