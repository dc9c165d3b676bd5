"""rsync behind the interface of the engines: folders with dates, in which files are linked.

`commands` builds command lines, `program` runs them, `interpret` and `output` read what they
said; `repository` keeps the folders, and the engine puts these together.
"""

from sidecar.engines.rsync.engine import RsyncEngine, RsyncEngines
from sidecar.engines.rsync.options import RsyncOptions

__all__ = ["RsyncEngine", "RsyncEngines", "RsyncOptions"]
