"""`python scripts/evaluate_attribution.py --help` describes it; its code is in viz/commands/evaluate_attribution.py."""

import begin

if __name__ == "__main__":
    begin.technique(__file__)
