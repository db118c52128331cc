"""Whisper's other task: to write down in English what is said in any language."""

from typing import Any

from engines.contract import Hearing
from engines.server.models.hotwords import PROMPT_OPTIONS

INTO = "en"

TRANSCRIBE, TRANSLATE = "transcribe", "translate"

WHISPER_OPTIONS: dict[str, Any] = {
    **PROMPT_OPTIONS,
    "properties": {
        **PROMPT_OPTIONS["properties"],
        "task": {
            "enum": [TRANSCRIBE, TRANSLATE],
            "description": "translate: the text is English, whatever is spoken. Turbo models have not learnt to.",
        },
    },
}


def task_of(hearing: Hearing) -> str:
    return str(hearing.options.get("task", TRANSCRIBE))


def translates(hearing: Hearing) -> bool:
    return task_of(hearing) == TRANSLATE
