"""`python scripts/linear_demo.py --help` describes it; its code is in viz/commands/linear_demo.py."""

import begin

if __name__ == "__main__":
    begin.technique(__file__)
