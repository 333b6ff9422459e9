"""`python scripts/style_transfer.py --help` describes it; its code is in viz/commands/style_transfer.py."""

import begin

if __name__ == "__main__":
    begin.technique(__file__)
