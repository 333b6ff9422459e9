"""`python scripts/over.py --help` describes it; its code is in viz/commands/over.py."""

import begin

if __name__ == "__main__":
    begin.technique(__file__)
