"""Backrest's side: its document and its HTTP API, as Backrest itself reads and writes them.

In come the bytes of `config.json` or of an answer of the API; out go typed views, faults
(why Backrest would refuse the document), and the next bytes, in which everything that is
not ours stays as it was written. All but `api` and `operations` is pure.
"""
