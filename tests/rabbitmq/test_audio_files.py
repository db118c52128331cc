"""P13 for audio_file_path: whatever a request names, nothing is opened that does not lie below a served folder."""

import os
import socket
from pathlib import Path

import pytest

from config.rabbitmq_settings import Root
from domain.errors import TooLarge
from domain.request_errors import AudioFileNotFound, AudioFileRefused, AudioFilesOff
from rabbitmq.audio_files import AudioFile, locate
from tests.support.path_races import LIMIT, Ground, escapes, hostile_paths, opened, read


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground.make(tmp_path)


def test_a_file_below_a_root_is_read(ground: Ground) -> None:
    assert read(ground, f"{ground.served}/a.wav") == b"served"
    assert read(ground, f"{ground.served}//folder/./b.wav") == b"served"


def test_two_hundred_hostile_paths_open_nothing_outside(ground: Ground) -> None:
    paths = hostile_paths(ground)
    assert len(set(paths)) >= 200
    assert opened(ground, paths) == 0


def test_ten_thousand_races_against_links_are_lost_by_none(ground: Ground) -> None:
    found = escapes(ground, times=10_000)
    assert min(found.read, found.refused) > 0
    assert found.escaped == 0


def test_without_a_root_nothing_is_served(ground: Ground) -> None:
    with pytest.raises(AudioFilesOff):
        locate((), f"{ground.served}/a.wav")


def test_what_lies_outside_is_refused_in_the_same_words_whether_it_is_there_or_not(ground: Ground) -> None:
    said = set()
    for path in (ground.secret, ground.outside / "nothing.wav", Path("/etc/passwd"), ground.served / ".." / "outside"):
        with pytest.raises(AudioFileRefused) as refused:
            read(ground, str(path))
        said.add(str(refused.value))
    assert len(said) == 1


def test_what_is_no_regular_file_is_not_found_and_holds_nobody_up(ground: Ground) -> None:
    os.mkfifo(ground.served / "pipe.wav")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(ground.served / "socket.wav"))
        for name in ("pipe.wav", "socket.wav", "folder"):
            with pytest.raises(AudioFileNotFound):
                read(ground, f"{ground.served}/{name}")


def test_a_root_that_is_a_link_is_its_operators_wish(ground: Ground) -> None:
    link = ground.served.parent / "link"
    link.symlink_to(ground.served)
    file = AudioFile(locate((Root(link, "local"),), f"{link}/a.wav"), LIMIT)
    file.close()


def test_the_innermost_root_says_whose_a_file_is(ground: Ground) -> None:
    roots = (Root(ground.served, "ana"), Root(ground.served / "folder", "ben"), Root(Path("/"), "everybody"))
    assert locate(roots, f"{ground.served}/a.wav").root.owner == "ana"
    assert locate(roots, f"{ground.served}/folder/b.wav").root.owner == "ben"
    assert locate(roots, "/etc/passwd").root.owner == "everybody"
    with pytest.raises(AudioFileRefused):
        locate(roots[:2], f"{ground.served}er/a.wav")


def test_a_file_over_the_limit_is_too_large_also_where_it_grows(ground: Ground) -> None:
    (ground.served / "large.wav").write_bytes(bytes(LIMIT + 1))
    with pytest.raises(TooLarge):
        read(ground, f"{ground.served}/large.wav")
    file = AudioFile(locate(ground.roots, f"{ground.served}/a.wav"), LIMIT)
    (ground.served / "a.wav").write_bytes(bytes(LIMIT + 1))
    with pytest.raises(TooLarge):
        while file.read():
            pass
    file.close()
