"""`python scripts/sanity_check.py --help` describes it; its code is in viz/commands/sanity_check.py."""

import begin

if __name__ == "__main__":
    begin.technique(__file__)
