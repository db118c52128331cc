"""Consume results, each once: `python results.py amqp://guest:guest@localhost:5672/ results.sqlite`.

A result may be delivered twice, as nothing can promise otherwise over a network; its message id is then the same. Here
a row with that id goes into the database in the transaction that keeps the result, so whatever is killed, each is kept
once. Needs `pip install pika`.
"""

import json
import sqlite3
import sys
from typing import Any

import pika

TABLE = "CREATE TABLE IF NOT EXISTS results (message_id TEXT PRIMARY KEY, attachment_id INTEGER, said TEXT NOT NULL)"
KEEP = "INSERT OR IGNORE INTO results VALUES (?, ?, ?)"


def consume(url: str, database: sqlite3.Connection) -> None:
    """Keep results for ever."""
    database.execute(TABLE)

    def take(channel: Any, method: Any, properties: pika.BasicProperties, body: bytes) -> None:
        result = json.loads(body)
        with database:  # commits, or undoes it all
            kept = database.execute(KEEP, (properties.message_id, result["attachment_id"], body.decode()))
            if kept.rowcount:  # it is new: whatever else is to be done with it goes in here
                print(result["attachment_id"], result["texto"] if result["success"] else result["error_message"])
        channel.basic_ack(method.delivery_tag)

    channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
    channel.basic_qos(prefetch_count=20)
    channel.basic_consume("whisper_results", take)
    channel.start_consuming()


if __name__ == "__main__":
    consume(sys.argv[1], sqlite3.connect(sys.argv[2]))
