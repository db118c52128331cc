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
Hear = Callable[[str], Heard]


@pytest.fixture(scope="module")
async def decoded(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Path]:
    folder = tmp_path_factory.mktemp("decoded")
    found = {path: folder / f"{path.parent.name}-{path.name}.wav" for path in RECORDINGS}
    for path, target in found.items():
        await decode(shared_data / path, target, DecodeLimits(max_seconds=600, memory_bytes=2 << 30))
    return found


@pytest.fixture(scope="module")
def hear(whole: Whole, shared_data: Path) -> Hear:
    """What the platform says of every recording, all of them queued at once."""

    def heard(engine: str) -> Heard:
        jobs = {path: whole.submit(shared_data / path, engine=engine) for path in RECORDINGS}
        until(lambda: all(whole.status(job)["status"] == "completed" for job in jobs.values()), within=600)
        return {path: str(whole.result(job)["text"]) for path, job in jobs.items()}

    return heard


def word_error_rate(heard: Heard) -> float:
    plain = jiwer.Compose([jiwer.ToLowerCase(), jiwer.RemovePunctuation(), jiwer.Strip(), jiwer.RemoveMultipleSpaces()])
    english = [path for path in heard if path.parent.name == "en" and (SHARED / path).with_suffix(".txt").exists()]
    said = [plain((SHARED / path).with_suffix(".txt").read_text()) for path in english]
    return float(jiwer.wer(said, [plain(heard[path]) for path in english]))


def test_sphinx(hear: Hear, decoded: dict[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    heard = hear("sphinx")
    decoder = Decoder(samprate=16000, loglevel="FATAL")
    for path, text in heard.items():
        assert text == sphinx_directly(decoder, samples_of(decoded[path])), path
    with capsys.disabled():
        print(f"\nsphinx, {len(heard)} recordings; WER on en: {word_error_rate(heard):.3f}")


def test_whisper(hear: Hear, decoded: dict[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    heard = hear("whisper")
    model = WhisperModel(str(MICRO_WHISPER), device="cpu", compute_type="int8")
    for path, text in heard.items():
        _, words = whisper_directly(model, samples_of(decoded[path]))
        assert text.split() == "".join(word.word for word in words).split(), path
    with capsys.disabled():
        print(f"\nwhisper-micro, {len(heard)} recordings; WER on en: {word_error_rate(heard):.3f}")
