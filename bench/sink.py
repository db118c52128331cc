"""The anchor of `bench.upload`: a bare ASGI application that hashes what it is sent and throws it away.

    python -m bench.sink --fd N

The server is set up like the API's: uvicorn with httptools and uvloop.
"""

import argparse
import hashlib
import json
import socket
from typing import Any

import uvicorn


async def app(_scope: dict[str, Any], receive: Any, send: Any) -> None:
    digest, more = hashlib.sha256(), True
    while more:
        message = await receive()
        digest.update(message.get("body", b""))
        more = message.get("more_body", False)
    answer = json.dumps({"sha256": digest.hexdigest()}).encode()
    headers = [(b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fd", type=int, required=True, help="serve on this inherited, listening socket")
    options = parser.parse_args()
    config = uvicorn.Config(app, http="httptools", loop="uvloop", lifespan="off", log_config=None, access_log=False)
    uvicorn.Server(config).run([socket.socket(fileno=options.fd)])


if __name__ == "__main__":
    main()
