"""`python scripts/explore.py --help` describes it; its code is in viz/commands/explore."""

import begin

if __name__ == "__main__":
    begin.technique(__file__)
