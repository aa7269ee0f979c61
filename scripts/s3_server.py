"""A server that speaks like S3, for tests: moto's, in memory, on a port of its own that it prints.

It serves one request at a time, so that create-if-absent is one step, which it isn't in moto; whoever is slow to send one or
to read the answer holds up nobody. In the bucket `forgetful` create-if-absent isn't honoured at all, as by servers that don't
know it. Ends when its standard input does.
"""

import io
import os
import sys
import threading

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.test import Client


class Quiet(WSGIRequestHandler):
    def log_request(self, *_):
        pass


def forgetful(app):
    def serve(environ, start_response):
        if environ["PATH_INFO"].startswith("/forgetful/"):
            environ.pop("HTTP_IF_NONE_MATCH", None)
        return app(environ, start_response)

    return serve


def one_at_a_time(app):
    turn = threading.Lock()

    def serve(environ, start_response):
        size = int(environ.get("CONTENT_LENGTH") or 0)
        environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(size))
        with turn:
            return list(app(environ, start_response))

    return serve


def end_with_stdin():
    sys.stdin.read()
    os._exit(0)


moto = DomainDispatcherApplication(create_backend_app)
for bucket in ("state", "forgetful"):
    created = Client(moto).put(f"/{bucket}")
    assert created.status_code == 200, created.get_data()
server = make_server("127.0.0.1", 0, one_at_a_time(forgetful(moto)), threaded=True, request_handler=Quiet)
print(server.server_port, flush=True)
threading.Thread(target=end_with_stdin, daemon=True).start()
server.serve_forever()
