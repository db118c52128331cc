"""OpenAI's library against `escriba up`: as the guide shows it, with engines that really hear."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from openai import OpenAI

from tests.conftest import ROOT
from tests.e2e.test_third_party_engine import TURN_SECONDS, write_speech
from tests.support.whole import Whole

GUIDE = (ROOT / "docs/howto/openai-clients.md").read_text()
SAMPLE = ROOT / "samples/consultation.flac"


def shown(language: str, url: str) -> str:
    """The guide's first block in that language, at the address of this platform."""
    found = re.search(rf"^```{language}\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
    assert found is not None
    block = found[1]
    assert "http://127.0.0.1:8000" in block
    return block.replace("http://127.0.0.1:8000", url)


def run(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def client(whole: Whole) -> OpenAI:
    return OpenAI(base_url=f"{whole.url}/v1", api_key="any", timeout=300)


@pytest.fixture(scope="module")
def two_turns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The beginning of the sample."""
    return write_speech(tmp_path_factory.mktemp("speech") / "two-turns.wav", seconds=2 * TURN_SECONDS)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl: apt-get install curl")
def test_the_guide_s_programme_and_its_curl_hear_the_same(whole: Whole) -> None:
    by_programme = run(sys.executable, "-c", shown("python", whole.url))
    by_curl = json.loads(run("sh", "-euc", shown("sh", whole.url)))
    assert by_programme.strip() == by_curl["text"] != ""


def test_two_speakers_are_told_apart_by_letters(client: OpenAI) -> None:
    with SAMPLE.open("rb") as recording:
        found = client.audio.transcriptions.create(file=recording, model="sphinx", response_format="diarized_json")
    assert {segment.speaker for segment in found.segments} == {"A", "B"}
    assert found.segments[0].speaker == "A"


def test_a_stream_says_every_word_of_the_text_once(client: OpenAI, two_turns: Path) -> None:
    with two_turns.open("rb") as recording:
        told = list(client.audio.transcriptions.create(file=recording, model="sphinx", stream=True))
    assert told[-1].type == "transcript.text.done"
    assert "".join(event.delta for event in told if event.type == "transcript.text.delta") == told[-1].text
    assert len(told) > 10


def test_words_have_times(client: OpenAI, two_turns: Path) -> None:
    with two_turns.open("rb") as recording:
        found = client.audio.transcriptions.create(
            file=recording, model="sphinx", response_format="verbose_json", timestamp_granularities=["word", "segment"]
        )
    assert found.words
    assert found.segments
    assert found.language == "english"
    assert " ".join(word.word for word in found.words) == found.text


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # OpenAI's word; they can be had all the same
def test_an_engine_that_does_not_translate_is_refused_with_those_that_do(client: OpenAI) -> None:
    with SAMPLE.open("rb") as recording, pytest.raises(Exception, match="engine 'sphinx' cannot honour 'translation'"):
        client.audio.translations.create(file=recording, model="sphinx")
