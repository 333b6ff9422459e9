"""Any technique over many photographs: where they come from, what is computed, who computes it, where it is kept.

    photographs.py   a folder, a tar archive or a list, in batches, read while others are computed
    work.py          what is done with a batch: a function of the question and the batch alone
    engine.py        who does it: this process, or the workers of a Dask cluster
    store.py         where it is kept: a folder of parts, each written whole or not at all; `open_store` reads it
    report.py        the store as a page: most and least sure, wrong, maps that agree least

The command is viz/commands/over.py.
"""

from .store import open_store as open_store
