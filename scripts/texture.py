"""`python scripts/texture.py --help` describes it; its code is in viz/commands/texture.py."""

import begin

if __name__ == "__main__":
    begin.technique(__file__)
