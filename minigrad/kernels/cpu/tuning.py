"""All constants of tuning of the CPU's kernels: how large a block is, and from which size on which way is taken.

None of them changes what is computed, only when and in what portions. Where a comment does not give arithmetic, the
value was found by trying others, on cores with AVX-512, a first-level cache of 48 KiB and a second-level one of 1 MiB.
Those that stand for a share of a cache are multiples of FIRST or SECOND, bytes that are read from the machine. On
another processor, with AVX2 and a second-level cache of 512 KiB, nothing beat the same values beyond noise, while a
quarter of BLOCK_OF_ALL cost 24 %, and half or four times the numbers for the first-level cache 15 to 24 %. So a smaller
cache counts as the one measured on, and a larger one as at most twice that: larger blocks are by arithmetic alone.

Blocks are larger than the caches they are named after: a call takes some microseconds before it computes, in which the
other threads wait for the interpreter's lock, and smaller blocks need more calls.
"""

from pathlib import Path

MEASURED = 48 << 10, 1 << 20  # bytes of first- and second-level cache of a core where the values were found
DEFAULT = 32 << 10, 1 << 20  # where the system does not say
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")  # as Linux tells them


def cache_sizes(folder=CACHES):
    """(first, second): bytes of a core's caches for data as the system gives them, or DEFAULT's."""
    found = dict(zip((1, 2), DEFAULT, strict=True))
    for index in folder.glob("index*"):
        try:
            level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
            if kind in ("Data", "Unified") and int(level) in found:
                found[int(level)] = int(size.removesuffix("K")) << 10
        except (OSError, ValueError):
            continue
    return found[1], found[2]


# what counts: at least what was measured on, at most twice that
FIRST, SECOND = (min(max(size, least), 2 * least) for size, least in zip(cache_sizes(), MEASURED, strict=True))

# ---- blocks that stay in a cache: bytes ------------------------------------------------------------------------------

OPERAND_BYTES = SECOND  # of each operand in a block of a pass over whole arrays (elementwise, channels)
WINDOW_BYTES = 3 * SECOND  # of windows in a block of the direct convolution, of pixels in a block of pooling
BLOCK_BYTES = 6 * SECOND  # of transformed tiles and products in a block of Winograd's
LARGEST_WHOLE_U = 6 * SECOND  # of transformed weights (U) that every block reads whole
U_AT_ONCE = 5 * SECOND // 4  # of a larger U that a thread makes, uses and forgets

# ---- weights that stay in the first-level cache while a block passes by: numbers (float32) ---------------------------

NUMBERS_OF_U = FIRST // 6  # of one value's U for a panel and a part: two thirds of the cache, the rest is for tiles
FEW_WEIGHTS = FIRST // 4  # of a direct convolution whose weights are kept in order, and multiplied in short products

# ---- Winograd: tiles and channels ------------------------------------------------------------------------------------

MIN_TILES_FROZEN = 16  # tiles of 2x2 outputs from which on it is quicker than the direct way, with frozen weights,
MIN_TILES_CHANGING = 36  # with weights that are transformed in each call,
MIN_TILES_WEIGHT_GRAD = 160  # and for the gradient of weights
MIN_PRODUCTS = 1 << 17  # tiles of 2x2 times O times C: below it, calls cost more than products save
MIN_CHANNELS = 16  # of both C and O: below it, transforming tiles costs more than products save
WEIGHT_COST_IN_TILES = 16  # reading or making a weight's n^2 numbers takes as long as the products of so many tiles
BLOCK_OF_ALL = 256  # tiles in a block that all threads work on together
FEW_TILES = BLOCK_OF_ALL // 4  # for so few, a U that is not kept is made as a whole up to half of LARGEST_WHOLE_U
MANY_TILES = 2 * BLOCK_OF_ALL  # for more, a U of up to twice LARGEST_WHOLE_U is made once and not block by block
MIN_BLOCK = 24  # tiles in a block of one thread, whatever the caches say
MIN_BLOCK_WEIGHT_GRAD = 64  # the same where each block adds to a sum as large as U
PANELS = (64, 48, 32, 16)  # output channels of a panel, the widest that divides O: OpenBLAS' AVX-512 kernels like them
MANY_INPUTS = 256  # input channels from which on a panel has at most half of PANELS[0]
PARTS = (1, 2, 4, 8)  # into how many parts input channels may be cut
VALUES_AT_ONCE = 4  # of the n^2, that a thread sums over all tiles for the gradient of weights
STEPS_AT_ONCE = 16  # products that a thread does at a time when it transforms weights

# ---- BLAS and NumPy: where they change their ways --------------------------------------------------------------------

UNCOPIED = 10**6  # multiplications: OpenBLAS copies no operand of (a, b) by (b, c) while a * b * c is at most this
TRANSFORM_COLUMNS = 15_000  # columns that a transform's matrix (n, n) meets at once: 8 * 8 * 15,000 is below UNCOPIED
TAP_COLUMNS = 2048  # and the weights' (n^2, 9): 36 * 9 * 2048 is below it
GIL_HELD_RESULTS = 500  # numbers in a result, up to which NumPy's matmul keeps the interpreter's lock throughout
NUMPY_BUFFER = 1 << 13  # elements of an operand that NumPy's ufuncs buffer; rows as long as this are not copied
RUN_OF_TAPS = 1536  # numbers that a depthwise convolution weighs at once: the same in all taps' weights stay in a cache
WIDE_ROW = 1024  # numbers: channel passes join positions to rows of up to so many, for NumPy likes long inner loops

# ---- when threads and other orders pay -------------------------------------------------------------------------------

MIN_MULTIPLICATIONS = 1 << 23  # of a product: below this, starting threads costs more than it saves,
MIN_READ_BYTES = 4 << 20  # unless it reads more than this, which two cores do faster than one
LONG_SUM = 32  # a product is cut along its inner length where that is so many times the longer side of its result
FEW_CHANNELS = 16  # below so many, runs of channels are short, and windows are copied in runs of pixels instead
FEW_OUTPUTS = 4  # with so many times fewer outputs than inputs, products are shifted, not windows copied
FEW_PIXELS = 4  # with at most so many times more pixels than channels, a strided gradient's products are scattered
SPREAD_CHANNELS = 256  # input channels that a thread takes at a time where it adds products to few pixels

# ---- memory for long use: bytes --------------------------------------------------------------------------------------

HUGE_PAGE = 1 << 21  # the system's
WORKSPACE_BYTES = 48 << 20  # the most that a Workspace keeps under one name

# ---- when other processes want the cores -----------------------------------------------------------------------------

# A pass that loses more time than this shows it. Measured beside two and more of them: half of it and more.
LOST_SHARE = 1 / 3  # of the pass
LOST_SECONDS = 1e-3  # less is no time slice of another process
BUSY_SECONDS = 1.0  # after the last such pass: then it is tried anew
