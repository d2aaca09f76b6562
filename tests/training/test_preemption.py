import signal
import threading

import pytest

from hamgan.errors import PreemptedError
from hamgan.training.preemption import PreemptionWatch


def test_sigterm_stops_the_program_immediately():
    with pytest.raises(PreemptedError, match="stopped by SIGTERM before the first step"), PreemptionWatch():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_an_error_that_tensorflow_replaced_while_tracing_is_restored():
    def trace():
        try:
            signal.raise_signal(signal.SIGTERM)
        except PreemptedError as error:
            raise RuntimeError(f"in user code:\n{error}") from error

    with pytest.raises(PreemptedError, match=r"^stopped$"), PreemptionWatch("stopped"):
        trace()


def test_other_errors_are_not_changed():
    with pytest.raises(RuntimeError, match=r"^out of memory$"), PreemptionWatch():
        raise RuntimeError("out of memory")


def test_after_defer_sigterm_only_calls_the_callbacks():
    called = threading.Event()
    late = []
    with PreemptionWatch() as watch:
        watch.call(called.set)
        watch.defer()
        signal.raise_signal(signal.SIGTERM)
        called.wait()
        watch.call(lambda: late.append("called at once"))
        assert late == ["called at once"]


def test_a_second_signal_does_not_interrupt_the_cleanup():
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


def test_other_threads_do_not_handle_signals():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def watch():
        with PreemptionWatch():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=watch)
    thread.start()
    thread.join()
    assert seen == [before]
