"""`python scripts/zeiler_fergus.py --help` describes it; its code is in viz/commands/zeiler_fergus.py."""

import begin

if __name__ == "__main__":
    begin.technique(__file__)
