"""`escriba`: the command line."""

import asyncio
import os
import sys
from importlib.metadata import version
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from cli import home
from cli import platform as whole
from cli.client import Client, Refused, Unreachable
from cli.roles import make_app_role
from cli.transcribing import SUFFIXES, Bars, complaint, transcribe, written
from cli.users import users
from config import telemetry
from config.load import load_section
from config.settings import DatabaseSettings, LogSettings
from domain.errors import BadSettings, EscribaError

DEFAULT_URL = "http://127.0.0.1:8000"

DONE, SOME_FAILED, NOT_STARTED, UNREACHABLE = 0, 1, 2, 3

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

EPILOG = """\b
Exit status: 0 done, 1 a recording failed, 2 wrong usage or settings, 3 the platform cannot be reached.
Settings come from the environment and from .env; docs/reference/settings.md lists them all."""


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("escriba"), prog_name="escriba")
def cli() -> None:
    """Escriba turns recordings into transcripts that you can trust.

    \b
    On one machine, from nothing:
        escriba up                                    serve until Ctrl-C
        escriba transcribe interview.mp3              print what was said
        escriba transcribe -f srt -o subtitles *.mp4  one subtitle file for each
    """


@cli.command()
def up() -> None:
    """Serve the whole platform on this machine until Ctrl-C.

    PostgreSQL, Redis, the engine server, workers and the API run as children of this process and keep everything below
    ESCRIBA_HOME. Where DATABASE_URL, REDIS_URL, MINIO_ENDPOINT or ENGINE_SERVER_URL is set, that is used instead.
    """
    telemetry.configure(LogSettings(level="warning"), process="up")
    asyncio.run(whole.up(err, home.chosen()))


@cli.command()
def demo() -> None:
    """Transcribe the sample consultation on a platform that is gone again afterwards."""
    telemetry.configure(LogSettings(level="error"), process="demo")
    if not asyncio.run(whole.demo(out, os.environ)):
        raise SystemExit(SOME_FAILED)


def read_fields(_: click.Context, __: click.Parameter, said: tuple[str, ...]) -> dict[str, str]:
    """Raises BadParameter for what is no pair; which fields there are, the platform knows."""
    if odd := [pair for pair in said if "=" not in pair]:
        raise click.BadParameter(f"{odd[0]!r} is not of the form FIELD=VALUE")
    return dict(pair.split("=", 1) for pair in said)


@cli.command("transcribe")
@click.argument("recordings", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-e", "--engine", help="Engine by name (see `escriba engines`), or auto for the best that is ready.")
@click.option("-l", "--language", help="Language as en, en-US, pt-BR …; left out, the engine finds out.")
@click.option("-m", "--model", help="Model of the engine, where it offers several.")
@click.option(
    "-s",
    "--set",
    "wishes",
    multiple=True,
    metavar="FIELD=VALUE",
    callback=read_fields,
    help="Any other field of the API: -s num_speakers=2 -s hotwords=metoprolol -s on_unsupported=warn.",
)
@click.option(
    "-f",
    "--format",
    "format_name",
    type=click.Choice(list(SUFFIXES)),
    default="txt",
    show_default=True,
    help="What to write.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for one file each, instead of standard output.",
)
@click.option("--url", envvar="ESCRIBA_URL", default=DEFAULT_URL, show_default=True, help="Where the platform is.")
def transcribe_command(
    recordings: tuple[Path, ...],
    engine: str | None,
    language: str | None,
    model: str | None,
    wishes: dict[str, str],
    format_name: str,
    output: Path | None,
    url: str,
) -> None:
    """Transcribe RECORDINGS, one after another, with a progress bar for each.

    \b
    Examples:
        escriba transcribe interview.mp3
        escriba transcribe -l pt-BR -f srt -o subtitles aula1.mp4 aula2.mp4
        escriba transcribe -f json call.wav | jq .segments
    """
    chosen = {"engine": engine, "language": language, "model": model}
    fields = {**wishes, **{name: value for name, value in chosen.items() if value}}
    failed = 0
    with Client(url) as client, Bars(err) as bars:
        for recording in recordings:
            try:
                job_id = transcribe(client, recording, fields, bars)
            except Refused as refused:
                err.print(complaint(recording, refused), markup=False)
                job_id = None
            if job_id is None:
                failed += 1
                continue
            _write(written(client, job_id, format_name), recording, format_name, output)
    raise SystemExit(SOME_FAILED if failed else DONE)


def _write(text: str, recording: Path, format_name: str, output: Path | None) -> None:
    if output is None:
        click.echo(text)
        return
    output.mkdir(parents=True, exist_ok=True)
    target = output / f"{recording.name}{SUFFIXES[format_name]}"
    target.write_text(text + "\n", encoding="utf-8")
    err.print(str(target), markup=False)


@cli.command()
@click.option("--url", envvar="ESCRIBA_URL", default=DEFAULT_URL, show_default=True, help="Where the platform is.")
def engines(url: str) -> None:
    """Show which engines the platform has, and which could take a job now."""
    with Client(url) as client:
        answer = client.engines()
    table = Table("engine", "now", "languages", "models", "what it is")
    for name, engine in answer["engines"].items():
        now = "[green]available[/]" if engine["available"] else f"[red]{engine.get('reason') or 'not available'}[/]"
        models = ", ".join(f"{model['name']} ({model['state']})" for model in engine["models"])
        star = " *" if name == answer["default_engine"] else ""
        table.add_row(name + star, now, ", ".join(engine["languages"]) or "any", models, engine["description"])
    out.print(table)
    out.print(f"* the default; here it is [bold]{answer['default_engine']}[/]")


@cli.command()
def migrate() -> None:
    """Bring the database named by DATABASE_URL to the newest schema.

    With DATABASE_MIGRATION_URL, as that role; the one that DATABASE_URL names is made where it is not there.
    """
    database = load_section(DatabaseSettings)
    if (made := asyncio.run(make_app_role(database))) is not None:
        err.print(f"made the role {made}", markup=False)
    whole.migrate_now(database)
    err.print("the schema is up to date")


cli.add_command(users)


def main() -> None:
    """Run the command line; what we foresaw is one sentence, not a stack."""
    try:
        cli()
    except BadSettings as error:
        err.print(f"escriba: {error}", markup=False)
        sys.exit(NOT_STARTED)
    except Unreachable as error:
        err.print(
            f"escriba: nobody answers at {error}; start the platform with `escriba up`, or say --url", markup=False
        )
        sys.exit(UNREACHABLE)
    except (Refused, EscribaError) as error:
        err.print(f"escriba: {error} ({error.code})", markup=False)
        sys.exit(SOME_FAILED)
