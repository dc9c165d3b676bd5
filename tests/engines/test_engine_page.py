"""The page of the engines says what the programs that are here can do."""

from dataclasses import fields

from engine_page import RETENTIONS, columns, render_value
from sidecar.backrest.engine_name import EngineName
from sidecar.engines.base import Capabilities
from sidecar.engines.registry import all_engines
from sidecar.engines.restic import ResticOptions
from tests.engines.bench import Bench, ResticBench


def test_each_engine_stands_there(restic: ResticBench) -> None:
    """With what it can, and with what a retention means."""
    engines = all_engines(restic.runner, ResticOptions(restic.environ)).engines

    assert engines.keys() == columns().keys() == RETENTIONS.keys()


def test_the_page_says_what_the_program_can(bench: Bench, kind: str) -> None:
    """Word for word; what came with a later version an older one may lack."""
    can = bench.engine().capabilities()
    column = columns()[EngineName(kind.partition("-")[0])]

    for one in fields(Capabilities):
        word, _, condition = column[one.name].partition(", ")
        allowed = {word, "no"} if condition.startswith("since") else {word}
        assert render_value(getattr(can, one.name)) in allowed, one.name
