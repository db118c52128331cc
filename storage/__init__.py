"""Media and results as objects: `open_store` gives the store that the settings name."""

from config.settings import StorageSettings
from domain.errors import BadSettings
from storage.contract import Store
from storage.local import LocalStore


async def open_store(settings: StorageSettings) -> Store:
    """The S3 server where one is named, else the folder.

    Raises:
        BadSettings: neither is named, or what is named cannot be used.
        StorageUnavailable: the S3 server does not answer now.
    """
    if settings.endpoint is not None:
        # Here, not above: minio costs 0.2 s and 8 MB in every process, which the embedded platform has no use for.
        from storage.s3 import S3Store

        return await S3Store.connect(settings)
    if settings.root is None:
        raise BadSettings("there is no place for recordings: set STORAGE_DIR to a folder, or MINIO_ENDPOINT")
    if settings.link_secret is None:
        raise BadSettings("links to recordings cannot be signed: set LINK_SECRET to a long random text")
    return LocalStore(settings.root, link_secret=settings.link_secret.get_secret_value().encode())
