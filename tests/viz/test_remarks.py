"""Silence is a thread's own, and what viz warns of is said of the caller's line."""

import threading
import warnings

import pytest

from viz.remarks import remark, silence

pytestmark = pytest.mark.host("no array is made")


def complain():
    remark("nothing there", stacklevel=2)


def test_a_remark_is_a_warning_at_the_caller():
    with pytest.warns(UserWarning, match="nothing there") as heard:
        complain()
    assert heard[0].filename == __file__


def test_silence_is_kept_in_one_thread_and_ends():
    meeting = threading.Barrier(2, timeout=60)

    def other():
        meeting.wait()
        complain()
        meeting.wait()

    thread = threading.Thread(target=other)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        filters = warnings.filters[:]
        thread.start()
        with silence():
            complain()
            assert not heard and warnings.filters == filters
            meeting.wait()
            meeting.wait()
        assert len(heard) == 1
        complain()
        assert len(heard) == 2
    thread.join()
