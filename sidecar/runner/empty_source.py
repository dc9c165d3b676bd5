"""Plans whose paths have become empty: told, not thinned out, and restored where that is wanted."""

from sidecar.runner.decide import Decision, Seen, Situation, Verdict, decide, remembered
from sidecar.runner.observe import Choice, Emptiness, Engines, look

__all__ = [
    "Choice",
    "Decision",
    "Emptiness",
    "Engines",
    "Seen",
    "Situation",
    "Verdict",
    "decide",
    "look",
    "remembered",
]
