"""The command line: campaigns over all components, a table of them, and a few mutants chosen by a commit."""

import argparse
import hashlib
import json
import random
import sys
import time
import warnings
from pathlib import Path

from amaranth.hdl import UnusedElaboratable
from rich.console import Console

from superlip.tools.children import ended_children
from superlip.tools.progress import Phases
from superlip.tools.toolchain import ToolError

from .campaign import KILLED, MORE_SEEDS, VERDICTS, Campaign
from .components import COMPONENTS
from .table import markdown

__all__ = ["main"]

ENOUGH = 0.75
"""Of a few mutants that a commit chooses, this part of those that are not equivalent must be killed: less, and a
testbench has stopped to look. Of all about 94 % are (docs/mutants.md), of 40 by chance fewer than 90 % at every fifth
commit, and fewer than 75 % never."""
SOME = 40
"""Mutants that CI tries."""
AT_A_TIME = 2
"""Components that a commit chooses: each has to be built."""


def main(arguments=None):
    """Returns the exit status: 0, or 1 if too few mutants were killed, 3 if a tool is missing or fails."""
    parser = argparse.ArgumentParser(prog="python -m superlip.sim.mutants", description=main.__doc__)
    parser.description = "Plant faults in the RTL's components, and see whether their testbenches notice them."
    parser.add_argument("components", nargs="*", metavar="COMPONENT", help="only these testbenches' components")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--again", action="store_true", help="try those again that fast tests did not kill")
    parser.add_argument("--folder", help="where results are kept (default: in the cache); remove it to try all again")
    parser.add_argument("--known", metavar="FILE", help="take results from this file, and write all there are to it")
    parser.add_argument("--no-run", action="store_true", help="try nothing: only write what is known")
    parser.add_argument("--table", help="write the table to this file")
    parser.add_argument("--some-by", metavar="TEXT", help=f"only {SOME} mutants, which the text (a commit) chooses")
    options = parser.parse_args(arguments)
    names = [component.testbench for component in COMPONENTS]
    if unknown := set(options.components) - set(names):
        parser.error(f"no component {min(unknown)!r}; there are: {', '.join(names)}")
    warnings.simplefilter("ignore", UnusedElaboratable)  # of components that their netlists take the place of
    try:
        with ended_children(), Phases(Console(stderr=True)) as phases:
            return _some(options, phases) if options.some_by else _all(options, phases)
    except ToolError as error:
        print(f"superlip: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("superlip: interrupted; the same command goes on from here", file=sys.stderr)
        return 130


def _all(options, phases):
    chosen = [c for c in COMPONENTS if not options.components or c.testbench in options.components]
    done, missing, everything = [], [], sum(component.count for component in chosen)
    before, file = 0, Path(options.known) if options.known else None
    known = json.loads(file.read_text()) if file and file.exists() else {}
    for component in COMPONENTS:
        if component not in chosen:
            missing.append(component.name)
            continue
        campaign = Campaign(component, folder=options.folder, known=known)
        if not options.no_run:
            _run(campaign, options, phases, before, everything)
        before += component.count
        results = campaign.results()
        if len(results) == len(campaign.mutants):
            done.append((campaign, [results[mutant.number] for mutant in campaign.mutants]))
            print(_line(*done[-1]), flush=True)
        else:
            missing.append(f"{component.name} ({len(results)} of {len(campaign.mutants)} decided)")
        if file:
            before_it = f"{component.name}-{component.case}-"
            known = {key: value for key, value in known.items() if not key.startswith(before_it)}
            known |= {campaign.key: campaign.as_known()} if results else {}
            _write_known(file, known)
    if options.table:
        Path(options.table).write_text(markdown(done, seeds=len(MORE_SEEDS), some=SOME, missing=missing))
    return 0


def _write_known(path, known):
    """A line for each mutant, whole or not at all."""
    parts = (
        f"{json.dumps(key)}: [\n" + ",\n".join(map(json.dumps, results)) + "\n]"
        for key, results in sorted(known.items())
    )
    path.with_suffix(".new").write_text("{\n" + ",\n".join(parts) + "\n}\n")
    path.with_suffix(".new").replace(path)


def _run(campaign, options, phases, before, everything):
    """One campaign, shown as a part of all."""
    phases(campaign.name)

    def progress(number, text):
        phases.part((before + number) / everything, f"{before + number} of {everything}, {text}")

    return campaign.run(jobs=options.jobs, again=options.again, progress=progress)


def _some(options, phases):
    """As a commit says: mutants that nobody has chosen before, of some components."""
    seed = int.from_bytes(hashlib.sha256(options.some_by.encode()).digest()[:4], "big")
    chosen = random.Random(seed).sample([c for c in COMPONENTS if c.is_small], AT_A_TIME)
    began, killed, alive = time.monotonic(), 0, []
    for place, component in enumerate(chosen):
        count = SOME // AT_A_TIME
        campaign = Campaign(component, count=count, seed=seed, folder=options.folder)
        for result in _run(campaign, options, phases, place * count, SOME):
            killed += result.verdict in KILLED
            if result.verdict == "alive":
                mutant = campaign.mutants[result.number - 1]
                alive.append(f"{campaign.name}: {mutant} ({mutant.source})")
    for text in alive:
        print(f"alive: {text}")
    all_of_them = killed + len(alive)
    print(f"{killed} of {all_of_them} mutants killed, in {time.monotonic() - began:.0f} s")
    return 0 if killed >= ENOUGH * all_of_them else 1


def _line(campaign, results):
    counts = {name: sum(r.verdict == name for r in results) for name in VERDICTS}
    return f"{campaign.name}: " + ", ".join(f"{count} {name}" for name, count in counts.items())
