"""The README's curl commands, as they stand there, against `escriba up` with a Riva that is as strict as the real one.

WhisperX's are in tests/engines/whisperx/test_readme_commands.py.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from tests.conftest import SHARED
from tests.e2e.conftest import MICRO_WHISPER
from tests.support import readme
from tests.support.by_curl import answers_in, consultation, plain, readable, recordings, script_of, send, table
from tests.support.riva.reciting import reciting_riva, write_script
from tests.support.whole import Whole, whole_platform

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl: apt-get install curl")

NOT_SET_UP = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
async def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Riva says of the sample, and of the shared recordings where they are there."""
    folder = tmp_path_factory.mktemp("script")
    spoken = [consultation(), *(recordings(SHARED) if SHARED.is_dir() else [])]
    return write_script(await script_of(spoken, folder), folder / "script.json")


@pytest.fixture(scope="module")
def whole(script: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """With Riva, and without WhisperX even where that is installed."""
    environ = {"WHISPER_MODEL": str(MICRO_WHISPER), "WHISPER_DEVICE": "cpu"} if MICRO_WHISPER.is_dir() else {}
    home = tmp_path_factory.mktemp("readme")
    with (
        reciting_riva(script, speakers=True) as uri,
        whole_platform(home, RIVA_URI=uri, WHISPERX_SERVICE_URL=NOT_SET_UP, **environ) as platform,
    ):
        yield platform


def test_auto_takes_the_best_engine_that_is_ready(whole: Whole) -> None:
    (said,) = readme.run([readme.block_with("engine=auto")], url=whole.url)
    status, result = answers_in(said)
    assert (status["job_id"], status["status"]) == (result["job_id"], "completed")
    assert (result["engine"], result["engine_reason"]) == ("asr", "the best engine that is ready and knows en")
    assert sorted(plain(result["text"])) == consultation().words


def test_a_consultation_with_its_vocabulary(whole: Whole, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = send(consultation(), "transcribe/asr", url=whole.url)
    result = outcome.result
    with capsys.disabled():
        print("\n" + readable(result))
    assert outcome.turns == consultation().turns("provider", "patient")
    vocabulary = result["vocabulary"]
    assert (vocabulary["used"], vocabulary["matched"]) == (["blood pressure", "salbutamol"], ["blood pressure"])
    assert (result["speakers_from"], outcome.warnings) == ("channels", [])


def test_asr_hears_every_kind_of_recording(whole: Whole, shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = [
        send(spoken, "transcribe/asr", url=whole.url, instead={"language=en-US": f"language={spoken.language}"})
        for spoken in recordings(shared_data)
    ]
    with capsys.disabled():
        Console(width=140).print(table(outcomes))
    assert {each.result["engine"] for each in outcomes} == {"asr"}
    for each in outcomes:
        assert each.words == each.spoken.words
        assert len(each.speakers) == {"stereo": 2, "multi": 3}.get(each.spoken.folder, 1)
        assert each.warnings == ([] if each.spoken.folder == "stereo" else ["channel_roles_unused"])


@pytest.mark.parametrize("engine", ["sphinx", "whisper"])
def test_an_engine_of_the_platform_s_own_by_its_name(whole: Whole, shared_data: Path, engine: str) -> None:
    if engine == "whisper" and not MICRO_WHISPER.is_dir():
        pytest.skip("needs the model ../shared/data/models/whisper-micro-ct2")
    english, *_ = recordings(shared_data)
    outcome = send(english, "transcribe", url=whole.url, instead={"engine=auto": f"engine={engine}"})
    assert outcome.result["engine"] == engine
    assert set(outcome.words) & set(english.words), "PocketSphinx hears some of it"
    if engine == "whisper":
        assert outcome.words == english.words


def test_a_submission_that_is_sent_again_makes_one_job(whole: Whole) -> None:
    block = readme.block_with("Idempotency-Key")
    first, again = (json.loads(said) for said in readme.run([block, block], url=whole.url))
    assert first["job_id"] == again["job_id"]
    (other,) = readme.run([block], url=whole.url, instead={"visit-2026-0417": "visit-2026-0418"})
    assert json.loads(other)["job_id"] != first["job_id"]


def test_no_command_is_left_untried() -> None:
    """Every block is one of these, or one of WhisperX's."""
    whisperx = ("$jobs/transcribe/whisperx", "/rerun")
    here = ("engine=auto", "$jobs/transcribe/asr", "Idempotency-Key")
    assert sorted(readme.curl_blocks()) == sorted(readme.block_with(mark) for mark in (*here, *whisperx))
