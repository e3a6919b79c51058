"""`python -m data_samples OUT [--seed N]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from data_samples import SEED, generate

parser = argparse.ArgumentParser(prog="python -m data_samples", description="Write the generated sample district.")
parser.add_argument("out", type=Path, help="folder to write to")
parser.add_argument("--seed", type=int, default=SEED, help=f"default {SEED}")
arguments = parser.parse_args()
sys.stdout.write(f"{generate(arguments.out, arguments.seed)}\n")
