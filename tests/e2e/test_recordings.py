"""Every recording of ../shared/data through the HTTP API: word for word what the library says when called directly."""

from collections.abc import Callable
from pathlib import Path

import jiwer
import pytest
from faster_whisper import WhisperModel
from pocketsphinx import Decoder

from media.decode import DecodeLimits, decode
from tests.conftest import SHARED
from tests.e2e.conftest import MICRO_WHISPER
from tests.support.directly import samples_of, sphinx_directly, whisper_directly
from tests.support.waiting import until
from tests.support.whole import Whole

KINDS = {".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus", ".webm", ".mp4", ".wma"}
RECORDINGS = [
    path.relative_to(SHARED)
    for folder in ("en", "es", "fr", "pt", "formats")
    for path in sorted((SHARED / folder).glob("*"))
    if path.suffix in KINDS
]

Heard = dict[Path, str]
Submit = Callable[[str], Callable[[], Heard]]


@pytest.fixture(scope="module")
async def decoded(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Path]:
    folder = tmp_path_factory.mktemp("decoded")
    found = {path: folder / f"{path.parent.name}-{path.name}.wav" for path in RECORDINGS}
    for path, target in found.items():
        await decode(shared_data / path, target, DecodeLimits(max_seconds=600, memory_bytes=2 << 30))
    return found


@pytest.fixture(scope="module")
def submit(whole: Whole, shared_data: Path) -> Submit:
    """Has the platform hear every recording, all queued at once; gives what tells, in the end, what was heard."""

    def submitted(engine: str) -> Callable[[], Heard]:
        jobs = {path: whole.submit(shared_data / path, engine=engine) for path in RECORDINGS}

        def heard() -> Heard:
            until(lambda: all(whole.status(job)["status"] == "completed" for job in jobs.values()), within=600)
            return {path: str(whole.result(job)["text"]) for path, job in jobs.items()}

        return heard

    return submitted


def word_error_rate(heard: Heard) -> float:
    plain = jiwer.Compose([jiwer.ToLowerCase(), jiwer.RemovePunctuation(), jiwer.Strip(), jiwer.RemoveMultipleSpaces()])
    english = [path for path in heard if path.parent.name == "en" and (SHARED / path).with_suffix(".txt").exists()]
    said = [plain((SHARED / path).with_suffix(".txt").read_text()) for path in english]
    return float(jiwer.wer(said, [plain(heard[path]) for path in english]))


def test_sphinx(submit: Submit, decoded: dict[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    heard = submit("sphinx")
    decoder = Decoder(samprate=16000, loglevel="FATAL")
    directly = {path: sphinx_directly(decoder, samples_of(decoded[path])) for path in RECORDINGS}
    assert heard() == directly
    with capsys.disabled():
        print(f"\nsphinx, {len(directly)} recordings; WER on en: {word_error_rate(directly):.3f}")


def test_whisper(submit: Submit, decoded: dict[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    heard = submit("whisper")
    model = WhisperModel(str(MICRO_WHISPER), device="cpu", compute_type="int8")
    directly = {path: _words(model, decoded[path]) for path in RECORDINGS}
    assert {path: text.split() for path, text in heard().items()} == directly
    with capsys.disabled():
        said = {path: " ".join(words) for path, words in directly.items()}
        print(f"\nwhisper-micro, {len(said)} recordings; WER on en: {word_error_rate(said):.3f}")


def _words(model: WhisperModel, decoded: Path) -> list[str]:
    _, words = whisper_directly(model, samples_of(decoded))
    return "".join(word.word for word in words).split()
