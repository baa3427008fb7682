"""The plugin in a plain unittest, with a double of the broker. `rialto plugin test` runs this."""

import unittest

from tests.host import Err, Host, Session, json_payload


class Texts(unittest.TestCase):
    def setUp(self):
        self.host = Host()
        self.hooks = self.host.hooks

    def test_texts_go_out_in_capitals_and_are_counted(self):
        verdict = self.hooks.on_publish(Session("s", None), "{{name}}.a", json_payload("hello"))
        self.assertEqual(verdict.value.content, b'"HELLO"')
        answer = self.hooks.on_call(None, "{{name}}.a", "count", None)
        self.assertEqual(answer.content, b"1")

    def test_everything_else_is_refused(self):
        with self.assertRaises(Err) as refused:
            self.hooks.on_publish(None, "{{name}}.a", json_payload([1]))
        self.assertEqual(refused.exception.value.value.reason, "send a text")

    def test_who_subscribes_is_greeted(self):
        self.hooks.on_subscribe(Session("s", None), "{{name}}.a")
        self.assertEqual(self.host.sent, [("s", {"type": "x-hello", "topic": "{{name}}.a", "count": 0})])


if __name__ == "__main__":
    unittest.main()
