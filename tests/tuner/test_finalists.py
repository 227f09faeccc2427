"""Finalists under noise: single lucky readings do not win, and what is published is what is true."""

import numpy as np
import pytest

from tilewright.measure.results import Measurement, Status, failure
from tilewright.search_space.knobs import Config
from tilewright.tuner.answer.finalists import Confirm, settle


def config(at: int) -> Config:
    return Config((("k", at),))


def laboratory(true_us: list[float], noise: float, seed: int) -> Confirm:
    rng = np.random.default_rng(seed)

    def confirm(asked: Config, times: int) -> list[Measurement]:
        true = true_us[int(asked["k"])]
        return [
            Measurement(Status.OK, latency_us=float(true * np.exp(rng.normal(0.0, noise))))
            for _ in range(times)
        ]

    return confirm


def latency(measured: Measurement) -> float | None:
    return measured.latency_us


def test_with_three_percent_noise_the_answer_is_within_one_percent_and_its_latency_within_two() -> None:
    regrets, errors = [], []
    for seed in range(60):
        rng = np.random.default_rng([seed, 1])
        true = np.exp(np.sort(np.abs(rng.normal(0.0, 0.3, 256))))
        true = 100.0 * true / true.min()
        lucky_first = np.argsort(true * np.exp(rng.normal(0.0, 0.03, 256)))[:8]
        winner = settle(
            [config(int(number)) for number in lucky_first], laboratory(list(true), 0.03, seed), latency
        )[0]
        regrets.append(true[int(winner.config["k"])] / 100.0 - 1.0)
        errors.append(abs(np.exp(winner.median_log) / true[int(winner.config["k"])] - 1.0))
    assert np.mean(regrets) < 0.006
    assert np.quantile(regrets, 0.9) < 0.015
    assert np.quantile(errors, 0.95) < 0.02


def test_without_noise_one_round_is_enough_and_ties_go_to_the_lower_digest() -> None:
    configs = [config(index) for index in range(4)]
    ranked = settle(configs, laboratory([3.0, 2.0, 2.0, 5.0], 0.0, 0), latency)
    tied = sorted((configs[1], configs[2]), key=lambda each: each.digest)
    assert [one.config for one in ranked] == [*tied, configs[0], configs[3]]
    assert all(len(one.readings) == 3 for one in ranked)


def test_a_hopeless_finalist_is_not_read_to_the_end() -> None:
    ranked = settle([config(0), config(1)], laboratory([1.0, 1.5], 0.02, 3), latency)
    assert [one.config for one in ranked] == [config(0), config(1)]
    assert len(ranked[1].readings) == 3 < len(ranked[0].readings)


@pytest.mark.parametrize("broken", [0, 1])
def test_a_failed_reading_drops_its_config(broken: int) -> None:
    quiet = laboratory([1.0, 1.0], 0.02, 0)

    def confirm(asked: Config, times: int) -> list[Measurement]:
        if asked["k"] == broken:
            return [failure(Status.WRONG, "other numbers")] * times
        return quiet(asked, times)

    assert [one.config for one in settle([config(0), config(1)], confirm, latency)] == [config(1 - broken)]


def test_nobody_is_left_where_all_fail() -> None:
    assert settle([config(0)], lambda asked, times: [failure(Status.FAILED, "no")] * times, latency) == []
