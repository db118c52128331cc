"""What a user of OpenAI's library does, whichever major version it is: `python openai_library.py WISHES`.

Runs in an environment that has nothing but that library. WISHES is a JSON object; what came of each is printed as one.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
from openai import OpenAI

FORMATS = ("json", "text", "srt", "vtt", "verbose_json", "diarized_json")
STREAMED = ("json", "text", "diarized_json")

ALONE = ("formats", "streams", "translations", "models", "options", "errors")

Made = dict[str, Any]


def plain(answer: Any) -> Any:
    """What a user sees of it."""
    return answer if isinstance(answer, str) else answer.to_dict()


def caught(work: Callable[[], Any]) -> Made:
    """What a user is told of an error."""
    try:
        return {"made": plain(work())}
    except openai.APIError as error:
        return {
            "raised": type(error).__name__,
            "said": str(error),
            "status": getattr(error, "status_code", None),
            "code": error.code,
            "param": error.param,
            "type": error.type,
            "request_id": getattr(error, "request_id", None),
        }


class User:
    def __init__(self, url: str, recording: str, broken: str) -> None:
        self.client = OpenAI(base_url=url, api_key="any", timeout=120)
        self.recording, self.broken = recording, broken

    def transcribe(self, client: OpenAI | None = None, *, recording: str | None = None, **asked: Any) -> Any:
        with Path(recording or self.recording).open("rb") as file:
            given = {"model": "whisper-1", **asked}
            return (client or self.client).audio.transcriptions.create(file=file, **given)

    def formats(self) -> Made:
        both = {"timestamp_granularities": ["word", "segment"]}
        return {
            name: plain(self.transcribe(response_format=name, **(both if name == "verbose_json" else {})))
            for name in FORMATS
        }

    def streams(self) -> Made:
        def told(name: str) -> list[Any]:
            return [event.to_dict() for event in self.transcribe(response_format=name, stream=True)]

        return {name: told(name) for name in STREAMED}

    def translations(self) -> Made:
        made = {}
        for name in ("json", "text", "verbose_json"):
            with Path(self.recording).open("rb") as file:
                create = self.client.audio.translations.create
                made[name] = plain(create(file=file, model="whisper-1", response_format=name))
        return made

    def models(self) -> Made:
        listed = [model.id for model in self.client.models.list()]
        return {"listed": listed, "got": [self.client.models.retrieve(name).id for name in listed]}

    def options(self) -> Made:
        more = {"keywords": ["metoprolol", "Dr. Okafor"], "num_speakers": 2, "languages": ["en"]}
        others = {"diarize": True, "hotwords": ["metoprolol", "Dr. Okafor"]}
        strategy = {"type": "server_vad", "threshold": 0.4, "prefix_padding_ms": 300, "silence_duration_ms": 200}
        return {
            "extra_body": plain(self.transcribe(prompt="Minutes:", temperature=0, extra_body=more)),
            "others": plain(self.transcribe(prompt="As elsewhere:", extra_body=others)),
            "auto": plain(self.transcribe(extra_body={"chunking_strategy": "auto"})),
            "server_vad": plain(self.transcribe(extra_body={"chunking_strategy": strategy})),
            "logprobs": plain(self.transcribe(include=["logprobs"])),
        }

    def errors(self) -> Made:
        client = self.client
        return {
            "unknown model": caught(lambda: self.transcribe(model="gigantic")),
            "bad temperature": caught(lambda: self.transcribe(temperature=7)),
            "unsupported": caught(lambda: self.transcribe(model="plain", prompt="Minutes:")),
            "samples": caught(lambda: self.transcribe(extra_body={"known_speaker_references": ["data:,"]})),
            "broken": caught(lambda: self.transcribe(recording=self.broken)),
            "broken stream": caught(lambda: list(self.transcribe(recording=self.broken, stream=True))),
            "no such path": caught(lambda: client.get("/nothing", cast_to=object)),
            "no such method": caught(lambda: client.post("/models", cast_to=object)),
            "no such model": caught(lambda: client.models.retrieve("gigantic")),
            "no form": caught(lambda: client.post("/audio/transcriptions", cast_to=object, body={"model": "x"})),
        }

    def large(self, url: str) -> Made:
        return caught(lambda: self.transcribe(self.client.with_options(base_url=url)))

    def key(self, url: str) -> Made:
        return caught(lambda: self.client.with_options(base_url=url).models.list())

    def cut(self, url: str) -> Made:
        answer = caught(lambda: self.transcribe(self.client.with_options(base_url=url)))
        return {**answer, "version": openai.__version__}


def main() -> None:
    wishes = json.loads(sys.argv[1])
    user = User(wishes["url"], wishes["recording"], wishes["broken"])
    made: Made = {name: getattr(user, name)() for name in ALONE}
    made |= {name: getattr(user, name)(wishes[name]) for name in ("large", "key", "cut")}
    print(json.dumps(made))


if __name__ == "__main__":
    main()
