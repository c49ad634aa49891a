#!/usr/bin/python3
"""An event browser: looks into the stores of a database, and changes nothing.

    browser.py [--port 8500] [--address 127.0.0.1] [--host NAME]

The database and the role are those of the environment variables PGHOST, PGDATABASE,
PGUSER and so on; the role needs what es_grant(role, 'reader') gives.  There is no log-in:
whoever reaches the port sees what the role sees.

Needs the Debian package python3-psycopg.
"""
import argparse
import json
import mimetypes
import pathlib
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import psycopg

from store import BadRequest, Database

STATIC = pathlib.Path(__file__).resolve().parent / "static"

# Payloads are hostile: should one of them ever become markup, nothing may run or be loaded.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
                               "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

# What a request was not told clearly is the reader's to see; the rest stays in the log.
TOLD = {"22": 400, "VE": 400, "42": 403, "3F": 404, "55": 503, "57": 503}


class Handler(BaseHTTPRequestHandler):
    """Answers one connection: files of static/, and the database as JSON under /api/."""

    protocol_version = "HTTP/1.1"
    server_version = "eventstore-browser"
    sys_version = ""
    timeout = 60

    def do_GET(self):
        if not self.is_own_host():
            self.answer(403, {"error": "This host name is not one of this server's: see --host."})
            return
        url = urlsplit(self.path)
        if url.path.startswith("/api/"):
            self.answer_query(url.path[5:], parse_qs(url.query, keep_blank_values=True))
        else:
            self.answer_file(url.path)

    do_HEAD = do_GET

    def is_own_host(self):
        """Other names could lead here from any web page (DNS rebinding), and read along."""
        return self.headers.get("Host", "").rsplit(":", 1)[0] in self.server.names

    def answer_file(self, path):
        name = "index.html" if path == "/" else path[1:]
        content = self.server.files.get(name)
        if content is None:
            self.answer(404, {"error": "There is no such page."})
            return
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        self.send(200, kind + ("; charset=utf-8" if kind.startswith("text/") else ""), content)

    def answer_query(self, name, parameters):
        try:
            self.answer(200, self.server.database.answer(name, parameters))
        except BadRequest as error:
            self.answer(error.status, {"error": str(error)})
        except psycopg.Error as error:
            self.answer_error(error)

    def answer_error(self, error):
        status = TOLD.get((error.sqlstate or "")[:2])
        print(f"{error.sqlstate}: {error}", file=sys.stderr)
        if status is None:
            self.answer(503, {"error": "The database does not answer; see the log of this server.", "code": error.sqlstate})
        else:
            self.answer(status, {"error": error.diag.message_primary, "hint": error.diag.message_hint, "code": error.sqlstate})

    def answer(self, status, value):
        self.send(status, "application/json", json.dumps(value, default=str).encode())

    def send(self, status, kind, content):
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *arguments):
        """Keys and filters are nobody else's business: no log of requests."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address, database, names):
        super().__init__(address, Handler)
        self.database = database
        self.names = {"127.0.0.1", "localhost", address[0], *names}
        # Read once: no path of a request ever becomes the name of a file.
        self.files = {path.name: path.read_bytes() for path in STATIC.iterdir()}


def main():
    parser = argparse.ArgumentParser(description="Looks into the event stores of a database.")
    parser.add_argument("--address", default="127.0.0.1", help="address to listen on; there is no log-in (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8500, help="port to listen on (default: %(default)s)")
    parser.add_argument("--host", action="append", default=[], help="a further name by which browsers may call this server")
    options = parser.parse_args()

    database = Database()
    try:
        database.check()
    except (psycopg.Error, BadRequest) as error:
        sys.exit(f"browser.py: {error}")
    with Server((options.address, options.port), database, options.host) as server:
        print(f"Listening on http://{options.address}:{server.server_port}/", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
