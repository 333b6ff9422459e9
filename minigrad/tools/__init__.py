"""Tools to look at a computation with, never needed to compute: imported when they are asked for."""
