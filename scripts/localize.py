"""`python scripts/localize.py --help` describes it; its code is in viz/commands/localize.py."""

import begin

if __name__ == "__main__":
    begin.technique(__file__)
