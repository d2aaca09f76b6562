import signal
import threading

import pytest

from hamgan.errors import PreemptedError
from hamgan.training.preemption import PreemptionWatch


def test_sigterm_stops_the_program_where_it_is():
    with pytest.raises(PreemptedError, match="stopped by SIGTERM before the first step"), PreemptionWatch():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_what_tensorflow_makes_of_it_while_it_traces_is_undone():
    def trace():
        try:
            signal.raise_signal(signal.SIGTERM)
        except PreemptedError as error:
            raise RuntimeError(f"in user code:\n{error}") from error

    with pytest.raises(PreemptedError, match=r"^stopped$"), PreemptionWatch("stopped"):
        trace()


def test_other_errors_are_left_as_they_are():
    with pytest.raises(RuntimeError, match=r"^out of memory$"), PreemptionWatch():
        raise RuntimeError("out of memory")


def test_once_deferred_it_is_for_the_callbacks_to_stop():
    called = threading.Event()
    late = []
    with PreemptionWatch() as watch:
        watch.call(called.set)
        watch.defer()
        signal.raise_signal(signal.SIGTERM)
        called.wait()
        watch.call(lambda: late.append("called at once"))
        assert late == ["called at once"]


def test_a_second_signal_does_not_disturb_the_clean_up():
    cleaned = []

    def work():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            cleaned.append(True)

    with pytest.raises(PreemptedError), PreemptionWatch():
        work()
    assert cleaned


def test_other_threads_watch_nothing():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def watch():
        with PreemptionWatch():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=watch)
    thread.start()
    thread.join()
    assert seen == [before]
