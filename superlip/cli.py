"""The ``superlip`` command."""

import argparse
import contextlib
import dataclasses
import errno
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from superlip.tools import terminal
from superlip.tools.children import ended_children
from superlip.tools.failures import CLOSED, EXIT_STATUS, INTERRUPTED, UsageError, failure_of, write_failure
from superlip.tools.files import write_whole
from superlip.tools.terminal import Column, Fit, Row, literal, make_console, print_table, print_text

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status (``EXIT_STATUS`` says what each means)."""
    argv = sys.argv[1:] if argv is None else argv
    terminal.open_streams()
    errors = make_console(stderr=True)
    try:
        return _command(argv, errors)
    except terminal.OutputClosed:
        return CLOSED
    finally:
        terminal.drop_output()


def _command(argv, errors):
    """Do what the command line asks for; what goes wrong is said here, once and in one line."""
    try:
        arguments = _parser().parse_args(argv)
        with _signals_interrupt(), ended_children():
            status = arguments.work(arguments, make_console(), errors)
        terminal.flush_output()
        return status
    except SystemExit as end:  # --help, --version
        terminal.flush_output()
        return end.code
    except terminal.OutputClosed:
        raise
    except (Exception, KeyboardInterrupt) as error:
        if "--debug" in argv or os.environ.get("SUPERLIP_DEBUG", "0") not in ("", "0"):
            errors.print(literal(traceback.format_exc(), lines=True), end="", soft_wrap=True)
        failure = failure_of(error)
        _say(errors, failure.message, "" if failure.exit == INTERRUPTED else "red")
        path = _json_file(argv)
        if path is not None:
            write_failure(failure, path)
        return failure.exit


def _complain(console, text):
    _say(console, f"error: {text}", "red")


def _say(console, text, style=""):
    console.print(literal(f"superlip: {text}", style, lines=True), soft_wrap=True)


def _json_file(argv):
    """The file that the command line, right or wrong, names for its report."""
    reader = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    reader.add_argument("--json")
    try:
        return reader.parse_known_args(argv)[0].json
    except (argparse.ArgumentError, SystemExit):
        return None


_IMAGES = (
    "a .npz or .npy with the array named as the model's input, or images, x or data, or else the only one of its shape"
)


class _Parser(argparse.ArgumentParser):
    """Knows options by their whole names only; what it can't understand is one line."""

    def __init__(self, **options):
        super().__init__(allow_abbrev=False, **options)
        self.add_argument("--debug", action="store_true", help="show the traceback of an error, too")
        self.set_defaults(work=self._help)

    def error(self, message):
        raise UsageError(f"{message} ({self.prog} --help says more)")

    def _help(self, arguments, console, errors):
        """For a command that is none without another word."""
        del arguments, console, errors
        self.print_help()
        return 0


def _parser():
    statuses = "".join(f"  {status:3}  {meaning}\n" for status, meaning in EXIT_STATUS.items())
    parser = _Parser(
        prog="superlip",
        description="CNN inference on several FPGAs, proved bit by bit",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"exit status:\n{statuses}",
    )
    parser.add_argument("--version", action="version", version=f"superlip {version('superlip')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def plain_command(name, work, text, parent=commands):
        command = parent.add_parser(name, help=text, description=text)
        command.set_defaults(work=work)
        return command

    def model_command(name, work, text, *, boards=True):
        command = plain_command(name, work, text)
        command.add_argument("model", help="ONNX file: float, QDQ or QOperator")
        command.add_argument("--calibrate", metavar="FILE", help=f"images to quantize a float model for: {_IMAGES}")
        command.add_argument(
            "--random-weights", type=_seed, metavar="SEED", help="make weights up (graphs without any)"
        )
        command.add_argument(
            "--input-shape",
            type=_input_shape,
            action="append",
            metavar="NAME=N,C,H,W",
            help="sizes of an input that the model leaves open, with the batch; once for each such input",
        )
        command.add_argument(
            "--quantize",
            metavar="WORDS",
            help="how to quantize a float model: minmax (default), percentile=NUMBER, entropy, mse or auto; "
            "no-equalize; correct-bias; with commas between them",
        )
        if boards:
            command.add_argument(
                "--accept-accuracy",
                action="store_true",
                help="go on where int8 is far from the model as given",
            )
            command.add_argument(
                "--boards",
                type=_positive,
                default=1,
                metavar="N",
                help="boards that share the work: 1 (default) or 2",
            )
            node_option(command)
        return command

    def node_option(command):
        text = "zcu102 (64x64 MACs; the default), tiny (8x8) or a TOML file"
        command.add_argument("--node", default="zcu102", metavar="PRESET|FILE", help=text)

    def table_options(command):
        command.add_argument("--wide", action="store_true", help="show all columns of the table")
        command.add_argument("--csv", metavar="FILE", help="write all columns of the table as CSV")

    command = model_command("run", _run, "simulate a network on N boards and on one, and compare every bit")
    command.add_argument("--images", type=_positive, metavar="N", help="run the first N images only")
    labels = "; for the accuracy, labels or y: class numbers or one-hot; default: heldout.npz beside the model"
    command.add_argument("--data", metavar="FILE", help=f"images to run: {_IMAGES}{labels}")
    command.add_argument("--json", metavar="FILE", help="write the report as JSON")
    table_options(command)
    command.add_argument("--pure-rtl", action="store_true", help="simulate without C++ stand-ins for the data paths")
    command.add_argument("--fresh", action="store_true", help="begin anew, where an interrupted run could go on")
    command = model_command("bisect", _bisect, "find the first wrong value: layer, channel, pixel, cycle, instruction")
    command.add_argument("--images", type=_positive, metavar="N", help="run the first N images only")
    command.add_argument("--data", metavar="FILE", help=f"images to run: {_IMAGES}; default: heldout.npz")
    command.add_argument("--pure-rtl", action="store_true", help="simulate without C++ stand-ins for the data paths")
    command.add_argument("--built", metavar="DIR", help="take the boards' DRAM from a folder that superlip build wrote")
    command.add_argument("-o", "--output", default=".", metavar="DIR", help="for bisect-N.vcd (default: .)")
    command.add_argument("--no-waves", action="store_true", help="write no waveform (it takes a simulator of its own)")
    command.add_argument("--watchdog", type=_positive, metavar="CYCLES", help="without progress until a node stops")
    command = model_command(
        "check", _check, "say for every node of a model where it runs, or why it can't", boards=False
    )
    command.add_argument(
        "--accuracy", action="store_true", help="also compare with the model as given, beside ONNX Runtime's quantizer"
    )
    command.add_argument("--data", metavar="FILE", help="for --accuracy; default: heldout.npz beside the model")
    command = model_command("plan", _plan, "show partition and expected cycles of every layer")
    command.add_argument("--json", metavar="FILE", help="write the plan as JSON")
    command.add_argument(
        "--explain", action="store_true", help="say of every layer what bounds it, and what other partitions would cost"
    )
    table_options(command)
    command = model_command("build", _build, "write Verilog, programs and DRAM images")
    text = "made; or replaced, if it is empty or holds what build wrote and nothing else"
    command.add_argument("-o", "--output", required=True, metavar="DIR", help=text)
    text = "what a node takes of its FPGA: synthesise it for UltraScale+"
    command = plain_command("resources", _resources, text)
    node_option(command)
    command.add_argument("--json", metavar="FILE", help="write the table as JSON")
    command.add_argument("--markdown", metavar="FILE", help="write the table as Markdown")
    plain_command("doctor", _doctor, "which tools are there, and how to get the others")
    command = commands.add_parser("sim", help="simulate parts of the hardware", description="simulate a part")
    simulate = command.add_subparsers(title="simulators", metavar="SIMULATOR")
    command = plain_command("cocotb", _cocotb, "run a component's cocotb testbench", simulate)
    text = "one of ours, or a Python file of yours; without it: list them"
    command.add_argument("name", nargs="?", metavar="BENCH[::CASE]", help=text)
    command.add_argument("--case", help="one case of the testbench (default: all)")
    command.add_argument("--seed", type=int, help="of the random numbers (default: a new one, printed)")
    command.add_argument("--waves", action="store_true", help="write dump.vcd")
    command.add_argument("--test", help="one test of the testbench (default: all)")
    return parser


def _writable(path):
    """Complain about a report's folder before the work, not after it."""
    if path is None:
        return
    if not Path(path).absolute().parent.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "its folder does not exist", path)
    if Path(path).is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder; a file is wanted", path)


def _positive(text):
    return _whole(text, least=1)


def _seed(text):
    return _whole(text, least=0)


def _input_shape(text):
    """(name, shape) of NAME=1,3,224,224."""
    name, _, sizes = text.rpartition("=")
    try:
        shape = tuple(int(size) for size in sizes.split(","))
    except ValueError:
        shape = ()
    if not name or not shape or min(shape) < 1:
        raise argparse.ArgumentTypeError(f"must be NAME=SIZE,SIZE,... with sizes of at least 1, not {text!r}")
    return name, shape


def _loading(arguments):
    """How the command line says that the model is to be read, as ``load`` takes it."""
    from superlip.graph.onnx.options import QuantizeOptions  # noqa: PLC0415

    shapes = arguments.input_shape or []
    if len(dict(shapes)) != len(shapes):
        raise UsageError("--input-shape names an input twice")
    return {"input_shape": dict(shapes) or None, "quantize": QuantizeOptions.of(arguments.quantize)}


def _whole(text, *, least):
    with contextlib.suppress(ValueError):
        if int(text) >= least:
            return int(text)
    raise argparse.ArgumentTypeError(f"must be a whole number of at least {least}, not {text!r}")


def _run(arguments, console, errors):
    from superlip.tools.cache import cache_folder  # noqa: PLC0415

    from . import api  # noqa: PLC0415

    del errors
    _writable(arguments.json)
    _writable(arguments.csv)
    report = api.run(
        arguments.model, boards=arguments.boards, node=arguments.node, data=arguments.data, limit=arguments.images,
        calibrate=arguments.calibrate, random_weights=arguments.random_weights, **_loading(arguments),
        accept_accuracy=arguments.accept_accuracy, pure_rtl=arguments.pure_rtl,
        checkpoints=cache_folder("checkpoints"), fresh=arguments.fresh, progress=True,
    )  # fmt: skip
    if arguments.json:
        report.write_json(arguments.json)
    _write_csv(report.layers, arguments.csv)
    report.print(console, wide=arguments.wide)
    return 0 if report.bit_exact else 1


@contextlib.contextmanager
def _signals_interrupt():
    """SIGTERM, and SIGHUP of a closed terminal, as Ctrl-C: programs end with us, and ``run`` leaves a checkpoint."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    before = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}  # as nohup does
    for number in before:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _bisect(arguments, console, errors):
    from superlip.diagnose.bisect import bisect, built_dram  # noqa: PLC0415
    from superlip.run.images import load_images  # noqa: PLC0415
    from superlip.sim.build import check_machine  # noqa: PLC0415
    from superlip.sim.cluster import Simulator  # noqa: PLC0415

    from . import api  # noqa: PLC0415

    check_machine()
    dram = None if arguments.built is None else built_dram(arguments.built)
    design = _design(arguments, api, errors)
    loaded = load_images(arguments.model, design.graph, arguments.data, limit=arguments.images)
    images = loaded.images
    for text in loaded.warnings:
        errors.print(literal(f"superlip: warning: {text}"), soft_wrap=True)

    def note(text):
        errors.print(literal(f"superlip: {text}"), style="dim", soft_wrap=True)

    finding = bisect(
        design, images, dram=dram, waves=None if arguments.no_waves else arguments.output, progress=True,
        simulator=Simulator.build(design.target, pure_rtl=arguments.pure_rtl, note=note),
        watchdog=arguments.watchdog, note=note,
    )  # fmt: skip
    if finding is None:
        values = sum(op.output.channels * op.grid[0] * op.grid[1] for op in design.network.ops)
        print_text(console, f"no difference found in {len(images) * values:,} values of {len(images)} images")
        return 0
    print_text(console, str(finding))
    return 1


def _check(arguments, console, errors):
    from superlip.graph import examine  # noqa: PLC0415
    from superlip.ops.lowering import LoweringError  # noqa: PLC0415
    from superlip.plan.lower import lower  # noqa: PLC0415
    from superlip.report.host_share import HostShare  # noqa: PLC0415
    from superlip.run.images import calibration_file  # noqa: PLC0415
    from superlip.tools.progress import Phases  # noqa: PLC0415

    calibrate = calibration_file(arguments.model, arguments.calibrate)
    with Phases(errors) as say:
        say(f"reading {Path(arguments.model).stem}")
        rows, graph = examine(
            arguments.model, calibrate=calibrate, random_weights=arguments.random_weights, **_loading(arguments)
        )
    columns = [Column("node", Fit.FOLDED), Column("operator"), Column("verdict"), Column("why", Fit.FOLDED)]
    styles = {"unsupported": "red", "host": "yellow"}
    print_table(console, columns, [Row(dataclasses.astuple(row), styles.get(row.verdict, "")) for row in rows])
    if graph is not None:
        try:
            share = HostShare.of_network(lower(graph, 64))
        except LoweringError as error:
            print_text(console, f"not supported: {error}")
            return 1
    for text in dict.fromkeys(graph.notes if graph is not None else ()):
        print_text(console, f"note: {text}")
    if graph is not None and share.operations:
        print_text(console, f"host: {share}")
    bad = sum(row.verdict == "unsupported" for row in rows)
    print_text(console, f"{bad} of {len(rows)} nodes are not supported" if bad else f"all {len(rows)} nodes can run")
    if bad or not arguments.accuracy:
        return 1 if bad else 0
    return _check_accuracy(arguments, console, errors)


def _check_accuracy(arguments, console, errors):
    from superlip.run.accuracy import judge, onnxruntime_quantized  # noqa: PLC0415
    from superlip.run.images import load_images  # noqa: PLC0415
    from superlip.tools.progress import Phases  # noqa: PLC0415

    from . import api  # noqa: PLC0415

    with Phases(errors) as say:
        say(f"quantizing {Path(arguments.model).stem}")
        graph = api.load(
            arguments.model,
            calibrate=arguments.calibrate,
            random_weights=arguments.random_weights,
            **_loading(arguments),
            accept_accuracy=True,
        )
        images = load_images(arguments.model, graph, arguments.data)
        say(f"golden of {len(images.images)} images")
        labels, source = images.labels, images.source
        ours = judge(graph, images.images, labels=labels, source=source, progress=say.part)
        assert ours is not None and graph.given is not None  # it was loaded from a file
        theirs = None
        if graph.given.kind == "float":
            say("ONNX Runtime's quantizer")
            theirs = onnxruntime_quantized(graph, images.images, labels=labels, source=source)
    print_text(console, "\n".join(["superlip " + ours.lines()[0], *ours.lines()[1:]]))
    if theirs is not None:
        print_text(console, "\n".join(["ONNX Runtime's quantizer " + theirs.lines()[0], *theirs.lines()[1:]]))
    for text in [*images.warnings, *filter(None, [ours.warning])]:
        print_text(console, f"warning: {text}")
    return 1 if ours.is_useless else 0


def _plan(arguments, console, errors):
    from superlip.report.estimate import Estimate  # noqa: PLC0415
    from superlip.report.explained import explain  # noqa: PLC0415

    from . import api  # noqa: PLC0415

    _writable(arguments.json)
    _writable(arguments.csv)
    design = _design(arguments, api, errors)
    estimate, explained = Estimate.of(design), explain(design) if arguments.explain else None
    if arguments.json:
        write_whole(arguments.json, estimate.to_json(explained))
    _write_csv(estimate.layers, arguments.csv)
    estimate.print(console, wide=arguments.wide)
    if explained is not None:
        print_text(console, "\n".join(line for each in explained for line in each.lines()))
    return 0


def _write_csv(rows, path):
    from superlip.report.table import layers_csv  # noqa: PLC0415

    if path is not None:
        write_whole(path, layers_csv(rows))


def _build(arguments, console, errors):
    from superlip.tools.progress import Phases  # noqa: PLC0415

    from . import api  # noqa: PLC0415
    from .package import place_of  # noqa: PLC0415

    place_of(arguments.output)  # before the work, not after it
    design = _design(arguments, api, errors)
    with Phases(errors) as say:
        say(f"writing {arguments.output}")
        folder = api.build(design, arguments.output)
    print_text(console, f"wrote {folder}: node.v, manifest.json, and dram.bin for each board")
    return 0


def _resources(arguments, console, errors):
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    from superlip.boards import load_target  # noqa: PLC0415
    from superlip.synth.resources import resources  # noqa: PLC0415

    _writable(arguments.json)
    _writable(arguments.markdown)
    target = load_target(arguments.node)
    columns = (TextColumn("synthesising {task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True, speed_estimate_period=600) as bar:
        task = bar.add_task("the node", total=None)
        report = resources(
            target,
            progress=lambda name, done, total: bar.update(task, description=name, completed=done, total=total),
        )
    for path, text in ((arguments.json, report.json()), (arguments.markdown, report.markdown())):
        if path:
            write_whole(path, text)
    report.print(console)
    return 0 if report.fits else 1


def _design(arguments, api, errors):
    from superlip.tools.progress import Phases  # noqa: PLC0415

    with Phases(errors) as say:
        say(f"reading {Path(arguments.model).stem}")
        graph = api.load(
            arguments.model, calibrate=arguments.calibrate, random_weights=arguments.random_weights,
            **_loading(arguments), accept_accuracy=arguments.accept_accuracy, progress=say.part,
        )  # fmt: skip
        if graph.agreement is not None and graph.agreement.warning:
            say.message(f"warning: {graph.agreement.warning}")
        say(f"planning {arguments.boards} board{'s' if arguments.boards > 1 else ''}")
        return api.plan(graph, boards=arguments.boards, node=arguments.node)


def _doctor(arguments, console, errors):
    from superlip.tools.doctor import doctor  # noqa: PLC0415

    del arguments, errors
    rows, ok = doctor()
    columns = [Column(title, Fit.FOLDED) for title in ("tool", "found", "needed for", "to install")]
    lines = [Row((row.tool, row.detail, row.needed_for, row.install), "" if row.found else "red") for row in rows]
    print_table(console, columns, lines)
    print_text(console, "superlip run can work" if ok else "superlip run can't work yet: see the red lines")
    return 0 if ok else 1


def _cocotb(arguments, console, errors):
    from amaranth.hdl import UnusedElaboratable  # noqa: PLC0415

    from superlip.sim.runner import TestbenchError, load_testbench, run_bench, testbenches  # noqa: PLC0415

    if arguments.name is None:
        for name in testbenches():
            print_text(console, name)
        return 0
    testbench, named, case = arguments.name.partition("::")
    case = case if named else arguments.case
    try:
        for name in load_testbench(testbench).CASES if case is None else [case]:
            folder = run_bench(testbench, name, seed=arguments.seed, waves=arguments.waves, test=arguments.test)
            what = "waves and results" if arguments.waves else "results"
            print_text(console, f"{testbench}[{name}] passed; {what} in {folder}")
    except AssertionError as error:
        _complain(errors, str(error))
        return 1
    except TestbenchError:  # what was built till then is of no use: nothing more to say of it
        warnings.simplefilter("ignore", UnusedElaboratable)
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
