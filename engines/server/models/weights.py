"""Whisper weights on disk: which are there, where they come from, and how they are fetched once.

They lie in MODELS_DIR in the layout of the Hugging Face hub's own cache (`models--org--name/{refs,blobs,snapshots}`),
so folders can be shared with, or copied from, any machine that has fetched them.
"""

import logging
import re
import time
from dataclasses import dataclass
from pathlib import Path

from config.settings import EngineSettings
from domain.capabilities import ModelReport
from domain.errors import EngineFailed, ModelMissing
from engines.server.contract import OnDownload

logger = logging.getLogger(__name__)

SIZES = {
    "tiny": "Systran/faster-whisper-tiny",
    "tiny.en": "Systran/faster-whisper-tiny.en",
    "base": "Systran/faster-whisper-base",
    "base.en": "Systran/faster-whisper-base.en",
    "small": "Systran/faster-whisper-small",
    "small.en": "Systran/faster-whisper-small.en",
    "medium": "Systran/faster-whisper-medium",
    "medium.en": "Systran/faster-whisper-medium.en",
    "large-v1": "Systran/faster-whisper-large-v1",
    "large-v2": "Systran/faster-whisper-large-v2",
    "large-v3": "Systran/faster-whisper-large-v3",
    "large": "Systran/faster-whisper-large-v3",
    "distil-small.en": "Systran/faster-distil-whisper-small.en",
    "distil-medium.en": "Systran/faster-distil-whisper-medium.en",
    "distil-large-v2": "Systran/faster-distil-whisper-large-v2",
    "distil-large-v3": "Systran/faster-distil-whisper-large-v3",
    "distil-large-v3.5": "distil-whisper/distil-large-v3.5-ct2",
    "large-v3-turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
    "turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
}
"""Public names → repositories, as faster-whisper has them; repeated here because looking must not import it."""

FILES = ("config.json", "preprocessor_config.json", "model.bin", "tokenizer.json", "vocabulary.*")
NEEDED = ("config.json", "model.bin", "tokenizer.json")
"""Without `tokenizer.json`, the library would go to the network for it; the other files may be lacking."""

CHUNK_BYTES = 1 << 20
"""How often a download is seen to move, and how much a broken connection costs. The hub's client has 10 MB, which is a
minute on a slow line."""

STALE_SECONDS = 3600
"""An unfinished file that nobody has written to for so long belongs to a download that was killed."""

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class Weights:
    """One model that the operator has allowed: a folder, or a repository of the hub."""

    name: str
    folder: Path | None = None
    repository: str | None = None

    def find(self, models_dir: Path) -> Path | None:
        """The folder with the complete weights, or None."""
        if self.folder is not None:
            return self.folder if _complete(self.folder) else None
        if self.repository is None:
            return None
        cached = _cache_folder(models_dir, self.repository)
        try:
            revision = (cached / "refs" / "main").read_text().strip()
        except OSError:
            return None
        snapshot = cached / "snapshots" / revision
        return snapshot if _complete(snapshot) else None

    def report(self, settings: EngineSettings) -> ModelReport:
        if self.find(settings.models_dir) is not None:
            return ModelReport(name=self.name, state="ready")
        return ModelReport(name=self.name, state="absent", note=self._advice(settings))

    def obtain(self, settings: EngineSettings, on_download: OnDownload) -> Path:
        """The folder with the weights, fetched first where they are not there; the network is only asked then.

        Raises:
            ModelMissing: they are not there and cannot be had.
            EngineFailed: retryable; the hub or the disk failed.
        """
        found = self.find(settings.models_dir)
        if found is not None:
            return found
        if self.repository is None or settings.offline:
            raise ModelMissing(f"the weights of {self.name!r} are not here: {self._advice(settings)}", retryable=False)
        _download(self.repository, settings.models_dir, on_download)
        found = self.find(settings.models_dir)
        if found is None:
            raise ModelMissing(f"what the hub has as {self.name!r} is no model for faster-whisper", retryable=False)
        return found

    def _advice(self, settings: EngineSettings) -> str:
        if self.folder is not None:
            return "its folder lacks config.json, model.bin or tokenizer.json in the format of CTranslate2"
        if self.repository is None:
            return "neither a size that Whisper has, nor a folder; correct WHISPER_MODEL or WHISPERX_DEFAULT_MODEL"
        if settings.offline:
            return f"MODELS_OFFLINE is set; put {self.repository} into MODELS_DIR, or allow downloads"
        return "the first job that uses it downloads it"


def allowed_weights(settings: EngineSettings) -> dict[str, Weights]:
    """By public name: all that the settings name. A request can choose among these, never name a path."""
    named = (resolve(text) for text in (*settings.whisper_models, settings.whisper_model))
    return {weights.name: weights for weights in named}


def default_weights(settings: EngineSettings) -> Weights:
    return resolve(settings.whisper_model)


def resolve(text: str) -> Weights:
    """What the operator means by `text`: a size, a folder, or a repository of the hub."""
    if text in SIZES:
        return Weights(text, repository=SIZES[text])
    folder = Path(text).expanduser()
    if folder.is_dir():
        return Weights(folder.resolve().name, folder=folder.resolve())
    if _REPOSITORY.fullmatch(text):
        return Weights(text, repository=text)
    return Weights(folder.name)


def _complete(folder: Path) -> bool:
    return all((folder / name).is_file() for name in NEEDED)


def _cache_folder(models_dir: Path, repository: str) -> Path:
    return models_dir / f"models--{repository.replace('/', '--')}"


def _download(repository: str, models_dir: Path, on_download: OnDownload) -> None:
    from huggingface_hub import constants, snapshot_download  # slow to import, and only needed in a child, once
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    from engines.server.models.download_bar import bar_class, draw_files_with

    remove_stale(_cache_folder(models_dir, repository))
    constants.DOWNLOAD_CHUNK_SIZE = CHUNK_BYTES
    bar = bar_class(on_download)
    draw_files_with(bar)
    try:
        snapshot_download(repository, cache_dir=models_dir, allow_patterns=list(FILES), tqdm_class=bar)
    except (RepositoryNotFoundError, GatedRepoError, RevisionNotFoundError) as error:
        raise ModelMissing(
            "the hub has no such model, or does not give it to us; correct WHISPER_MODEL or put it into MODELS_DIR",
            retryable=False,
        ) from error
    except Exception as error:  # the client lets through what its transports raise, which change with its versions
        logger.warning("weights could not be fetched", exc_info=error)
        raise EngineFailed(
            f"the weights could not be downloaded ({type(error).__name__}): check the network and the space on the "
            "disk of MODELS_DIR, or put the model there by hand",
            retryable=True,
        ) from error


def remove_stale(cached: Path) -> None:
    """Remove what killed downloads left in a repository's folder; the hub's client never goes on with such files."""
    for unfinished in (cached / "blobs").glob("*.incomplete"):
        if time.time() - unfinished.stat().st_mtime > STALE_SECONDS:
            unfinished.unlink(missing_ok=True)
