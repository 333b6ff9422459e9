"""`python scripts/trust.py --help` describes it; its code is in viz/commands/trust.py."""

import begin

if __name__ == "__main__":
    begin.technique(__file__)
