"""``btk-punet merge``."""

import argparse
import shlex
from pathlib import Path

from btk_punet.errors import InputError


def add(commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "merge",
        help="put the shards of a run together and finish it",
        description=(
            "Check that the folders hold all shards of one run (see --shard of the other "
            "commands), or of the same runs where a command makes several, put their batches into "
            "one folder, and finish there: tables, plots and reports are those of one part. To "
            "finish, the command of the shards is run again without --shard: give paths in it that "
            "are known here too."
        ),
    )
    parser.set_defaults(run=run)
    parser.add_argument("output", type=Path, metavar="OUTPUT", help="folder to be made")
    parser.add_argument("shards", type=Path, nargs="+", metavar="SHARD", help="folder of a shard")


def run(options: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    from btk_punet.cli import parse
    from btk_punet.evaluation.runs.shards import merge_shards

    merged = merge_shards(options.output, options.shards)
    command = merged[0].get("command")
    if not command:
        raise InputError(
            f"The batches are in '{options.output}', and the shards were not made by a command: "
            "call the same function in Python on that folder, without shard, to finish the run."
        )
    finishing = parse(shlex.split(command)[1:])
    del finishing.shard
    finishing.output, finishing.command = options.output, options.command
    return finishing.run(finishing)
