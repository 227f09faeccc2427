"""What every database keeps to. A new one subclasses StorageSuite and says how to open an empty one."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from tests.db.samples import (
    OTHER_TARGET,
    TARGET,
    TOOLCHAIN,
    asked,
    config,
    confirmations,
    digest,
    failed,
    filled,
    key_of,
    ok,
    prepared,
    trial,
    workload,
)
from tilewright.compiler_core.errors import RecordError
from tilewright.db.layers.selectors import SelectorRow, Selectors
from tilewright.db.records import Best, Effort, Purpose, Verification, WorkloadKind
from tilewright.db.repository import Repository
from tilewright.db.service.workers import WorkerNews, Workers, WorkerState
from tilewright.db.storage import schema
from tilewright.db.storage.session import Database
from tilewright.measure.objectives import Objective
from tilewright.measure.results import Status


class StorageSuite:
    """Override `database`: empty, of the current schema."""

    @pytest.fixture
    def database(self) -> Database:
        raise NotImplementedError

    @pytest.fixture
    def repository(self, database: Database) -> Repository:
        return Repository(database)

    # Runs and trials

    def test_a_trial_comes_back_as_it_went_in(self, repository: Repository) -> None:
        row = workload()
        run = prepared(repository, row)
        batch = [
            trial(run, 0, row),
            trial(run, 1, row, failed(Status.TIMEOUT), bound_us=None),
            trial(run, 2, row, ok(1e-3), verification=Verification.SAMPLED),
            trial(run, 2, row, ok(1e9 / 3), attempt=1),
        ]
        repository.commit_trials(batch)
        stored = repository.trials_of_run(run)
        assert [each.trial for each in stored] == batch
        assert all(each.key == key_of(row) and not each.imported for each in stored)
        assert len({each.created_at_s for each in stored}) >= 1

    def test_a_batch_is_all_or_nothing(self, repository: Repository) -> None:
        row = workload()
        run = prepared(repository, row)
        repository.commit_trials([trial(run, 0, row)])
        with pytest.raises(RecordError, match="nothing was written"):
            repository.commit_trials([trial(run, 1, row), trial(run, 0, row)])
        assert [each.trial.number for each in repository.trials_of_run(run)] == [0]

    def test_purposes_number_apart_and_stay_out_of_the_list(self, repository: Repository) -> None:
        row = workload()
        run = prepared(repository, row)
        repository.commit_trials(
            [trial(run, 0, row, purpose=purpose) for purpose in Purpose]
            + [trial(run, 0, row, attempt=1, purpose=Purpose.CANARY)]
        )
        assert len(repository.trials_of_run(run)) == 1
        assert len(repository.trials_of_run(run, None)) == 4

    def test_what_was_never_put_is_named(self, repository: Repository) -> None:
        row = workload()
        run = prepared(repository, row)
        with pytest.raises(RecordError, match="workload"):
            repository.commit_trials([trial(run, 0, workload("other"))])
        with pytest.raises(RecordError, match="run 'nobody'"):
            repository.commit_trials([trial("nobody", 0, row)])
        with pytest.raises(RecordError, match="target or model"):
            repository.start_run(asked(target=OTHER_TARGET))

    def test_putting_twice_changes_nothing(self, repository: Repository) -> None:
        row = workload()
        prepared(repository, row)
        prepared(repository, row, row)
        assert repository.workloads([row.digest, digest("unknown")]) == {row.digest: row}
        assert repository.targets() == [TARGET]

    def test_trials_cannot_be_changed_or_removed(self, database: Database, repository: Repository) -> None:
        filled(repository, [workload()])
        for statement in (update(schema.trial).values(latency_us=0.1), delete(schema.trial)):
            with pytest.raises(RecordError, match="append-only"), database.writing() as connection:
                connection.execute(statement)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"latency_us": 0.0},
            {"latency_us": -1.0},
            {"latency_us": float("inf")},
            {"latency_us": float("nan")},
            {"latency_us": None},
            {"status": "fine"},
            {"purpose": "fun"},
            {"verification": "trust me"},
            {"workload_id": 999},
            {"run_id": 999},
        ],
    )
    def test_the_table_refuses_nonsense_by_itself(
        self, database: Database, repository: Repository, wrong: dict[str, object]
    ) -> None:
        row = workload()
        run = prepared(repository, row)
        repository.commit_trials([trial(run, 0, row)])
        with database.snapshot() as connection:
            good = dict(connection.execute(select(schema.trial)).one()._mapping)
        del good["id"]
        with pytest.raises(RecordError), database.writing() as connection:
            connection.execute(insert(schema.trial), {**good, "number": 1, **wrong})
        assert len(repository.trials_of_run(run)) == 1

    def test_priors_come_from_the_workload_and_from_its_family(self, repository: Repository) -> None:
        here, there = workload(), workload(placement=("LLB", "LLB"))
        run = prepared(repository, here, there)
        repository.commit_trials([trial(run, 0, here), trial(run, 1, there)])
        assert len(repository.trials_for([here.digest], TARGET.digest, TOOLCHAIN)) == 1
        assert len(repository.family_trials([here.family_digest])) == 2
        assert repository.trials_for([here.digest], OTHER_TARGET.digest) == []
        assert repository.trials_for([here.digest], toolchain="timeline-2") == []

    # Best

    def test_what_was_best_at_a_moment_can_be_asked(self, repository: Repository) -> None:
        row = workload()
        key = key_of(row)
        filled(repository, [row])
        first = repository.best(key)
        again = prepared(repository, row, uid="again")
        since_s = repository.run(again).started_at_s
        repository.commit_trials(confirmations(again, 3, row, (1.0, 1.0, 1.0)))
        assert repository.best(key) != first

        def asked_at(moment_s: float) -> Best | None:
            context = key.target_digest, key.toolchain, key.objective
            return repository.best_many([row.digest], *context, moment_s).get(row.digest)

        assert asked_at(since_s) == first
        assert asked_at(since_s + 3600.0) == repository.best(key)
        assert asked_at(0.0) is None

    def test_best_needs_verified_confirmations_above_the_bound(self, repository: Repository) -> None:
        row = workload()
        run = prepared(repository, row)
        key = key_of(row)
        repository.commit_trials([trial(run, number, row) for number in range(5)])
        assert repository.publish_best(key) is None
        repository.commit_trials(confirmations(run, 0, row, (12.0, 11.0)))
        assert "2 of 3" in repository.why_not_best(key, config(0).digest)
        repository.commit_trials(confirmations(run, 1, row, verification=Verification.NONE))
        assert "not verified" in repository.why_not_best(key, config(1).digest)
        repository.commit_trials(confirmations(run, 2, row, bound_us=10.5))
        assert "below its bound" in repository.why_not_best(key, config(2).digest)
        repository.commit_trials(confirmations(run, 3, row, bound_us=None))
        assert "bound is not known" in repository.why_not_best(key, config(3).digest)
        repository.commit_trials(confirmations(run, 4, row))
        assert repository.best(key) == repository.publish_best(key)
        assert repository.best(key) is not None
        repository.commit_trials([trial(run, 9, row, failed(Status.WRONG), of_config=4)])
        assert repository.best(key) is None, "wrong numbers take a best back at once"
        assert "wrong numbers" in repository.why_not_best(key, config(4).digest)
        assert repository.publish_best(key) is None
        assert repository.best(key) is None
        repository.commit_trials(confirmations(run, 5, row))
        assert repository.why_not_best(key, config(5).digest) == ""
        best = repository.publish_best(key)
        assert best is not None
        assert best == repository.best(key)
        assert (best.config, best.latency_us, best.confirmations) == (config(5), 11.0, 3)
        assert (best.run, best.number, best.verification) == (run, 5, Verification.VALUE_EXACT)

    def test_an_answer_is_no_slower_than_its_default_under_one_protocol(self, repository: Repository) -> None:
        row = workload()
        key, run = key_of(row), prepared(repository, row)
        repository.commit_trials(confirmations(run, 0, row, (9.0, 9.0, 9.0), default=False))
        assert repository.best(key) is None
        assert "default was not measured" in repository.why_not_best(key, config(0).digest)
        elsewhere = repository.start_run(replace(asked(), protocol="median of 9")).uid
        repository.commit_trials(confirmations(elsewhere, 1, row, (10.0, 10.0, 10.0)))
        served = repository.best(key)
        assert served is not None
        assert served.config == config(1), "that default was measured otherwise"
        unverified = confirmations(run, 2, row, (8.0, 8.0, 8.0), verification=Verification.NONE)
        repository.commit_trials(unverified)
        assert "default is better" in repository.why_not_best(key, config(0).digest)
        repository.commit_trials(confirmations(run, 3, row, (7.0, 7.0, 7.0), default=False))
        served, default = repository.best(key), repository.default(key)
        assert served is not None
        assert default is not None
        assert (served.config, default.config) == (config(3), config(2))
        assert (served.latency_us, default.latency_us) == (7.0, 8.0)

    def test_a_default_that_does_not_run_is_beaten_by_whatever_does(self, repository: Repository) -> None:
        row = workload()
        key, run = key_of(row), prepared(repository, row)
        repository.commit_trials(confirmations(run, 0, row, default=False))
        lost = [replace(each, measurement=failed(Status.LOST)) for each in confirmations(run, 1, row)]
        repository.commit_trials(lost)
        assert repository.best(key) is None, "a lost reply says nothing of the default"
        gone = [replace(each, measurement=failed()) for each in confirmations(run, 2, row)]
        repository.commit_trials(gone)
        assert repository.best(key) is not None

    def test_kernels_of_a_memory_run_are_ranked_by_their_time(self, repository: Repository) -> None:
        small, fast = replace(ok(9.0), peak_bytes=1), replace(ok(8.0), peak_bytes=9)
        for kind, expected in ((WorkloadKind.KERNEL, config(1)), (WorkloadKind.GRAPH, config(0))):
            row = workload("of " + kind, kind=kind)
            prepared(repository, row)
            run = repository.start_run(asked(objective=Objective.MEMORY)).uid
            for number, measured in enumerate((small, fast)):
                readings = confirmations(run, number, row, default=number == (kind is WorkloadKind.GRAPH))
                repository.commit_trials([replace(each, measurement=measured) for each in readings])
            best = repository.best(key_of(row, Objective.MEMORY))
            assert best is not None
            assert best.config == expected

    def test_best_by_objective(self, repository: Repository) -> None:
        row = workload()
        repository.put_target(TARGET)
        prepared(repository, row)
        for objective in Objective:
            run = repository.start_run(asked(objective=objective)).uid
            repository.commit_trials(confirmations(run, 0, row, (9.0, 9.0, 9.0)))
            repository.commit_trials(confirmations(run, 1, row, (8.0, 8.0, 8.0)))
            best = repository.publish_best(key_of(row, objective))
            assert best is not None
            assert best.config == config(1)
            assert best.key.objective is objective

    def test_the_word_of_the_device_counts_for_foreign_spaces_only(self, repository: Repository) -> None:
        for kind in WorkloadKind:
            row = workload("space of " + kind, kind=kind)
            run = prepared(repository, row)
            repository.commit_trials(
                confirmations(run, 0, row, verification=Verification.FOREIGN, bound_us=None)
            )
            assert (repository.publish_best(key_of(row)) is not None) == (kind is WorkloadKind.FOREIGN)

    def test_rebuilt_is_bit_identical(self, repository: Repository) -> None:
        filled(repository, [workload(name) for name in ("a", "bb", "ccc")])
        filled(repository, [workload("a"), workload("dddd")])
        before = list(repository.all_best())
        assert repository.rebuild_best() == len(before) == 4
        assert list(repository.all_best()) == before

    def test_nothing_is_served_across_a_key(self, repository: Repository) -> None:
        row = workload()
        filled(repository, [row])
        assert repository.best(key_of(row)) is not None
        assert repository.best(key_of(row, Objective.MEMORY)) is None
        assert repository.best(key_of(row, target=OTHER_TARGET)) is None
        assert repository.best(key_of(workload(placement=("LLB", "LLB")))) is None
        many = repository.best_many([row.digest, digest("x")], TARGET.digest, TOOLCHAIN)
        assert set(many) == {row.digest}
        assert repository.best_many([row.digest], TARGET.digest, "timeline-2") == {}

    def test_ledger_stats_and_coverage(self, repository: Repository) -> None:
        row, relative, stranger = workload(), workload(placement=("LLB", "LLB")), workload("stranger")
        run = prepared(repository, row)
        repository.commit_trials([trial(run, number, row) for number in range(6)])
        repository.commit_trials(confirmations(run, 0, row))
        best = repository.publish_best(key_of(row))
        repository.finish_run(run, "regret", 0.01, [Effort(row.digest, 64, 0.015)])
        ledger = repository.ledger(key_of(row))
        assert (ledger.trials, ledger.trials_budget, ledger.runs) == (6, 64, 1)
        assert (ledger.tuner_version, ledger.regret_estimate, ledger.best) == ("0.1.0", 0.015, best)
        assert repository.ledger(key_of(stranger)).trials == 0
        stats = repository.stats()
        assert dict(stats.rows)["trial"] == 9
        counted = [(context.trials, context.others, context.bests) for context in stats.contexts]
        assert counted == [(6, 3, 1)]
        coverage = repository.coverage([row, relative, stranger], TARGET.digest, TOOLCHAIN)
        assert coverage.measured == (row.digest,)
        assert coverage.other_placement == (relative.digest,)
        assert coverage.unknown == (stranger.digest,)

    def test_threads_share_one_repository(self, repository: Repository) -> None:
        rows = [workload(f"w{number}") for number in range(8)]
        run = prepared(repository, *rows)

        def work(at: int) -> int:
            for number in range(10):
                repository.commit_trials([trial(run, at * 10 + number, rows[at])])
                repository.best(key_of(rows[at]))
            return len(repository.trials_for([rows[at].digest]))

        with ThreadPoolExecutor(8) as threads:
            assert list(threads.map(work, range(8))) == [10] * 8
        assert len(repository.trials_of_run(run)) == 80

    def test_a_batch_says_who_measured_it(self, database: Database, repository: Repository) -> None:
        row = workload()
        run = prepared(repository, row)
        sick = WorkerNews("farm-2", "simulated", WorkerState.QUARANTINED, "canary 3 % off")
        repository.commit_trials([trial(run, 0, row)], workers=[WorkerNews("farm-1", "simulated"), sick])
        states = {each.name: (each.state, each.reason) for each in Workers(database).list()}
        assert states["farm-1"] == (WorkerState.HEALTHY, "")
        assert states["farm-2"] == (WorkerState.QUARANTINED, "canary 3 % off")
        repository.commit_trials([trial(run, 1, row)], workers=[WorkerNews("farm-2", "simulated")])
        after = {each.name: each for each in Workers(database).list()}
        assert after["farm-2"].state is WorkerState.HEALTHY
        assert after["farm-2"].first_seen_at_s <= after["farm-2"].last_seen_at_s
        with pytest.raises(RecordError):
            repository.commit_trials([trial(run, 1, row)], workers=[WorkerNews("farm-3", "simulated")])
        assert "farm-3" not in {each.name for each in Workers(database).list()}

    def test_selectors_answer_by_interval(self, database: Database, repository: Repository) -> None:
        row = workload()
        prepared(repository, row)
        selectors = Selectors(database)
        space = digest("space")
        parts = [SelectorRow(1, 64, config(0), space, 0.01, 0.02), SelectorRow(65, 2048, config(1), space)]
        selectors.publish(key_of(row), "seq", parts)
        assert selectors.intervals(key_of(row), "seq") == tuple(parts)
        assert selectors.intervals(key_of(row), "batch") == ()
        assert selectors.symbols(key_of(row)) == {"seq"}
        selectors.publish(key_of(row), "seq", [narrow := SelectorRow(60, 70, config(2), space)])
        cut = (replace(parts[0], high=59), narrow, replace(parts[1], low=71))
        assert selectors.intervals(key_of(row), "seq") == cut
        selectors.publish(key_of(row), "seq", parts)
        assert selectors.intervals(key_of(row), "seq") == tuple(parts)
        with pytest.raises(RecordError, match="overlap"):
            selectors.publish(key_of(row), "seq", [*parts, SelectorRow(64, 64, config(2), space)])

    # Transactions

    def test_a_failed_block_leaves_nothing(self, database: Database, repository: Repository) -> None:
        def write_and_stumble() -> None:
            with database.writing() as connection:
                connection.execute(insert(schema.model), {"digest": digest("m"), "name": "m"})
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            write_and_stumble()
        assert dict(repository.stats().rows)["model"] == 0

    def test_a_snapshot_stands_still(self, database: Database, repository: Repository) -> None:
        row = workload()
        run = prepared(repository, row)
        count = text("SELECT count(*) FROM trial")
        with database.snapshot() as connection:
            before = connection.execute(count).scalar()
            repository.commit_trials([trial(run, 0, row)])
            assert connection.execute(count).scalar() == before
        assert len(repository.trials_of_run(run)) == 1

    def test_a_bad_statement_is_one_line_and_does_not_poison(self, database: Database) -> None:
        for _ in range(3):
            with pytest.raises(RecordError) as raised:
                database.ask(text("SELECT nothing FROM nowhere"))
            assert "\n" not in str(raised.value)
            assert isinstance(raised.value.__cause__, DBAPIError)
        assert database.ask(text("SELECT 1"))[0][0] == 1
