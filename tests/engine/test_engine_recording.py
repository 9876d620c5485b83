"""no_grad: restored after exceptions, nested, as a decorator, per thread and per asynchronous task."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from microgradnet import Tensor, grad, hessian, jvp, no_grad, vjp
from microgradnet.graph import is_recording


def leaf(data):
    return Tensor(data, requires_grad=True)


def test_nothing_is_recorded_inside():
    x = leaf([1.0, 2.0])
    with no_grad():
        y = x * x
        assert not is_recording()
    assert is_recording()
    assert y._node is None
    assert (x * x).requires_grad


def test_restored_after_an_exception():
    with pytest.raises(ZeroDivisionError), no_grad():
        raise ZeroDivisionError
    assert is_recording()


def test_nested_also_in_itself():
    manager = no_grad()
    with manager:
        with manager:
            assert not is_recording()
        assert not is_recording()
        with no_grad():
            assert not is_recording()
        assert not is_recording()
    assert is_recording()


def test_as_a_decorator_also_of_a_recursive_function():
    @no_grad()
    def countdown(n):
        assert not is_recording()
        result = [n, *countdown(n - 1)] if n else []
        assert not is_recording()
        return result

    assert countdown(3) == [3, 2, 1]
    assert countdown.__name__ == "countdown"
    assert is_recording()

    @no_grad()
    def fail():
        raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert is_recording()


def test_a_decorated_function_runs_in_many_threads_at_once():
    barrier = threading.Barrier(4)

    @no_grad()
    def inside():
        barrier.wait()
        return is_recording()

    with ThreadPoolExecutor(4) as pool:
        assert [f.result() for f in [pool.submit(inside) for _ in range(4)]] == [False] * 4
        assert [f.result() for f in [pool.submit(is_recording) for _ in range(4)]] == [True] * 4


def test_functions_whose_body_runs_later_are_refused():
    def numbers():
        yield 1

    async def number():
        return 1

    for function in (numbers, number):
        with pytest.raises(TypeError, match=r"would do nothing.* write `with no_grad\(\):` inside it"):
            no_grad()(function)


def test_other_threads_are_not_affected():
    inside, go = threading.Event(), threading.Event()
    seen = {}

    def other():
        with no_grad():
            inside.set()
            go.wait(10)
            seen["other"] = is_recording()

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(10)
    assert is_recording()
    go.set()
    thread.join(10)
    assert seen == {"other": False}


def test_a_thread_started_inside_records():
    seen = []
    with no_grad():
        thread = threading.Thread(target=lambda: seen.append((leaf([1.0]) * 2).requires_grad))
        thread.start()
        thread.join(10)
        assert not is_recording()
    assert seen == [True]


def test_asynchronous_tasks_do_not_disturb_each_other():
    async def quiet(step):
        with no_grad():
            await step.wait()
            return is_recording()

    async def loud(step):
        await asyncio.sleep(0)
        before = is_recording()
        step.set()
        await asyncio.sleep(0)
        return before, is_recording()

    async def main():
        step = asyncio.Event()
        results = await asyncio.gather(quiet(step), loud(step))
        with no_grad():
            inherited = await asyncio.create_task(child()), await asyncio.to_thread(is_recording)
        return results, inherited, is_recording()

    async def child():
        return is_recording()

    assert asyncio.run(main()) == ([False, (True, True)], (False, False), True)


def test_asking_for_a_derivative_records_under_no_grad_too():
    x = leaf([1.0, 2.0])
    y = (x * x * x).sum()
    with no_grad():
        (slope,) = grad(y, x, create_graph=True)
        assert slope.requires_grad
        assert grad(slope, x, np.ones(2))[0].tolist() == [6.0, 12.0]
        assert not grad(y, x)[0].requires_grad
        c = Tensor([1.0, 2.0])
        assert vjp(lambda v: v * v, c, [1.0, 1.0])[1][0].tolist() == [2.0, 4.0]
        assert jvp(lambda v: v * v, c, c)[1].tolist() == [2.0, 8.0]
        assert hessian(lambda v: (v * v).sum(), c).tolist() == [[2.0, 0.0], [0.0, 2.0]]
        assert not is_recording()


def test_grad_restores_recording_after_an_error():
    x = leaf([1.0])
    x.register_hook(lambda g: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        grad((x * x).sum(), x)
    assert is_recording()
