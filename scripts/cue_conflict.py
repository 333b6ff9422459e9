"""`python scripts/cue_conflict.py --help` describes it; its code is in viz/commands/cue_conflict.py."""

import begin

if __name__ == "__main__":
    begin.technique(__file__)
