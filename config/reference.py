"""The settings as a page for people: `python -m config.reference > docs/reference/settings.md`."""

import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from config.names import ELSEWHERE, OUR_PREFIXES, RESERVED, Setting, every_setting
from config.settings import Settings

_OPENING = f"""# Settings

Made from `config/settings.py` by `python -m config.reference`; a test compares the two.

A setting is read from the environment of the process, else from the `.env` file in the working directory, once, at
the start. An empty value counts as not set. A start is refused, with every reason at once, when a setting is
malformed; when two names for the same setting say different things; when the `.env` file has a name that is not on
this page; when the environment has one that begins with {", ".join(f"`{prefix}`" for prefix in OUR_PREFIXES[:-1])} or
`{OUR_PREFIXES[-1]}`, or that is one letter off a name on this page.
"""


def render() -> str:
    """The page, as Markdown."""
    return "\n".join([_OPENING, *_sections(), *_aliases(), *_others()])


def _sections() -> Iterator[str]:
    for section, settings in groupby(every_setting(), key=lambda setting: setting.section):
        yield f"## {_title(section)}\n"
        yield from _table(
            ("Name", "Default", "Meaning"),
            ((f"`{setting.name}`", _default(setting), _meaning(setting)) for setting in settings),
        )


def _aliases() -> Iterator[str]:
    yield "## Other names\n\nOf systems that Escriba takes over from, or that other tools use.\n"
    yield from _table(
        ("Name", "Alias of"),
        (
            (f"`{alias.name}`", f"`{setting.name}`" + (f", × {alias.factor:,}" if alias.factor > 1 else ""))
            for setting in every_setting()
            for alias in setting.aliases
        ),
    )


def _others() -> Iterator[str]:
    yield "## Accepted without effect\n"
    yield from _table(("Name", "Why"), ((f"`{name}`", why) for name, why in sorted(RESERVED.items())))
    yield "## Read by others\n\nThese may stand in the same `.env` file; Escriba does not look at them.\n"
    yield from _table(("Name", "Read by"), ((f"`{name}`", who) for name, who in sorted(ELSEWHERE.items())))


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield _row(head)
    yield _row("---" for _ in head)
    yield from map(_row, rows)
    yield ""


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _title(section: str | None) -> str:
    owner = Settings if section is None else Settings.model_fields[section].annotation
    return (owner.__doc__ or "").strip().rstrip(".")


def _meaning(setting: Setting) -> str:
    doc = setting.info.description or ""
    if get_origin(setting.info.annotation) is Literal:
        doc += f" One of {', '.join(f'`{choice}`' for choice in get_args(setting.info.annotation))}."
    return doc


def _default(setting: Setting) -> str:
    default = setting.info.default
    if default is PydanticUndefined:
        return "required"
    if default in (None, (), {}):
        return "–"
    if isinstance(default, bool):
        return "`1`" if default else "`0`"
    if isinstance(default, SecretStr):  # a default is no secret
        default = default.get_secret_value()
    if isinstance(default, tuple):
        return f"`{','.join(map(str, default))}`"
    if isinstance(default, float) and default.is_integer():
        default = int(default)
    return f"`{default.as_posix() if isinstance(default, Path) else default}`"


if __name__ == "__main__":
    sys.stdout.write(render())
