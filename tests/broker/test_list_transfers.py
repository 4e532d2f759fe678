"""What lists on their way in cost: what many of them have in common is kept once, and nothing is kept for longer."""

from __future__ import annotations

from broker.list_transfers import Key, ListTransfers
from protocol.codec import Decoder, encode
from protocol.messages import Entry, FileList
from tests.broker.scenes import entry

LISTS, FILES = 5, 20
decoder: Decoder[FileList] = Decoder(FileList)


def key(number: int) -> Key:
    return f"peer-{number}", bytes(16), 1


def take(transfers: ListTransfers, number: int, *entries: Entry) -> list[Entry]:
    """One more page of list ``number``, from the wire; all that is known of that list."""
    transfer = transfers.get(key(number)) or transfers.start(
        key(number), "", "tcp://10.0.0.9:1", "10.0.0.9", joining=True, now=0.0
    )
    page = FileList(1, key(number)[0], bytes(16), transfer.list_id, transfer.next_page, False, 1, list(entries))
    transfers.take(key(number), transfer, decoder.decode(encode(page)), now=0.0)
    transfers.check_invariants()
    return list(transfer.entries.values())


def test_equal_entries_of_many_lists_are_kept_once() -> None:
    transfers = ListTransfers()
    files = [entry(number) for number in range(FILES)]
    lists = [take(transfers, number, *files) for number in range(LISTS)]
    assert all(found == files for found in lists)
    assert {id(one) for found in lists for one in found} == {id(one) for one in lists[0]}


def test_entries_of_one_content_that_differ_are_told_apart() -> None:
    transfers = ListTransfers()
    first, second = take(transfers, 1, entry(1)), take(transfers, 2, entry(1, "partial"))
    assert (first, second) == ([entry(1)], [entry(1, "partial")])


def test_nothing_is_kept_of_lists_that_are_gone() -> None:
    transfers = ListTransfers()
    for number in range(LISTS):
        take(transfers, number, *(entry(FILES * number + file) for file in range(FILES)))
    for number in range(LISTS):
        transfers.drop(key(number))
        transfers.check_invariants()


def test_a_list_that_names_one_content_again_and_again_is_not_kept_as_often() -> None:
    transfers = ListTransfers()
    for number in range(10 * FILES):
        assert take(transfers, 1, entry(1, name=f"name-{number}")) == [entry(1, name=f"name-{number}")]
