"""`python scripts/switch_off.py --help` describes it; its code is in viz/commands/switch_off.py."""

import begin

if __name__ == "__main__":
    begin.technique(__file__)
