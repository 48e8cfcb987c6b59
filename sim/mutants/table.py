"""docs/mutants.md: what became of all mutants."""

from .campaign import KILLED, VERDICTS
from .equivalence import CYCLES
from .reasons import reason

__all__ = ["markdown"]

_TEXT = """\
# Mutants

Tests are tested here: yosys plants faults in the components' netlists (a bit stuck or inverted, two bits mixed up), one
at a time, and the components' testbenches are to notice. Made by `make mutants` (`superlip/sim/mutants`), which keeps
its results in [mutants.json](mutants.json), for as long as a component stays as it is; CI tries {some} others, of two
small components, at each commit.

**Fast tests kill {fast} % of the {different} mutants that are not equivalent, all together {all} %.**
({strict_fast} and {strict} % if those count as alive of which that is proved for the first {cycles} cycles only.)

Each mutant is tried on the first of these, and on the next if nothing was noticed:

* *fast*: the component's testbench, as the fast tests run it: its first case, one seed. A test that takes twice its
  cycles has failed.
* *slow*: the same with {seeds} further seeds.
* *node*: the node's testbench, one seed, on a node that has the component in it.
* *equivalent*: a miter shows for all inputs, and any content of registers and memories, that outputs and next content
  are those of the component. No test can notice such a mutant.
* *bounded*: a bounded miter shows for all inputs that outputs and next content are those of the component in the first
  {cycles} cycles.

| component | testbench | mutants | fast | slow | node | equivalent | bounded | alive | killed by fast | by all |
|---|---|---|---|---|---|---|---|---|---|---|
"""


def markdown(done, *, seeds, some, missing=()):
    """The page.

    Parameters
    ----------
    done : list of (Campaign, list of Result)
    seeds : int
        Further seeds of the slow round.
    some : int
        Mutants that CI tries.
    missing : sequence of str
        Components that were not tried.
    """
    rows, alive, everything = [], [], []
    for campaign, results in done:
        component = campaign.component
        rows.append(_row(component.name, component.bench + ("" if component.sizes else ", no node"), results))
        everything += results
        for result in results:
            if result.verdict == "alive":
                mutant = campaign.mutants[result.number - 1]
                alive.append((component.name, str(mutant), mutant.source))
    rows.append(_row("**all**", "", everything))
    killed, bounded = _count(everything, *KILLED), _count(everything, "bounded")
    different = killed + _count(everything, "alive")
    text = _TEXT.format(
        some=some, seeds=seeds, different=different, cycles=CYCLES,
        fast=_percent(_count(everything, "fast"), different), all=_percent(killed, different),
        strict_fast=_percent(_count(everything, "fast"), different + bounded),
        strict=_percent(killed, different + bounded),
    )  # fmt: skip
    note = f"\nNot tried whole with this RTL yet: {', '.join(missing)}.\n" if missing else ""
    return text + "\n".join(rows) + "\n" + note + _survivors(alive)


def _count(results, *verdicts):
    return sum(result.verdict in verdicts for result in results)


def _percent(part, whole):
    return f"{100 * part / whole:.1f}" if whole else "100"


def _row(name, bench, results):
    counts = [_count(results, verdict) for verdict in VERDICTS]
    killed = _count(results, *KILLED)
    different = killed + _count(results, "alive")
    shares = _percent(counts[0], different), _percent(killed, different)
    return "| " + " | ".join([name, bench, str(len(results)), *map(str, counts), *(f"{s} %" for s in shares)]) + " |"


def _survivors(alive):
    """Those that are alive, by their reason."""
    if not alive:
        return ""
    by_reason: dict[str, list[str]] = {}
    for component, mutant, source in alive:
        by_reason.setdefault(reason(component, mutant, source), []).append(f"{component} `{mutant}` ({source})")
    lines = [f"* {why}: {', '.join(places)}" for why, places in sorted(by_reason.items())]
    return "\n## Alive\n\n" + "\n".join(lines) + "\n"
