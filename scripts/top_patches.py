"""`python scripts/top_patches.py --help` describes it; its code is in viz/commands/top_patches.py."""

import begin

if __name__ == "__main__":
    begin.technique(__file__)
