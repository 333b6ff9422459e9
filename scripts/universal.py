"""`python scripts/universal.py --help` describes it; its code is in viz/commands/universal.py."""

import begin

if __name__ == "__main__":
    begin.technique(__file__)
