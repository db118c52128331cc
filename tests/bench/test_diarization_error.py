"""The diarization error rate, on cases that can be worked out by hand."""

import pytest

from bench.diarization_error import Errors, Turn, errors

DIALOGUE = [Turn(0, 10, "ann"), Turn(10, 20, "bob")]


def test_names_do_not_matter_only_who_is_who() -> None:
    assert errors(DIALOGUE, [Turn(0, 10, "1"), Turn(10, 20, "0")]) == Errors(20, 0, 0, 0)


def test_all_as_one_speaker_is_wrong_about_the_one_who_speaks_less() -> None:
    assert errors([Turn(0, 12, "ann"), Turn(12, 20, "bob")], [Turn(0, 20, "0")]) == Errors(20, 0, 0, 8)


def test_speakers_are_matched_in_the_best_way_there_is() -> None:
    # "0" has 6 s of ann and 5 s of bob, "1" 5 s of ann: ann with "1" and bob with "0" is better than ann with "0".
    found = [Turn(0, 6, "0"), Turn(6, 11, "1"), Turn(11, 16, "0")]
    assert errors([Turn(0, 11, "ann"), Turn(11, 16, "bob")], found) == Errors(16, 0, 0, 6)


def test_missed_speech_and_speech_where_there_is_none_are_counted() -> None:
    assert errors([Turn(0, 10, "ann")], [Turn(4, 12, "0")]) == Errors(10, 4, 2, 0)


def test_two_at_once_count_twice_and_one_of_them_is_missed() -> None:
    both = [Turn(0, 10, "ann"), Turn(5, 10, "bob")]
    measured = errors(both, [Turn(0, 10, "0")])
    assert measured == Errors(15, 5, 0, 0)
    assert measured.rate == pytest.approx(1 / 3)


def test_nothing_counts_within_the_collar_of_a_turns_edges() -> None:
    late = [Turn(0.2, 10.2, "0"), Turn(10.2, 20.2, "1")]
    assert errors(DIALOGUE, late).rate == pytest.approx(0.6 / 20)
    assert errors(DIALOGUE, late, collar=0.25).rate == 0
    assert errors(DIALOGUE, [], collar=0.25).spoken == pytest.approx(19)


def test_nothing_found_is_all_missed() -> None:
    assert errors(DIALOGUE, []).rate == 1
