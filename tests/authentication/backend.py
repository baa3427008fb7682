"""A backend for [auth.callout]: says who a client is by the cookie of its session."""

import json
import sys
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SESSIONS = {"s-ann": {"user": "ann", "roles": ["staff"], "info": {"name": "Ann"}},
            "s-bob": {"user": "bob", "topics": {"subscribe": ["room.1"], "publish": ["room.1"]}}}


class Backend(BaseHTTPRequestHandler):
    def do_GET(self):
        cookie = SimpleCookie(self.headers.get("Cookie", "")).get("sid")
        user = SESSIONS.get(cookie.value) if cookie and self.path == "/rialto" else None
        self.send_response(200 if user else 401)
        self.end_headers()
        self.wfile.write(json.dumps(user).encode())


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Backend)
print(server.server_port, flush=True)
server.serve_forever()
