#!/usr/bin/env python3
"""Reads the clicks that Tollway publishes to Kafka, for reports or fraud checks of your own.

    pip install confluent-kafka
    KAFKA_BROKERS=localhost:9092 KAFKA_TOPIC=tollway-clicks python3 examples/consume_clicks.py

The group of its own takes no click from the processors. Kafka delivers a click at least once: the same clickId is the same click.
An event says what was clicked, not what was charged: that is in the ledger, see `tollway export`.
"""
import json
import os
import sys

from confluent_kafka import Consumer


def read_click(value):
    """The click of a record, or None for a watermark and for anything else that is no click of version 1."""
    try:
        event = json.loads(value)
    except (TypeError, ValueError):
        return None
    is_click = isinstance(event, dict) and event.get("v") == 1 and "clickId" in event
    return event if is_click else None


def main():
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ.get("KAFKA_BROKERS", "localhost:9092"),
            "group.id": os.environ.get("KAFKA_GROUP", "click-report"),
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([os.environ.get("KAFKA_TOPIC", "tollway-clicks")])
    try:
        while True:
            message = consumer.poll(1.0)
            if message is None:
                continue
            if message.error():
                print(f"Kafka: {message.error()}", file=sys.stderr)
                continue
            click = read_click(message.value())
            if click is not None:
                # priceMicros is an integer of millionths: never convert money to a float.
                print(click["clickId"], click["adId"], click["priceMicros"], click["invalid"] or "valid", flush=True)
            # Only now: a crash before this line reads the record again.
            consumer.commit(message)
    except KeyboardInterrupt:
        pass
    finally:
        consumer.close()


if __name__ == "__main__":
    main()
