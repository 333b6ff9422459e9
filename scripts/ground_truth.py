"""`python scripts/ground_truth.py --help` describes it; its code is in viz/commands/ground_truth.py."""

import begin

if __name__ == "__main__":
    begin.technique(__file__)
