"""`python scripts/templates.py --help` describes it; its code is in viz/commands/templates.py."""

import begin

if __name__ == "__main__":
    begin.technique(__file__)
