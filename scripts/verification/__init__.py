"""What verify.py compares: one file for each family of references, and the arithmetic of comparing."""
