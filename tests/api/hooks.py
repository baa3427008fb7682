"""Teaches schemathesis what JSON Schema cannot say of this API: MessagePack, lengths in bytes, whole numbers without a fraction."""

import base64
import binascii

import msgpack
import schemathesis

MEDIA_TYPE = "application/msgpack"


def whole(value):
    """JSON Schema holds 1.0 for an integer; the protocol does not."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [whole(item) for item in value]
    if isinstance(value, dict):
        return {key: whole(item) for key, item in value.items()}
    return value


@schemathesis.hook
def map_body(context, body):
    return whole(body)


@schemathesis.hook
def filter_body(context, body):
    """Lengths count bytes of UTF-8; JSON Schema counts characters."""
    if not isinstance(body, dict):
        return True
    most = {"topic": 255, "pattern": 255, "key": 128}
    return all(fits(body.get(name), bytes_max) for name, bytes_max in most.items())


def fits(text, bytes_max):
    """Whether a text has as many bytes as its number of characters would allow."""
    if not isinstance(text, str) or len(text) > bytes_max:
        return True
    return len(text.encode(errors="surrogatepass")) <= bytes_max


def small(value):
    """MessagePack has no integers beyond 64 bits; in JSON they are doubles."""
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return float(value)
    if isinstance(value, list):
        return [small(item) for item in value]
    if isinstance(value, dict):
        return {key: small(item) for key, item in value.items()}
    return value


@schemathesis.serializer(MEDIA_TYPE)
def pack(context, value):
    if isinstance(value, dict) and isinstance(value.get("bytes"), str):
        try:
            value = {**value, "bytes": base64.b64decode(value["bytes"], validate=True)}
        except (binascii.Error, ValueError):
            # Wrong on purpose: text in the place of bytes is wrong too.
            pass
    return msgpack.packb(small(value))


def shown(value):
    """A `bin` is what base64 text is in JSON, and so the schema describes it."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, list):
        return [shown(item) for item in value]
    if isinstance(value, dict):
        return {key: shown(item) for key, item in value.items()}
    return value


@schemathesis.deserializer(MEDIA_TYPE)
def unpack(context, response):
    return shown(msgpack.unpackb(response.content))
