"""What every Pool keeps to, over the fake device of the tests. A new one subclasses PoolSuite."""

import pytest

from tests.measure.fake_device import NamedTask, config_of, latency_of
from tilewright.measure.farm.pool import Pool
from tilewright.measure.results import Status
from tilewright.search_space.knobs import Config

TASK = NamedTask("conformance")


class PoolSuite:
    """Override `pool`: open, over a FakeDevice, and closed by whoever made it."""

    @pytest.fixture
    def pool(self) -> Pool:
        raise NotImplementedError

    def test_says_who_measures(self, pool: Pool) -> None:
        assert pool.info().name == "fake"
        assert pool.info() == pool.info()

    def test_answers_in_order(self, pool: Pool) -> None:
        configs = [config_of(number) for number in range(100)]
        answers = pool.measure(TASK, configs)
        assert [answer.latency_us for answer in answers] == [latency_of(TASK, config) for config in configs]

    def test_every_answer_names_its_worker(self, pool: Pool) -> None:
        names = {answer.worker for answer in pool.measure(TASK, [config_of(n) for n in range(20)])}
        assert names <= {worker.name for worker in pool.workers()}

    def test_no_configs_no_answers(self, pool: Pool) -> None:
        assert pool.measure(TASK, []) == []

    def test_the_same_config_twice_is_two_answers(self, pool: Pool) -> None:
        one, two = pool.measure(TASK, [config_of(1), config_of(1)])
        assert one.latency_us == two.latency_us

    def test_a_failed_candidate_is_a_value(self, pool: Pool) -> None:
        failed, fine = pool.measure(TASK, [config_of(1, "fail"), config_of(2)])
        assert failed.status is Status.FAILED
        assert failed.reason == "tile does not fit"
        assert fine.status is Status.OK

    def test_faster_than_physics_is_wrong(self, pool: Pool) -> None:
        config = config_of(3)
        floor_us = latency_of(TASK, config) + 0.001
        (refused,) = pool.measure(TASK, [config], floor_us=floor_us)
        (right,) = pool.measure(TASK, [config], floor_us=latency_of(TASK, config))
        assert refused.status is Status.WRONG
        assert "physical floor" in refused.reason
        assert right.status is Status.OK

    def test_confirms_as_often_as_asked(self, pool: Pool) -> None:
        config = config_of(4)
        confirmations = pool.confirm(TASK, config, 3)
        assert [answer.latency_us for answer in confirmations] == [latency_of(TASK, config)] * 3

    def test_every_ticket_is_answered_once(self, pool: Pool) -> None:
        configs: dict[int, Config] = {}
        open_tickets: set[int] = set()
        for start in range(0, 60, 20):
            batch = [config_of(number) for number in range(start, start + 20)]
            tickets = pool.submit(TASK, batch)
            assert len(set(tickets)) == len(batch)
            assert not open_tickets & set(tickets)
            configs.update(zip(tickets, batch, strict=True))
            open_tickets.update(tickets)
            assert pool.outstanding() == len(open_tickets)
        while open_tickets:
            answers = pool.collect(timeout_s=60.0)
            assert answers
            for answer in answers:
                open_tickets.remove(answer.ticket)
                assert answer.measurement.latency_us == latency_of(TASK, configs[answer.ticket])
        assert pool.collect(timeout_s=0.0) == []

    def test_tasks_are_not_mixed_up(self, pool: Pool) -> None:
        other = NamedTask("other")
        first = pool.submit(TASK, [config_of(7)])
        answers = pool.measure(other, [config_of(7), config_of(8)])
        assert [a.latency_us for a in answers] == [latency_of(other, config_of(n)) for n in (7, 8)]
        (answer,) = pool.collect(timeout_s=60.0)
        assert answer.ticket == first[0]
        assert answer.measurement.latency_us == latency_of(TASK, config_of(7))

    def test_news_tells_a_change_once(self, pool: Pool) -> None:
        answer = pool.measure(TASK, [config_of(9)])[0]
        told = {state.name: state for state in pool.news()}
        assert told[answer.worker].measured >= 1
        assert told[answer.worker].toolchain == pool.info().toolchain
        assert told[answer.worker].host
        assert told[answer.worker].activity in ("idle", "busy")
        assert answer.worker not in {state.name for state in pool.news()}

    def test_wants_work_while_idle(self, pool: Pool) -> None:
        assert pool.wanted() > 0
