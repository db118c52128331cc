"""How a transcript is stored: whole for who reads it, as it is for who passes it on."""

import io
import json

import pytest
import zstandard

from domain.transcript import Flag, Segment, StageReached, Transcript, Word
from services import transcripts
from storage.contract import Store
from storage.local import LocalStore
from tests.support.jobs import body

KEY = "results/a.json.zst"


def heard(segments: int) -> Transcript:
    return Transcript(
        language="pt",
        duration=2.0 * segments,
        engine="test",
        engine_reason="a test asked for it",
        segments=tuple(_segment(number) for number in range(segments)),
        flags=(Flag(code="repetition", start=0, end=1, message="} in a message"),),
    )


def _segment(number: int) -> Segment:
    words = tuple(
        Word(start=2 * number + n / 7, end=2 * number + (n + 1) / 7, text=f"pal{number * n % 977}ção") for n in range(7)
    )
    return Segment(
        start=2 * number, end=2 * number + 1, text=' "olá" \\ \u2028 '.join(w.text for w in words), words=words
    )


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return LocalStore(tmp_path_factory.mktemp("objects"), link_secret=b"k" * 32)


async def _rest(unread: transcripts.Unread) -> bytes:
    return b"".join([piece async for piece in unread.rest])


@pytest.mark.parametrize("segments", [0, 1, 4000])
async def test_what_was_stored_is_read_again_whole_and_in_parts(store: Store, segments: int) -> None:
    there = heard(segments)
    await store.put(KEY, transcripts.compressed(there))
    assert await transcripts.load(store, KEY) == there
    for unread in (await transcripts.open_unread(store, KEY), transcripts.unread(there)):
        assert unread.about == there.model_copy(update={"segments": ()})
        said = json.loads(b"{" + (await _rest(unread)).removeprefix(b","))
        assert said == {"segments": there.model_dump(mode="json")["segments"], "text": there.text}


async def test_to_any_other_reader_the_object_is_one_document(store: Store) -> None:
    there = heard(10)
    await store.put(KEY, transcripts.compressed(there))
    async with store.open(KEY) as chunks:
        packed = b"".join([chunk async for chunk in chunks])
    with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(packed), read_across_frames=True) as reader:
        assert json.loads(reader.read()) == there.model_dump(mode="json") | {"text": there.text}


async def test_a_long_transcript_comes_in_pieces(store: Store) -> None:
    await store.put(KEY, transcripts.compressed(heard(20_000)))
    sizes = [len(piece) async for piece in (await transcripts.open_unread(store, KEY)).rest]
    assert max(sizes) < sum(sizes) / 5


@pytest.mark.parametrize("left_out", [1, 1000])
async def test_an_object_that_is_cut_off_does_not_look_whole(store: Store, left_out: int) -> None:
    chunks = [chunk async for chunk in transcripts.compressed(heard(4000))]
    await store.put(KEY, body(b"".join(chunks)[:-left_out]))
    with pytest.raises(zstandard.ZstdError):
        await transcripts.load(store, KEY)
    unread = await transcripts.open_unread(store, KEY)
    with pytest.raises(zstandard.ZstdError):
        await _rest(unread)


async def test_an_object_larger_than_any_transcript_does_not_fill_the_memory(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put(KEY, transcripts.compressed(heard(4000)))
    monkeypatch.setattr(transcripts, "LARGEST_BYTES", 10_000)
    with pytest.raises(zstandard.ZstdError):
        await transcripts.load(store, KEY)


async def test_a_stage_is_read_again(store: Store) -> None:
    reached = StageReached(stage="transcribe", language="pt", segments=heard(3).segments)
    await store.put(KEY, transcripts.compressed_stage(reached))
    assert await transcripts.load_stage(store, KEY) == reached
