"""`python scripts/maximize.py --help` describes it; its code is in viz/commands/maximize.py."""

import begin

if __name__ == "__main__":
    begin.technique(__file__)
