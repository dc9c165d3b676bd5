"""backup-flags beyond what the golden cases show."""

import pytest

from sidecar.labels.values import split_flags
from sidecar.lib.text import SpecInvalid


def test_a_flag_longer_than_any_system_takes_is_refused() -> None:
    """Splitting gets slow on long words, so one label could hold up a pass."""
    assert split_flags("--tag " + "x" * 16_000) == ["--tag", "x" * 16_000]
    with pytest.raises(SpecInvalid, match="longer than 16384"):
        split_flags("x" * 16_385)
