"""Videos with subtitles, as players see them."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from domain.cues import Cue
from domain.errors import BadMedia, EmptyMedia, EscribaError, MediaOutOfLimits, NoAudio, Unavailable, UnsupportedMedia
from domain.profiles import PROFILES
from domain.subtitles import WORD_JOINER
from media import fonts
from media.render import Captions, RenderLimits, burn, mux

LIMITS = RenderLimits(max_seconds=600, memory_bytes=4_294_967_296, max_video_bytes=50_000_000)
SECONDS = 3.0
CUES = (Cue(0.5, 1.5, ("Déjà vu,",), None, None), Cue(2.0, 2.9, ("Łódź — 25 %",), None, None))
CAPTIONS = Captions(CUES, SECONDS, "pt-BR")

Film = Callable[..., Path]


def run(ffmpeg: str, *arguments: str | Path) -> None:
    subprocess.run([ffmpeg, "-v", "error", "-y", *map(str, arguments)], check=True, stdin=subprocess.DEVNULL)


@pytest.fixture
def film(ffmpeg: str, tmp_path: Path) -> Film:
    """`film("a.mp4", "-c:a", "mp3", size="320x180")`: a black picture and a tone."""

    def make(name: str, *options: str, size: str = "320x180", seconds: float = SECONDS) -> Path:
        made = tmp_path / name
        picture = ["-f", "lavfi", "-i", f"color=c=black:s={size}:r=10:d={seconds}"]
        tone = ["-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}"]
        run(ffmpeg, *picture, *tone, "-shortest", *options, made)
        return made

    return make


@pytest.fixture
def tone(ffmpeg: str, tmp_path: Path) -> Path:
    made = tmp_path / "tone.wav"
    run(ffmpeg, "-f", "lavfi", "-i", f"sine=frequency=440:duration={SECONDS}", made)
    return made


@pytest.fixture(scope="session")
def libass(ffmpeg: str) -> None:
    if " ass " not in subprocess.run([ffmpeg, "-v", "error", "-filters"], stdout=subprocess.PIPE, text=True).stdout:
        pytest.skip("this ffmpeg has no libass")


@pytest.fixture(scope="session")
def letters(libass: None) -> None:
    if not any(font for folder in fonts.SYSTEM_FOLDERS for font in folder.rglob("*.[to]tf")):
        pytest.skip("no font is installed on this machine")


@pytest.fixture
def latin(tmp_path: Path) -> Path:
    """A folder with one font, of European letters only."""
    names = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf")
    found = [font for folder in fonts.SYSTEM_FOLDERS for name in names for font in folder.rglob(name)]
    if not found:
        pytest.skip(f"none of {', '.join(names)} is installed on this machine")
    (tmp_path / "fonts").mkdir()
    shutil.copy(found[0], tmp_path / "fonts")
    return tmp_path / "fonts"


def about(ffmpeg: str, video: Path) -> str:
    return subprocess.run([ffmpeg, "-hide_banner", "-i", str(video)], stderr=subprocess.PIPE, text=True).stderr


def taken_out(ffmpeg: str, video: Path, *options: str) -> bytes:
    command = [ffmpeg, "-v", "error", "-i", str(video), *options, "pipe:1"]
    return bytes(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def brightest(ffmpeg: str, video: Path, seconds: float) -> int:
    """Of the lower third of a frame: 16 is black, 235 white."""
    frame = [
        "-ss",
        str(seconds),
        "-frames:v",
        "1",
        "-vf",
        "crop=iw:ih/3:0:ih*2/3",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "gray",
    ]
    return max(taken_out(ffmpeg, video, *frame))


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


class TestTrack:
    async def test_it_has_the_words_their_times_and_the_language(self, film: Film, tmp_path: Path, ffmpeg: str) -> None:
        await mux(film("film.mp4"), tmp_path / "out.mp4", CAPTIONS, LIMITS)
        assert taken_out(ffmpeg, tmp_path / "out.mp4", "-f", "srt").decode() == (
            "1\n00:00:00,500 --> 00:00:01,500\nDéjà vu,\n\n2\n00:00:02,000 --> 00:00:02,900\nŁódź — 25 %\n\n"
        )
        assert "(por): Subtitle: mov_text" in about(ffmpeg, tmp_path / "out.mp4")

    async def test_pictures_and_sound_that_browsers_play_stay_as_they_are(
        self, film: Film, tmp_path: Path, ffmpeg: str
    ) -> None:
        source = film("film.mp4")
        rendered = await mux(source, tmp_path / "out.mp4", CAPTIONS, LIMITS)
        for stream in ("0:v", "0:a"):
            copied = ["-map", stream, "-c", "copy", "-f", "md5"]
            assert taken_out(ffmpeg, tmp_path / "out.mp4", *copied) == taken_out(ffmpeg, source, *copied)
        assert (rendered.width, rendered.height) == (320, 180)
        assert rendered.seconds == pytest.approx(SECONDS, abs=0.2)

    async def test_others_are_encoded_anew(self, film: Film, tmp_path: Path, ffmpeg: str) -> None:
        source = film("film.webm", "-c:v", "libvpx", "-c:a", "libvorbis")
        await mux(source, tmp_path / "out.mp4", CAPTIONS, LIMITS)
        said = about(ffmpeg, tmp_path / "out.mp4")
        assert "Video: h264" in said
        assert "Audio: aac" in said

    async def test_text_that_looks_like_a_command_is_text(self, film: Film, tmp_path: Path, ffmpeg: str) -> None:
        said = r"{\an8}{\pos(1,1)} <i>a</i> {x} \N b \h }"
        captions = Captions([Cue(0.0, 2.0, (said,), None, None)], SECONDS)
        await mux(film("film.mp4"), tmp_path / "out.mp4", captions, LIMITS)
        raw = taken_out(ffmpeg, tmp_path / "out.mp4", "-map", "0:s", "-c", "copy", "-f", "data")
        length = int.from_bytes(raw[:2], "big")
        assert raw[2 : 2 + length].decode().replace(WORD_JOINER, "") == said

    async def test_the_tracks_of_the_source_are_left_out(self, film: Film, tmp_path: Path, ffmpeg: str) -> None:
        await mux(film("film.mp4"), tmp_path / "first.mp4", CAPTIONS, LIMITS)
        other = Captions([Cue(0.0, 2.0, ("Another.",), None, None)], SECONDS, "en")
        await mux(tmp_path / "first.mp4", tmp_path / "out.mp4", other, LIMITS)
        assert about(ffmpeg, tmp_path / "out.mp4").count("Subtitle:") == 1
        assert "Another." in taken_out(ffmpeg, tmp_path / "out.mp4", "-f", "srt").decode()

    async def test_without_cues_there_is_no_track(self, film: Film, tmp_path: Path, ffmpeg: str) -> None:
        await mux(film("film.mp4"), tmp_path / "out.mp4", Captions((), SECONDS), LIMITS)
        assert "Subtitle:" not in about(ffmpeg, tmp_path / "out.mp4")

    async def test_sound_alone_gets_a_background(self, tone: Path, tmp_path: Path, ffmpeg: str) -> None:
        rendered = await mux(tone, tmp_path / "out.mp4", CAPTIONS, LIMITS)
        said = about(ffmpeg, tmp_path / "out.mp4")
        assert (rendered.width, rendered.height) == (1280, 720)
        assert all(kind in said for kind in ("Video: h264", "Audio: aac", "Subtitle: mov_text", "00:00:03."))

    async def test_its_index_lies_in_front(self, film: Film, tmp_path: Path) -> None:
        await mux(film("film.mp4"), tmp_path / "out.mp4", CAPTIONS, LIMITS)
        made = (tmp_path / "out.mp4").read_bytes()
        assert made[4:8] == b"ftyp"
        assert 0 < made.find(b"moov") < made.find(b"mdat")


@pytest.mark.usefixtures("letters")
class TestPicture:
    async def test_cues_are_seen_while_they_are_said(self, film: Film, tmp_path: Path, ffmpeg: str) -> None:
        out = tmp_path / "out.mp4"
        await burn(film("film.mp4"), out, CAPTIONS, LIMITS)
        seen = [brightest(ffmpeg, out, seconds) > 150 for seconds in (0.2, 1.0, 1.75, 2.5)]
        assert seen == [False, True, False, True]
        assert "Subtitle:" not in about(ffmpeg, out)

    async def test_sound_alone_gets_a_background(self, tone: Path, tmp_path: Path, ffmpeg: str) -> None:
        await burn(tone, tmp_path / "out.mp4", CAPTIONS, LIMITS)
        assert brightest(ffmpeg, tmp_path / "out.mp4", 1.0) > 150
        assert "Audio: aac" in about(ffmpeg, tmp_path / "out.mp4")

    async def test_a_film_that_was_taken_upright_stays_upright(self, film: Film, tmp_path: Path, ffmpeg: str) -> None:
        source, turned = film("film.mp4"), tmp_path / "turned.mp4"
        run(ffmpeg, "-display_rotation", "90", "-i", source, "-c", "copy", turned)
        rendered = await burn(turned, tmp_path / "out.mp4", CAPTIONS, LIMITS)
        assert (rendered.width, rendered.height) == (180, 320)
        assert ", 180x320 " in about(ffmpeg, tmp_path / "out.mp4")

    async def test_a_large_picture_is_made_smaller(self, film: Film, tmp_path: Path) -> None:
        rendered = await burn(film("film.mp4", size="2560x1600", seconds=0.3), tmp_path / "out.mp4", CAPTIONS, LIMITS)
        assert (rendered.width, rendered.height) == (1728, 1080)

    async def test_the_letters_of_europe_lack_nothing(self, film: Film, tmp_path: Path) -> None:
        rendered = await burn(film("film.mp4"), tmp_path / "out.mp4", CAPTIONS, LIMITS)
        assert rendered.notices == ()

    async def test_it_tells_how_far_it_is(self, tone: Path, tmp_path: Path) -> None:
        told: list[tuple[float, float]] = []
        await burn(tone, tmp_path / "out.mp4", CAPTIONS, LIMITS, on_progress=lambda *told_now: told.append(told_now))
        assert told == sorted(told)
        assert told[-1][0] == pytest.approx(SECONDS, abs=0.2)
        assert told[-1][1] == pytest.approx(1, abs=0.05)


@pytest.mark.usefixtures("libass")
async def test_a_script_without_a_font_is_named(
    film: Film, latin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fonts, "SYSTEM_FOLDERS", ())
    captions = Captions([Cue(0.0, 2.0, ("Été, 花瓶！ 𓀀",), None, None)], SECONDS)
    rendered = await burn(film("film.mp4"), tmp_path / "out.mp4", captions, LIMITS, fonts_dir=latin)
    (notice,) = rendered.notices
    assert notice.code == "font_missing"
    assert "all signs of: Chinese, Egyptian;" in notice.message
    assert not set("Éé花瓶𓀀") & set(notice.message)


@pytest.mark.usefixtures("libass")
async def test_without_any_font_it_is_refused(film: Film, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "SYSTEM_FOLDERS", ())
    with pytest.raises(Unavailable, match="SUBTITLE_FONTS_DIR"):
        await burn(film("film.mp4"), tmp_path / "out.mp4", CAPTIONS, LIMITS, fonts_dir=tmp_path / "none")
    assert not (tmp_path / "out.mp4").exists()


class TestWhatCannotBeRendered:
    @pytest.mark.parametrize(
        ("content", "error"),
        [
            (b"", EmptyMedia),
            (b"#EXTM3U\nfile:///etc/passwd\n", UnsupportedMedia),
            (b"\0\0\0\x18ftypisom" * 9, BadMedia),
        ],
    )
    async def test_it_is_refused_and_leaves_nothing(
        self, tmp_path: Path, content: bytes, error: type[BadMedia]
    ) -> None:
        (tmp_path / "source").write_bytes(content)
        await self._refused(tmp_path / "source", tmp_path, error)

    async def test_a_subtitle_file_in_a_film_is_no_sound(self, film: Film, tmp_path: Path, ffmpeg: str) -> None:
        await mux(film("film.mp4"), tmp_path / "with.mp4", CAPTIONS, LIMITS)
        run(ffmpeg, "-i", tmp_path / "with.mp4", "-map", "0:s", "-c", "copy", tmp_path / "source.mp4")
        await self._refused(tmp_path / "source.mp4", tmp_path, NoAudio)

    async def test_a_picture_of_too_many_pixels(self, film: Film, tmp_path: Path) -> None:
        await self._refused(film("film.mp4", size="4200x2400", seconds=0.1), tmp_path, MediaOutOfLimits)

    async def test_a_video_that_grows_too_large(self, film: Film, tmp_path: Path) -> None:
        limits = RenderLimits(600, LIMITS.memory_bytes, max_video_bytes=5_000)
        await self._refused(film("film.mp4"), tmp_path, MediaOutOfLimits, limits)

    async def test_more_memory_than_is_allowed(self, tone: Path, tmp_path: Path) -> None:
        limits = RenderLimits(600, 300_000_000, LIMITS.max_video_bytes)
        await self._refused(tone, tmp_path, MediaOutOfLimits, limits)

    async def test_an_existing_file_is_never_overwritten(self, tone: Path, tmp_path: Path) -> None:
        (tmp_path / "out.mp4").write_bytes(b"kept")
        with pytest.raises(FileExistsError):
            await mux(tone, tmp_path / "out.mp4", CAPTIONS, LIMITS)
        assert (tmp_path / "out.mp4").read_bytes() == b"kept"

    async def _refused(
        self, source: Path, folder: Path, error: type[EscribaError], limits: RenderLimits = LIMITS
    ) -> None:
        before = set(folder.iterdir())
        with pytest.raises(error) as caught:
            await mux(source, folder / "out.mp4", CAPTIONS, limits)
        assert type(caught.value) is error
        assert set(folder.iterdir()) == before


@pytest.mark.usefixtures("libass")
async def test_a_rendering_that_is_cancelled_ends_at_once_and_leaves_nothing(tone: Path, tmp_path: Path) -> None:
    began = asyncio.Event()
    long = Captions(CUES, 600.0, profile=PROFILES["phone"])
    before, files = children(), set(tmp_path.iterdir())
    rendering = asyncio.create_task(burn(tone, tmp_path / "out.mp4", long, LIMITS, on_progress=lambda *_: began.set()))
    await began.wait()
    rendering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await rendering
    assert children() == before
    assert set(tmp_path.iterdir()) == files
