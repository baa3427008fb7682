"""A double of the broker: what the plugin's imports do in a test. The bindings are made by `rialto plugin test`."""

import json

from componentize_py_types import Err  # noqa: F401, for the tests
from wit_world.imports import messages, state
from wit_world.imports.types import Encoding, Payload, Session  # noqa: F401, for the tests

import plugin


def json_payload(value):
    return Payload(Encoding.JSON, json.dumps(value).encode())


class Host:
    """A fresh world, and the plugin in it."""

    def __init__(self):
        self.values = {}
        self.published = []
        self.sent = []
        state.get = self.values.get
        state.put = self.values.__setitem__
        state.delete = lambda key: self.values.pop(key, None)
        messages.publish = lambda topic, payload, exclude: self.published.append((topic, json.loads(payload.content)))
        messages.send = lambda session, payload: self.sent.append((session, json.loads(payload.content)))
        self.hooks = plugin.Hooks()
