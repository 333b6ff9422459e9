"""`python scripts/gallery.py --help` describes it; its code is in viz/commands/gallery."""

import begin

if __name__ == "__main__":
    begin.technique(__file__)
