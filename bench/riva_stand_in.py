"""The strict Riva of the tests as a process of its own, so that it can be killed.

python -m bench.riva_stand_in ADDRESS
"""

import asyncio
import sys

from tests.support.riva.server import riva_server


async def serve(address: str) -> None:
    async with riva_server(address=address) as riva:
        print(riva.uri, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
