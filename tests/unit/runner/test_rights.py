"""What a process may give to files, as the kernel tells it."""

import os
from dataclasses import replace

from sidecar.runner.rights import GRANTABLE, Capability, Rights, parse_rights

STATUS = """\
Name:\tpython3
Uid:\t1000\t0\t0\t0
Gid:\t1000\t7\t7\t7
Groups:\t4 24
CapInh:\t0000000000000000
CapEff:\t00000000a80425fb
"""


def test_rights_are_the_effective_ones() -> None:
    """The capabilities are those that Docker grants if nothing is said."""
    rights = parse_rights(STATUS)

    assert (0, frozenset({7, 4, 24}), True) == (rights.user, rights.groups, rights.is_root)
    assert GRANTABLE == rights.capabilities


def test_what_the_kernel_does_not_tell_is_missing() -> None:
    """Nothing is given then."""
    rights = parse_rights("Name:\tpython3\n")

    assert (frozenset(), False) == (rights.capabilities, rights.is_root)


def test_a_root_without_the_right_to_open_everything_is_kept_out() -> None:
    """Whoever is not root has never had it."""
    root = parse_rights(STATUS)
    poor = replace(root, capabilities=frozenset())

    assert (False, True) == (root.is_kept_out, poor.is_kept_out)
    assert not replace(poor, user=1000).is_kept_out


def test_our_own_rights_are_read() -> None:
    """From the kernel."""
    rights = Rights.read()

    assert (os.geteuid(), True) == (rights.user, os.getegid() in rights.groups)
    assert rights.capabilities <= frozenset(Capability)
