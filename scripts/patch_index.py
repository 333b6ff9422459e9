"""`python scripts/patch_index.py --help` describes it; its code is in viz/commands/patch_index.py."""

import begin

if __name__ == "__main__":
    begin.technique(__file__)
