"""Environment and `.env` → Settings, once, when a process starts. Everything wrong is said at once."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import ValidationError

from config.fields import Section
from config.names import ELSEWHERE, OUR_PREFIXES, RESERVED, Setting, every_setting
from config.settings import Settings
from domain.errors import BadSettings

Model = TypeVar("Model", bound=Section)

_SETTINGS = {setting.name: setting for setting in every_setting()}
_BY_PATH = {setting.path: setting for setting in _SETTINGS.values()}
_ALIASES = {alias.name for setting in _SETTINGS.values() for alias in setting.aliases}
_OURS = frozenset({*_SETTINGS, *_ALIASES, *RESERVED})
_KNOWN = _OURS | ELSEWHERE.keys()

# Kubernetes describes every service of a namespace in each container's environment; one called "riva" or "whisperx"
# would look like a setting. https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
_SERVICE_LINK = re.compile(r"\w+_(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)")

_AMOUNT = re.compile(r"(\d{1,15})(?:\.(\d{1,9}))?", re.ASCII)


def load_settings(
    environ: Mapping[str, str] | None = None,
    *,
    env_file: Path | None = None,
    overrides: Mapping[str, str] | None = None,
) -> Settings:
    """All settings of this process.

    Args:
        environ: goes before `env_file` for the same name; the process's own where None.
        env_file: must be there where given; the working directory's `.env`, if there is one, where None.
        overrides: by canonical name; go before both, and silence the aliases of what they set. A name that is none
            is a KeyError: it is the caller's slip, not the operator's.

    An empty value counts as not set.

    Raises:
        BadSettings: names every setting that is missing, malformed, unknown or said twice.
    """
    reading = _read(environ, env_file, overrides or {})
    return _validate(Settings, _nest(reading.values), reading, under=())


def load_section(
    section: type[Model], environ: Mapping[str, str] | None = None, *, env_file: Path | None = None
) -> Model:
    """One section alone, for a process that needs no more: a migration runs where no Redis is named.

    Reads and raises as `load_settings` does, but only this section's settings have to be there and well-formed.
    """
    reading = _read(environ, env_file, {})
    (home,) = (name for name, info in Settings.model_fields.items() if info.annotation is section)
    return _validate(section, _nest(reading.values)[home], reading, under=(home,))


def read_values(environ: Mapping[str, str] | None = None, *, env_file: Path | None = None) -> dict[str, str]:
    """What is set, unparsed, by canonical name and in the setting's unit: for a parent that fills in the rest.

    Raises:
        BadSettings: as `load_settings` does, except for what is missing or malformed.
    """
    reading = _read(environ, env_file, {})
    _raise_for(reading.problems)
    return reading.values


@dataclass(frozen=True, slots=True)
class _Reading:
    values: dict[str, str] = field(default_factory=dict)
    """By canonical name, in the setting's unit."""
    said_as: dict[str, str] = field(default_factory=dict)
    """The name that the operator wrote, by canonical name: complaints use their word."""
    problems: list[str] = field(default_factory=list)


def _read(environ: Mapping[str, str] | None, env_file: Path | None, overrides: Mapping[str, str]) -> _Reading:
    reading = _Reading()
    process = os.environ if environ is None else environ
    kept = _read_file(env_file, reading.problems)
    reading.problems.extend(_unknown(name, "the environment") for name in sorted(process) if _is_slip(name))
    reading.problems.extend(_unknown(name, "the .env file") for name in sorted(kept.keys() - _KNOWN))
    said = {name: text.strip() for source in (kept, process) for name, text in source.items() if text.strip()}
    for setting in _SETTINGS.values():
        if setting.name not in overrides:
            _settle(setting, said, reading)
    reading.values.update(overrides)
    return reading


def _settle(setting: Setting, said: Mapping[str, str], reading: _Reading) -> None:
    """Decide on one value for a setting that may have been said under several names."""
    candidates = {setting.name: said[setting.name]} if setting.name in said else {}
    for alias in setting.aliases:
        if alias.name in said:
            try:
                candidates[alias.name] = _multiply(said[alias.name], alias.factor)
            except ValueError as error:
                reading.problems.append(f"{alias.name}: {error}")
    if len(set(candidates.values())) > 1:
        reading.problems.append(f"{' and '.join(candidates)}: mean the same setting, but differ; keep one")
    for name, value in candidates.items():
        reading.values.setdefault(setting.name, value)
        reading.said_as.setdefault(setting.name, name)


def _multiply(text: str, factor: int) -> str:
    if factor == 1:
        return text
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise ValueError("should be a plain number, as in 100 or 0.5")
    whole, fraction = match[1], match[2] or ""
    # Whole numbers throughout, so that 0.1 × 1000000 is 100000 and nothing beside it.
    product, rest = divmod(int(whole + fraction) * factor, 10 ** len(fraction))
    if rest:
        raise ValueError(f"has more decimals than {factor} can make whole")
    return str(product)


def _read_file(path: Path | None, problems: list[str]) -> dict[str, str]:
    """The assignments of the `.env` file; none where there is no file and none was named."""
    try:
        text = (path or Path(".env")).read_text(encoding="utf-8")
    except FileNotFoundError:
        if path is not None:
            problems.append("the .env file: is not where it was said to be")
        return {}
    except (OSError, UnicodeDecodeError) as error:
        why = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
        problems.append(f"the .env file: cannot be read: {why}")
        return {}
    bindings = list(parse_stream(StringIO(text)))
    stray = [b.original.line for b in bindings if b.error or (b.key is not None and b.value is None)]
    problems += [f"the .env file, line {line}: is not NAME=value" for line in stray]
    return {name: value for name, value in dotenv_values(stream=StringIO(text)).items() if value is not None}


def _is_slip(name: str) -> bool:
    """Is this name of the environment meant for us, and wrong?"""
    if name in _KNOWN:
        return False
    if name.startswith(OUR_PREFIXES):
        return not _SERVICE_LINK.fullmatch(name)
    return name.upper() in _OURS or any(_one_edit_apart(name, known) for known in _OURS)


def _one_edit_apart(left: str, right: str) -> bool:
    """Does one insertion, deletion, substitution or swap of neighbours turn `left` into `right`, its unequal?"""
    pairs = enumerate(zip(left, right, strict=False))
    shared = next((at for at, (a, b) in pairs if a != b), min(len(left), len(right)))
    a, b = left[shared:], right[shared:]
    swapped = a[:2] == b[1::-1] and a[2:] == b[2:]
    return swapped or a[1:] == b or a == b[1:] or a[1:] == b[1:]


def _unknown(name: str, where: str) -> str:
    near = [known for known in sorted(_OURS) if name.upper() == known or _one_edit_apart(name.upper(), known)]
    near = near or get_close_matches(name.upper(), sorted(_OURS), n=1, cutoff=0.8)
    hint = f"did you mean {' or '.join(near)}?" if near else "docs/reference/settings.md has them all"
    return f"{name}: is in {where}, but there is no such setting; {hint}"


def _nest(values: Mapping[str, str]) -> dict[str, Any]:
    tree: dict[str, Any] = {setting.section: {} for setting in _SETTINGS.values() if setting.section}
    for name, value in values.items():
        setting = _SETTINGS[name]
        (tree[setting.section] if setting.section else tree)[setting.field] = value
    return tree


def _validate(model: type[Model], tree: dict[str, Any], reading: _Reading, *, under: tuple[str, ...]) -> Model:
    try:
        result = model.model_validate(tree)
    except ValidationError as error:
        raise BadSettings(_sentence([*reading.problems, *_complaints(error, reading, under)])) from None
    _raise_for(reading.problems)
    return result


def _complaints(error: ValidationError, reading: _Reading, under: tuple[str, ...]) -> Iterator[str]:
    """What pydantic found, without the values: one of them may be a secret."""
    for found in error.errors(include_url=False, include_input=False):
        loc = (*under, *map(str, found["loc"]))
        what = found["msg"].removeprefix("Value error, ").removeprefix("Input ")
        if not loc:  # of several that do not go together
            yield what
            continue
        setting = _BY_PATH.get(loc[:1]) or _BY_PATH[loc[:2]]
        name = reading.said_as.get(setting.name, setting.name)
        yield f"{name}: is not set. {setting.info.description}" if found["type"] == "missing" else f"{name}: {what}"


def _raise_for(problems: Iterable[str]) -> None:
    if listed := list(problems):
        raise BadSettings(_sentence(listed))


def _sentence(problems: list[str]) -> str:
    return "\n  ".join(["these settings have to be put right first:", *problems])
