"""`python scripts/activations.py --help` describes it; its code is in viz/commands/activations.py."""

import begin

if __name__ == "__main__":
    begin.technique(__file__)
