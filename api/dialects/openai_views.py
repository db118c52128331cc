"""A transcript as OpenAI's clients read it, in each of their formats. What they do not know is added, never in between.

Added are `job_id`, `language_code`, `speaker` where speakers were told apart, and `warnings` where there are any.
"""

import json
import math
import zlib
from collections.abc import Iterable, Iterator
from string import ascii_uppercase
from typing import Any

from api.dialects.openai_form import Format, OpenAIForm
from api.dialects.openai_languages import name_of
from api.dialects.words import deltas
from domain import subtitles
from domain.capabilities import base_language
from domain.transcript import Notice, Segment, Word
from services.reading import Result

MEDIA_TYPES: dict[Format, str] = {"text": "text/plain", "srt": "application/x-subrip", "vtt": "text/vtt"}
"""Of what is no JSON."""

NOBODY = "unknown"
LEAST_LOGPROB = -9999.0
"""What OpenAI says for what it thinks impossible."""

View = dict[str, Any]


def rendered(found: Result, form: OpenAIForm) -> bytes:
    """The body of the answer. Takes a while for a long transcript, so it belongs into a thread."""
    segments = found.heard.segments
    match form.response_format:
        case "text":
            return f"{found.heard.text}\n".encode()
        case "srt":
            return subtitles.to_srt(segments, names=found.labels).encode()
        case "vtt":
            return subtitles.to_vtt(segments, names=found.labels).encode()
        case "verbose_json":
            view = verbose(found, form)
        case "diarized_json":
            view = diarized(found)
        case "json":
            view = plain(found, form)
    return json.dumps(view, ensure_ascii=False).encode()


def plain(found: Result, form: OpenAIForm) -> View:
    about = logprobs(found.heard.segments) if form.include else {}
    missing = [] if about or not form.include else [Notice(code="no_logprobs", message="the engine gave none")]
    return {"text": found.heard.text, "languages": languages(found), **about, **_about(found, *missing)}


def verbose(found: Result, form: OpenAIForm) -> View:
    heard = found.heard
    view: View = {
        "task": form.task,
        "language": name_of(heard.language),
        "language_code": heard.language,
        "duration": heard.duration,
        "text": heard.text,
    }
    missing = []
    if form.with_segments:
        view["segments"] = [_segment(number, segment, found) for number, segment in enumerate(heard.segments)]
    if form.with_words:
        words = [word for segment in heard.segments for word in segment.words]
        view["words"] = [_word(word, found) for word in words]
        if heard.segments and not words:
            missing.append(Notice(code="no_word_times", message="the engine gave no times for words"))
    return {**view, **_about(found, *missing)}


def diarized(found: Result) -> View:
    heard = found.heard
    return {
        "task": "transcribe",
        "duration": heard.duration,
        "text": heard.text,
        "segments": list(speaker_segments(found)),
        **_about(found),
    }


def speaker_segments(found: Result) -> Iterator[View]:
    for number, segment in enumerate(found.heard.segments):
        yield {
            "type": "transcript.text.segment",
            "id": f"seg_{number}",
            "start": segment.start,
            "end": segment.end,
            "speaker": _speaker(segment.speaker_tag, found),
            "text": segment.text,
        }


def languages(found: Result) -> list[View]:
    return [{"code": base_language(found.heard.language)}] if found.heard.language else []


def usage(found: Result) -> View:
    return {"type": "duration", "seconds": found.heard.duration}


def _about(found: Result, *more: Notice) -> View:
    """What every object ends with."""
    warnings = [notice.model_dump() for notice in (*found.heard.warnings, *more)]
    return {
        "usage": usage(found),
        "job_id": str(found.job.id),
        **({"warnings": warnings} if warnings else {}),
    }


def _segment(number: int, segment: Segment, found: Result) -> View:
    """Whisper's own measures: a segment's confidence is the exponential of its mean log probability; tokens, and what
    Whisper thinks of silence, no engine tells.
    """
    text = segment.text.encode()
    return {
        "id": number,
        "seek": round(segment.start * 100),
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": 0.0 if segment.confidence is None else _log(segment.confidence),
        "compression_ratio": len(text) / len(zlib.compress(text)),
        "no_speech_prob": 0.0,
        **_said_by(segment, found),
    }


def _word(word: Word, found: Result) -> View:
    return {"word": word.text, "start": word.start, "end": word.end, **_said_by(word, found)}


def _said_by(said: Segment | Word, found: Result) -> View:
    return {} if said.speaker_tag is None else {"speaker": _speaker(said.speaker_tag, found)}


def _speaker(tag: int | None, found: Result) -> str:
    """As a person has named them, else a letter in the order in which they first speak, two from the 27th on."""
    if tag is None:
        return NOBODY
    if tag in found.names:
        return found.names[tag]
    first, second = divmod(tag, len(ascii_uppercase))
    return (ascii_uppercase[(first - 1) % len(ascii_uppercase)] if first else "") + ascii_uppercase[second]


def logprobs(segments: Iterable[Segment]) -> View:
    """Of words, as engines tell no smaller tokens: together they are the text. Nothing where an engine tells none."""
    found: list[View] = []
    for segment in segments:
        pieces = list(deltas(segment))
        if len(pieces) != len(segment.words) or any(word.confidence is None for word in segment.words):
            return {}
        for piece, word in zip(pieces, segment.words, strict=True):
            token = f" {piece.text}" if found and piece is pieces[0] else piece.text
            found.append({"token": token, "bytes": list(token.encode()), "logprob": _log(word.confidence or 0.0)})
    return {"logprobs": found} if found else {}


def _log(confidence: float) -> float:
    return math.log(confidence) if confidence > 0 else LEAST_LOGPROB
