"""`python scripts/reconstruct_content.py --help` describes it; its code is in viz/commands/reconstruct_content.py."""

import begin

if __name__ == "__main__":
    begin.technique(__file__)
