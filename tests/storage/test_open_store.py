"""Which store the settings name."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from config.settings import StorageSettings
from domain.errors import BadSettings
from storage import open_store
from storage.local import LocalStore
from storage.s3 import S3Store
from tests.storage.bodies import in_chunks, read
from tests.storage.contract_suite import SOURCE
from tests.support.swift import Swift

LINK_SECRET = SecretStr("the secret of these tests")


async def test_without_an_endpoint_objects_lie_in_the_folder(tmp_path: Path) -> None:
    store = await open_store(StorageSettings(root=tmp_path / "objects", link_secret=LINK_SECRET))
    await store.put(SOURCE, in_chunks(b"x"))
    assert isinstance(store, LocalStore)
    assert (tmp_path / "objects" / SOURCE).read_bytes() == b"x"
    await store.close()


async def test_with_an_endpoint_objects_lie_in_the_bucket_even_where_a_folder_is_named(
    swift: Swift, tmp_path: Path
) -> None:
    settings = StorageSettings(
        root=tmp_path,
        endpoint=swift.endpoint,
        access_key=SecretStr(swift.access_key),
        secret_key=SecretStr(swift.secret_key),
    )
    store = await open_store(settings)
    await store.put(SOURCE, in_chunks(b"x"))
    assert isinstance(store, S3Store)
    assert await read(store, SOURCE) == b"x"
    await store.close()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (StorageSettings(link_secret=LINK_SECRET), "STORAGE_DIR"),
        (StorageSettings(root=Path("objects")), "LINK_SECRET"),
    ],
)
async def test_a_store_that_is_half_named_stops_the_start(settings: StorageSettings, named: str) -> None:
    with pytest.raises(BadSettings, match=named):
        await open_store(settings)
