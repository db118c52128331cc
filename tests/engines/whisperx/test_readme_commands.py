"""The README's curl commands for WhisperX, as they stand there, against `escriba up` that has started it."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from tests.support import readme
from tests.support.by_curl import NAMED, Spoken, plain, recordings, send, table
from tests.support.whisperx_engine import Environ, Models
from tests.support.whisperx_texts import texts_of
from tests.support.whole import Whole, whole_platform

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl: apt-get install curl")

UNALIGNED = {"es", "pt", "fr"}
"""The aligner of the tests knows English alone."""


@pytest.fixture(scope="module")
def whole(environ: Environ, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    with whole_platform(tmp_path_factory.mktemp("readme"), **environ) as platform:
        yield platform


@pytest.fixture(scope="module")
def spoken(shared_data: Path) -> list[Spoken]:
    return recordings(shared_data)


@pytest.fixture(scope="module")
async def directly(
    spoken: list[Spoken], whisperx_python: Path, models: Models, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[str, list[str]]]:
    """By a recording's folder: language and words as the library itself hears them, sorted where it has channels."""
    folder = tmp_path_factory.mktemp("decoded")
    waves = {each.folder: await each.decoded(folder) for each in spoken}
    heard = iter(
        texts_of([wave for each in waves.values() for wave in each], python=whisperx_python, whisper=models.whisper)
    )
    found = {}
    for name, channels in waves.items():
        languages, texts = zip(*(next(heard) for _ in channels), strict=True)
        words = plain(" ".join(texts))
        found[name] = (languages[0], words if len(channels) == 1 else sorted(words))
    return found


def test_whisperx_hears_every_kind_of_recording(
    whole: Whole,
    spoken: list[Spoken],
    directly: dict[str, tuple[str, list[str]]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    outcomes = [send(each, "transcribe/whisperx", url=whole.url, instead=NAMED.get(each.folder)) for each in spoken]
    with capsys.disabled():
        Console(width=140).print(table(outcomes))
    assert {each.spoken.folder: (each.result["language"], each.words) for each in outcomes} == directly
    assert all(each.result["engine"] == "whisperx" for each in outcomes)
    expected = {each.folder: ["alignment_unavailable"] if each.folder in UNALIGNED else [] for each in spoken}
    assert {each.spoken.folder: each.warnings for each in outcomes} == expected
    by_folder = {each.spoken.folder: each for each in outcomes}
    assert 2 <= len(by_folder["multi"].speakers) <= 4
    assert by_folder["multi"].result["speakers_from"] == "whisperx"
    assert (by_folder["stereo"].speakers, by_folder["stereo"].result["speakers_from"]) == ({0, 1}, "channels")


def test_a_podcast_has_subtitles_and_its_speakers_are_told_apart_anew(
    whole: Whole, spoken: list[Spoken], directly: dict[str, tuple[str, list[str]]]
) -> None:
    podcast = next(each for each in spoken if each.folder == "multi")
    blocks = [readme.block_with("$jobs/transcribe/whisperx |"), readme.block_with("/rerun")]
    first, again = readme.run(blocks, url=whole.url, instead={"@podcast.mp3": f"@{podcast.path}"})
    _, words = directly["multi"]
    for said in (first, again):
        assert [word for cue in cues_in(said) for word in plain(cue)] == words
    assert 2 <= len(speakers_in(first)) <= 4
    assert len(speakers_in(again)) == 3
    assert stages_in(again) <= {"diarize"} < stages_in(first)


def cues_in(said: str) -> list[str]:
    """The text of each cue of the subtitles that a block ends with."""
    subtitles = said.partition("WEBVTT\n")[2]
    return [re.sub(r"<[^>]*>", "", cue.partition("\n")[2]) for cue in subtitles.strip().split("\n\n")]


def speakers_in(said: str) -> set[str]:
    return set(re.findall(r"<v ([^>]*)>", said.partition("WEBVTT\n")[2]))


def stages_in(said: str) -> set[str]:
    """In which progress was told."""
    events = [json.loads(line.removeprefix("data: ")) for line in said.splitlines() if line.startswith("data: ")]
    return {event["stage"] for event in events if event["type"] == "progress"}
