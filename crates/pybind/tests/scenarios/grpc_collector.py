"""A collector on grpcio: prints its port, then each call as a line of JSON. Ends with its input.

python grpc_collector.py [STATUS]     answers with this code instead of OK
"""

from __future__ import annotations

import json
import sys
from concurrent import futures

import grpc

SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"


def main() -> None:
    code = grpc.StatusCode[sys.argv[1]] if len(sys.argv) > 1 else None

    def export(request: bytes, context: grpc.ServicerContext) -> bytes:
        metadata = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        say({"metadata": metadata, "body": request.hex(), "seconds": context.time_remaining()})
        if code is not None:
            context.abort(code, "as the test wants it")
        return b""

    server = grpc.server(futures.ThreadPoolExecutor(4))
    handlers = {"Export": grpc.unary_unary_rpc_method_handler(export)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    say({"port": port})
    sys.stdin.read()
    server.stop(0).wait()


def say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


main()
