"""The command line: `run`, `convert`, `bridge`, `doctor`, `conf check`, `conf suggest`.

Exit codes: 0 fine, 2 usage or conf; `run` has the program's; `doctor` has 1 when an exporter cannot deliver and 2
when one cannot be set up, `convert` has 1 when a file could not be converted whole and 130 when it was interrupted,
`bridge` has 1 when spans, points or messages were lost or left out.
"""

from __future__ import annotations

import argparse
import math
import sys

from .. import _hiq

__all__ = ["run_command"]

_RUN_EXAMPLES = """\
examples:
  python -m hiq run --conf shop.yaml shop.py --port 8000
  python -m hiq run --conf shop.yaml -m shop --port 8000
  OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 OTEL_SERVICE_NAME=shop python -m hiq run --conf shop.yaml -m shop
  python -m hiq run --conf shop.yaml --file spans.jsonl -m shop
"""

_DOCTOR_EXAMPLES = """\
examples:
  python -m hiq doctor
  python -m hiq doctor otlp jaeger
  python -m hiq doctor --metrics prometheus
  OTEL_EXPORTER_ZIPKIN_ENDPOINT=http://zipkin:9411/api/v2/spans python -m hiq doctor zipkin
"""

_CONVERT_EXAMPLES = """\
The format of a file shows in its content, gzipped or not; that of OUT in its name: .jsonl OTLP JSON lines, .binpb OTLP
protobuf, .pftrace Perfetto, everything else Chrome JSON for ui.perfetto.dev, vizviewer and chrome://tracing; .gz
compresses. `-` is standard input and output; as OUT it needs --to-format. What is read before a file's error is kept,
and of JSON lines a bad one costs no other; but a file that is there gives way only to all that was to be read.
VizTracer's reports count from the start of their host unless they say more; --base-time tells when that was.

examples:
  python -m hiq convert result.json trace.otlp.jsonl          a report of VizTracer as OTLP
  python -m hiq convert spans.jsonl more.jsonl trace.pftrace.gz
  zcat spans.jsonl.gz | python -m hiq convert --to-format perfetto - - > trace.pftrace
  OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 python -m hiq convert --to otlp result.html
"""


_BRIDGE_EXAMPLES = """\
Brokers, topics and group are in the address; user, password and certificates in HIQ_KAFKA_*, where a backend is in its
own variables. Bridges of one group share the topics' partitions. What was read is committed once it was delivered: a
bridge that is killed loses nothing, and what it delivered last may be delivered again. SIGTERM ends it cleanly.
Messages carry spans or metrics: a header says which (hiq-signal), or their looks. otlp, kafka, prometheus,
oci_monitoring and console take metrics, as they are and in the order of their partition (HIQ_KAFKA_METRICS_KEY=service
where they are made keeps a service in one); deltas, and what no exporter here takes, are left out and counted.
For prometheus spans are counted: calls, errors and times by service and function, written to HIQ_REMOTE_WRITE_ENDPOINT
every OTEL_METRIC_EXPORT_INTERVAL (5000 ms) under an instance of the bridge's own. Metrics are written there with the
job, instance and times that they have.

examples:
  OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318 \\
    python -m hiq bridge --from kafka://kafka-1:9092,kafka-2:9092/otlp_spans?group=to-collector --to otlp
  python -m hiq bridge --from kafka://localhost:9092/zipkin,jaeger-spans --to otlp,jaeger
  HIQ_REMOTE_WRITE_ENDPOINT=http://prometheus:9090 \\
    python -m hiq bridge --from kafka://localhost:9092/otlp_spans?group=to-prometheus --to prometheus
  HIQ_REMOTE_WRITE_ENDPOINT=http://prometheus:9090 \\
    python -m hiq bridge --from kafka://localhost:9092/otlp_spans,otlp_metrics?group=both --to prometheus
  python -m hiq bridge --from kafka://localhost:9092/hiq-trees --encoding hiq_text --until-end --to otlp
"""


def run_command(arguments: list[str]) -> int:
    """Runs one command and returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except _hiq.ConfigError as error:
        sys.stderr.write(f"hiq: {error}\n")
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hiq", description="Traces Python programs without touching them.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"hiq {_hiq.version}")
    parser.set_defaults(parser=parser)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_run(commands)
    _add_convert(commands)
    _add_bridge(commands)
    _add_doctor(commands)
    conf = commands.add_parser("conf", help="check or propose a conf").add_subparsers(metavar="COMMAND", required=True)
    _add_check(conf)
    _add_suggest(conf)
    return parser


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "run",
        help="run a program with its declared functions traced",
        usage="hiq run [options] [--] SCRIPT [ARGUMENT ...]\n       hiq run [options] -m MODULE [ARGUMENT ...]",
        epilog=_RUN_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("-c", "--conf", metavar="FILE", help="which functions are traced (YAML, JSON or CSV)")
    parser.add_argument("--service-name", metavar="NAME", help="the program's name in the backend (OTEL_SERVICE_NAME)")
    parser.add_argument("--endpoint", metavar="URL", help="where OTLP goes (OTEL_EXPORTER_OTLP_ENDPOINT)")
    parser.add_argument(
        "--protocol", choices=["grpc", "http/protobuf", "http/json"], help="OTEL_EXPORTER_OTLP_PROTOCOL"
    )
    parser.add_argument("--file", metavar="PATH", help="append OTLP JSON lines to a file, instead of sending")
    parser.add_argument("--console", action="store_true", help="print spans, instead of sending")
    parser.add_argument("--log-ids", action="store_true", help="put trace and span ids on logging records")
    parser.add_argument("-m", dest="is_module", action="store_true", help="MODULE is a module, as for python -m")
    # All that follows the first word that is not an option of ours belongs to the program.
    parser.add_argument("program", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.set_defaults(command=_run, parser=parser)


def _add_doctor(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "doctor",
        help="send one span or sample through each exporter, and say what is wrong",
        epilog=_DOCTOR_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "exporters", nargs="*", metavar="EXPORTER", help="otlp, jaeger, zipkin, ... (OTEL_TRACES_EXPORTER, else otlp)"
    )
    parser.add_argument(
        "--metrics",
        action="append",
        default=[],
        metavar="EXPORTER",
        help="an exporter of metrics: prometheus, otlp, remote_write, ... (OTEL_METRICS_EXPORTER)",
    )
    parser.add_argument("--timeout", type=_seconds, default=10.0, metavar="SECONDS", help="for each exporter (10)")
    parser.set_defaults(command=_doctor, parser=parser)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"`{text}` is no time to wait; give seconds, more than 0")
    return seconds


def _add_convert(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    readable, writable = _hiq.convert_formats()
    parser = commands.add_parser(
        "convert",
        help="turn files of spans into another format, or send them",
        usage="hiq convert [options] IN [IN ...] OUT\n       hiq convert [options] --to EXPORTER IN [IN ...]",
        epilog=_CONVERT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="files to read, then the file to write")
    parser.add_argument(
        "--from", dest="from_format", choices=readable, help="what the files are, whatever they look like"
    )
    parser.add_argument("--to-format", choices=writable, help="what OUT becomes, whatever its name")
    parser.add_argument(
        "--to", metavar="EXPORTER", help="send instead: otlp, jaeger, zipkin; set up by the environment"
    )
    parser.add_argument(
        "--base-time", type=_unix_time, metavar="SECONDS", help="Unix time of a Chrome trace's time zero"
    )
    parser.set_defaults(command=_convert, parser=parser)


def _unix_time(seconds: str) -> int:
    """In nanoseconds."""
    number = float(seconds)
    if not 0 <= number * 1e9 < 1 << 64:
        raise argparse.ArgumentTypeError(f"{seconds} is no Unix time in seconds, from 0 to {(1 << 64) // 10**9}")
    return round(number * 1e9)


_unix_time.__name__ = "number of seconds"  # In argparse's messages.


def _add_bridge(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "bridge",
        help="forward the spans and metrics in a topic of Kafka, delivered before committed",
        usage="hiq bridge --from kafka://HOST:PORT/TOPIC[?group=NAME] --to EXPORTER[,EXPORTER] [options]",
        epilog=_BRIDGE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--from", dest="source", required=True, metavar="ADDRESS", help="brokers, topics, group")
    parser.add_argument("--to", required=True, metavar="EXPORTER", help="otlp, jaeger, zipkin, kafka, prometheus, ...")
    parser.add_argument("--group", metavar="NAME", help="the consumer group (hiq-bridge)")
    parser.add_argument("--encoding", metavar="NAME", help="of messages that do not say: otlp_proto, zipkin_json, ...")
    parser.add_argument(
        "--signal", choices=["traces", "metrics"], help="what messages carry that neither say it nor show it"
    )
    parser.add_argument("--until-end", action="store_true", help="end when everything there is was delivered")
    parser.set_defaults(command=_bridge, parser=parser)


def _add_check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("check", help="look whether a conf fits the code that can be imported here")
    parser.add_argument("conf", metavar="FILE")
    parser.set_defaults(command=_check, parser=parser)


def _add_suggest(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("suggest", help="propose a conf for a package: its public functions and methods")
    parser.add_argument("package", metavar="PACKAGE")
    parser.add_argument("--format", choices=["yaml", "json", "csv"], default="yaml")
    parser.set_defaults(command=_suggest, parser=parser)


def _run(options: argparse.Namespace) -> int:
    program = list(options.program)
    if program[:1] == ["--"]:
        del program[0]
    if options.is_module:
        program.insert(0, "-m")
    if len(program) < (2 if options.is_module else 1):
        options.parser.error("a script, or -m and a module, is needed")
    from .run import run

    return run(program, options)


def _doctor(options: argparse.Namespace) -> int:
    from .doctor import doctor

    return doctor(options.exporters, options.metrics, options.timeout)


def _convert(options: argparse.Namespace) -> int:
    inputs = list(options.files)
    if options.to is None and len(inputs) < 2:
        options.parser.error("a file to read and one to write are needed, or --to")
    output = inputs.pop() if options.to is None else None
    if output in inputs and output != "-":
        options.parser.error(f"{output} cannot be read and written at once")
    from .convert import convert

    return convert(
        inputs,
        output,
        from_format=options.from_format,
        to_format=options.to_format,
        send=options.to,
        base_unix_nanos=options.base_time,
    )


def _bridge(options: argparse.Namespace) -> int:
    from .bridge import bridge

    to = [name for name in options.to.split(",") if name]
    return bridge(
        options.source,
        to,
        encoding=options.encoding,
        signal_name=options.signal,
        group=options.group,
        until_end=options.until_end,
    )


def _check(options: argparse.Namespace) -> int:
    from .check import check

    return check(options.conf)


def _suggest(options: argparse.Namespace) -> int:
    from .suggest import suggest

    return suggest(options.package, options.format)
