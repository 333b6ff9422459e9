"""This checkout against an earlier one: what a change has cost, or won.

Two processes, one a checkout, wait for their turn; each case is called in one, then in the other, so that both meet the
machine in the same state.
"""

import contextlib
import subprocess
import sys
from pathlib import Path

from benchmarks import measure, report
from models.mistakes import UserError

HERE = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def answering(checkout, case, environment):
    """A function that calls the case once in that checkout, and gives the seconds that it took."""
    command = [sys.executable, str(Path(__file__).with_name("one_checkout.py")), str(checkout), case]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, **pipes, text=True, env=environment, cwd=checkout) as process:
        if process.stdout.readline().strip() != "ready":
            raise UserError(f"{case} fails in {checkout}: {(process.stderr.read().strip().splitlines() or [''])[-1]}")

        def call():
            print(file=process.stdin, flush=True)
            return float(process.stdout.readline())

        try:
            yield call
        finally:
            process.stdin.close()


def timed(checkout, case, rounds, environment):
    """{"before": [seconds], "now": [seconds]} of so many rounds."""
    with answering(checkout, case, environment) as before, answering(HERE, case, environment) as now:
        return measure.in_turns({"before": before, "now": now}, rounds)


def markdown(found):
    """A table of {case: {"before": [seconds], "now": [seconds]}}."""
    rows = [
        (case, report.milliseconds(taken["before"]), report.milliseconds(taken["now"]), shares(taken))
        for case, taken in found.items()
    ]
    return report.table(("case", "before", "now", "now / before"), rows)


def shares(taken):
    middle, low, high = measure.ratio(taken["now"], taken["before"])
    return f"**{middle:.2f}** ({low:.2f} to {high:.2f})"
