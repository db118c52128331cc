"""`escriba transcribe`: files in, transcripts out, a progress bar for each."""

import json
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from cli.client import Client, Refused

SUFFIXES = {"txt": ".txt", "srt": ".srt", "vtt": ".vtt", "json": ".json"}


class Bars:
    """Progress on standard error; what is asked for goes to standard output alone."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.fields[name]}", style="bold"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", style="dim"),
            console=console,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def add(self, recording: Path) -> TaskID:
        return self._progress.add_task("", total=100, name=recording.name, note="uploading")

    def uploaded(self, task: TaskID, share: float) -> None:
        self._progress.update(task, note=f"uploading: {share:.0%}")

    def show(self, task: TaskID, event: dict[str, Any]) -> None:
        self._progress.update(task, completed=event["progress"], note=describe(event))


def describe(event: dict[str, Any]) -> str:
    """What an event says, in a few words for a person who waits."""
    if event["status"] == "processing" and event.get("audio_total"):
        done, total = clock(event.get("audio_done") or 0), clock(event["audio_total"])
        eta = f", about {clock(event['eta_seconds'])} left" if event.get("eta_seconds") else ""
        return f"{event.get('stage') or 'starting'}: {done} of {total} heard{eta}"
    if event["status"] == "failed" and event.get("error"):
        return str(event["error"]["message"])
    message = event.get("message")
    return f"{event['status']}: {message}" if message and message != event["status"] else str(event["status"])


def clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def transcribe(client: Client, recording: Path, fields: dict[str, str], bars: Bars) -> str | None:
    """One recording to its end: the job's id where it has a transcript, else None. Raises Unreachable, Refused."""
    task = bars.add(recording)
    size, sent = recording.stat().st_size or 1, 0

    def on_read(count: int) -> None:
        nonlocal sent
        sent += count
        bars.uploaded(task, min(1.0, sent / size))

    job_id = str(client.submit(recording, fields, on_read=on_read)["job_id"])
    for event in client.follow(job_id):
        bars.show(task, event)
    return job_id if event["status"] == "completed" else None


def written(client: Client, job_id: str, format_name: str) -> str:
    if format_name == "json":
        return json.dumps(client.result(job_id), indent=2, ensure_ascii=False)
    return client.result_as(job_id, format_name).rstrip("\n")


def show_transcript(console: Console, result: dict[str, Any]) -> None:
    """A transcript for people: when, who, what."""
    table = Table.grid(padding=(0, 2))
    for segment in result["segments"]:
        tag = segment.get("speaker_tag")
        who = "" if tag is None else f"{result['speaker_roles'].get(str(tag), f'speaker {tag}')}: "
        when = f"{clock(segment['start'])} – {clock(segment['end'])}"
        table.add_row(Text(when, "cyan"), Text.assemble((who, "bold"), segment["text"]))
    console.print(table)
    if not result["segments"]:
        console.print("(no speech was heard)")


def complaint(recording: Path, refused: Refused) -> str:
    return f"{recording}: {refused} ({refused.code})"
