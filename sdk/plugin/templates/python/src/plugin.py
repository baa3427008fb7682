"""{{name}}: what happens on its topics.

Every hook is a transaction: what it asks for happens when it returns, all of it and in order; when it raises, nothing of it
does. The WIT in vendor/wit says what there is besides.
"""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import messages, state
from wit_world.imports.types import (
    Encoding,
    Error_Rejected,
    Payload,
    Rejection,
    Verdict_Replace,
)


def to_json(value):
    """A value as the payload of a message."""
    return Payload(Encoding.JSON, json.dumps(value, ensure_ascii=False).encode())


def parsed(payload):
    """The value of a payload that came as JSON; the client is told when it is something else."""
    if payload.encoding is not Encoding.JSON:
        raise rejected("{{name}} speaks JSON")
    return json.loads(payload.content)


def rejected(reason):
    """A "no" for the client: it gets the error code `rejected`."""
    return Err(Error_Rejected(Rejection(reason, None)))


def count(topic):
    """How many messages a topic has had. State outlives this instance."""
    return int(state.get(topic) or b"0")


class Hooks(exports.Hooks):
    def start(self, config, topic):
        """Called once when an instance starts; `config` is the plugin's table of the broker's configuration, as JSON."""
        return ["call count"]

    def on_connect(self, session, endpoint):
        pass

    def on_disconnect(self, session, endpoint):
        pass

    def on_message(self, session, endpoint, message):
        pass

    def on_subscribe(self, session, topic):
        """A session wants to subscribe: it is greeted, after the answer and before the first message."""
        messages.send(session.id, to_json({"type": "x-hello", "topic": topic, "count": count(topic)}))

    def on_unsubscribe(self, session, topic):
        pass

    def on_publish(self, session, topic, payload):
        """A message was published: texts go out in capitals and are counted, everything else is refused."""
        text = parsed(payload)
        if not isinstance(text, str):
            raise rejected("send a text")
        state.put(topic, str(count(topic) + 1).encode())
        return Verdict_Replace(to_json(text.upper()))

    def on_call(self, session, topic, method, payload):
        """A client calls a method: `count` is how many messages the topic has had."""
        if method != "count" or topic is None:
            raise rejected(f"there is no method {method} here")
        return to_json(count(topic))

    def on_timer(self, name, payload):
        pass
