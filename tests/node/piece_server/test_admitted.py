"""Whose keys a piece server admits, after what the agent has said."""

from __future__ import annotations

from node.local_messages import MemberKeys
from node.piece_server.admitted import Admitted


def test_members_come_and_go_one_by_one() -> None:
    admitted = Admitted()
    assert "a" not in admitted
    assert not admitted.told(MemberKeys(["a", "b"], [], whole=False))
    assert "a" in admitted
    assert admitted.told(MemberKeys([], ["a"], whole=False)), "connections of it may be open"
    assert "a" not in admitted
    assert "b" in admitted


def test_a_list_of_all_shuts_out_who_is_not_in_it() -> None:
    admitted = Admitted()
    admitted.told(MemberKeys(["a", "b"], [], whole=False))
    assert admitted.told(MemberKeys(["b", "c"], [], whole=True))
    assert [key in admitted for key in "abc"] == [False, True, True]
    assert not admitted.told(MemberKeys(["b", "c"], [], whole=True))


def test_who_is_removed_and_added_at_once_stays() -> None:
    admitted = Admitted()
    admitted.told(MemberKeys(["a"], [], whole=True))
    admitted.told(MemberKeys(["a"], ["a"], whole=False))
    assert "a" in admitted
