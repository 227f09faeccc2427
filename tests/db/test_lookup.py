"""Nothing is served across a key, a miss names the field, and asking loads no tuning machinery."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.db.samples import OTHER_TARGET, TARGET, TOOLCHAIN, confirmations, digest, filled, key_of, workload
from tilewright.compiler_core.digest import canonical_json, digest_of
from tilewright.db.answering.explain import Nearest
from tilewright.db.answering.lookup import AnswerRequest, Fallback, Hit, Match, Miss, lookup, lookup_many
from tilewright.db.layers.layer import AbsentLayer, AnswerContext, Layers, RecordsLayer
from tilewright.db.records import Best, WorkloadKind, WorkloadRow
from tilewright.db.repository import Repository
from tilewright.db.storage.session import open_database
from tilewright.measure.objectives import Objective


def contraction(placement: tuple[str, ...] = ("DRAM", "LLB", "DRAM"), **changes: Any) -> WorkloadRow:
    body: dict[str, Any] = {
        "domain": [["m", 64, "parallel"], ["n", 128, "parallel"], ["k", 256, "reduction"]],
        "dtypes": ["float16", "float16", "float32"],
        "epilogue": [{"op": "relu", "axis": 0}],
        "stride": 1,
        "pad": 0,
        "zero_point": False,
        **changes,
    }
    family = digest_of(body)
    where = canonical_json(list(placement))
    return WorkloadRow(digest_of([family, where]), family, WorkloadKind.KERNEL, where, canonical_json(body))


RECORDED = contraction()
ASKED = AnswerRequest(TARGET.digest, TOOLCHAIN)


@dataclass(frozen=True)
class Question:
    field: str
    row: WorkloadRow = RECORDED
    target: str = TARGET.digest
    toolchain: str = TOOLCHAIN
    objective: Objective = Objective.LATENCY


def near_misses() -> list[Question]:
    """Over two hundred questions that differ from the record in one field each."""
    domain = [["m", 64, "parallel"], ["n", 128, "parallel"], ["k", 256, "reduction"]]
    asked = [Question("target", target=digest(f"target {n}")) for n in range(20)]
    asked += [Question("toolchain", toolchain=f"timeline-{n}") for n in range(2, 22)]
    asked += [Question("objective", objective=each) for each in list(Objective)[1:]]
    for levels in ("LLB LLB DRAM", "DRAM DRAM DRAM", "DRAM LLB LLB", "LLB DRAM LLB", "L1 L1 L1"):
        asked.append(Question("placement", contraction(tuple(levels.split()))))
    for axis in range(3):
        for size in [*range(1, 41), 63, 65, 127, 129, 255, 257, 1024]:
            changed = [list(each) for each in domain]
            changed[axis][1] = size
            asked.append(Question(f"domain[{axis}][1]", contraction(domain=changed)))
    for operand in range(3):
        for dtype in ("bfloat16", "int8", "float64"):
            dtypes = ["float16", "float16", "float32"]
            dtypes[operand] = dtype
            asked.append(Question(f"dtypes[{operand}]", contraction(dtypes=dtypes)))
    asked += [Question("stride", contraction(stride=stride)) for stride in (2, 3, 4)]
    asked += [Question("pad", contraction(pad=pad)) for pad in (1, 2, 3, True)]
    asked += [Question("zero_point", contraction(zero_point=value)) for value in (True, 0)]
    asked += [
        Question("epilogue[0].op", contraction(epilogue=[{"op": op, "axis": 0}])) for op in ("tanh", "add")
    ]
    asked.append(Question("groups", contraction(groups=2)))
    return asked


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    database = open_database(tmp_path_factory.mktemp("lookup") / "tuning.db")
    repository = Repository(database)
    filled(repository, [RECORDED])
    repository.put_target(OTHER_TARGET)
    yield repository
    database.close()


def test_there_are_two_hundred_near_misses() -> None:
    assert len({repr(question) for question in near_misses()}) >= 200


@pytest.mark.parametrize("question", near_misses(), ids=lambda question: question.field)
def test_a_near_miss_is_a_miss_and_names_the_field(question: Question, repository: Repository) -> None:
    answer = lookup(
        repository, question.row, AnswerRequest(question.target, question.toolchain, question.objective)
    )
    assert isinstance(answer, Miss)
    assert answer.nearest is not None
    assert [each.field for each in answer.nearest.differences] == [question.field]
    assert answer.reason.startswith(f"{question.field}: asked ")
    assert answer.nearest.guess_us == 11.0
    assert answer.nearest.guess_regret == 10.0


def test_a_miss_calls_targets_by_name(repository: Repository) -> None:
    answer = lookup(repository, RECORDED, AnswerRequest(OTHER_TARGET.digest, TOOLCHAIN))
    assert isinstance(answer, Miss)
    asked, known = f"{OTHER_TARGET.name} {OTHER_TARGET.digest[:12]}", f"{TARGET.name} {TARGET.digest[:12]}"
    assert answer.reason.startswith(f"target: asked {asked}, nearest has {known}")


def test_a_hit_is_the_record(repository: Repository) -> None:
    answer = lookup(repository, RECORDED, ASKED)
    assert answer == Hit(RECORDED, _best(repository), Match.EXACT, RECORDED)


def _best(repository: Repository) -> Best:
    best = repository.best(key_of(RECORDED))
    assert best is not None
    return best


def test_a_hit_is_checked_against_the_space_of_today(repository: Repository) -> None:
    best = _best(repository)

    def ask(space_digest: str | None, fits: bool | None) -> type:
        check = None if fits is None else lambda row, found: (row, found) == (RECORDED, best) and bool(fits)
        spaces = {} if space_digest is None else {RECORDED.digest: space_digest}
        answer = lookup(repository, RECORDED, replace(ASKED, space_digests=spaces, fits=check))
        return type(answer)

    assert ask(best.space_digest, None) is Hit
    assert ask(best.space_digest, False) is Hit, "an equal space needs no second look"
    assert ask(digest("another space"), True) is Hit
    assert ask(digest("another space"), False) is Miss
    assert ask(digest("another space"), None) is Miss
    assert ask(None, None) is Hit
    assert ask(None, True) is Hit
    assert ask(None, False) is Miss


def test_relatives_answer_only_when_asked_and_are_marked(repository: Repository) -> None:
    elsewhere = contraction(("LLB", "LLB", "LLB"))
    assert isinstance(lookup(repository, elsewhere, ASKED), Miss)
    answer = lookup(repository, elsewhere, replace(ASKED, other_placement=True))
    assert answer == Hit(elsewhere, _best(repository), Match.OTHER_PLACEMENT, RECORDED)
    wrong_context = lookup(
        repository, elsewhere, AnswerRequest(OTHER_TARGET.digest, TOOLCHAIN, other_placement=True)
    )
    assert isinstance(wrong_context, Miss)
    today = {elsewhere.digest: digest("today")}
    strict = replace(ASKED, space_digests=today, fits=lambda row, best: False, other_placement=True)
    refused = lookup(repository, elsewhere, strict)
    assert isinstance(refused, Miss)


def test_many_answers_come_in_order(repository: Repository) -> None:
    rows = [contraction(pad=7), RECORDED, contraction(("L1",) * 3), RECORDED]
    answers = lookup_many(repository, rows, replace(ASKED, other_placement=True))
    assert [answer.workload for answer in answers] == rows
    assert [type(answer) for answer in answers] == [Miss, Hit, Hit, Hit]


def test_the_nearest_has_the_fewest_differences(tmp_path: Path) -> None:
    database = open_database(tmp_path / "tuning.db")
    repository = Repository(database)
    far, near = contraction(pad=1, stride=2, zero_point=True), contraction(pad=2)
    run = filled(repository, [far, near])
    answer = lookup(repository, contraction(pad=3), ASKED)
    assert isinstance(answer, Miss)
    assert answer.nearest is not None
    assert answer.nearest.workload == near
    assert answer.nearest.best.run == run
    foreign = replace(near, kind=WorkloadKind.FOREIGN, digest=digest("t1"))
    empty = lookup(repository, foreign, AnswerRequest(TARGET.digest, "x"))
    assert isinstance(empty, Miss)
    database.close()


def test_an_empty_database_says_so(tmp_path: Path) -> None:
    database = open_database(tmp_path / "tuning.db")
    answer = lookup(Repository(database), RECORDED, ASKED)
    assert isinstance(answer, Miss)
    assert answer.nearest is None
    assert "tune it first" in answer.reason
    database.close()


def test_a_new_best_is_served_at_once(repository: Repository) -> None:
    row = workload("tuned while others look")
    assert isinstance(lookup(repository, row, replace(ASKED, explain=False)), Miss)
    filled(repository, [row])
    assert isinstance(lookup(repository, row, ASKED), Hit)
    run = filled(repository, [row])
    repository.commit_trials(confirmations(run, 99, row, (2.0, 2.0, 2.0)))
    repository.publish_best(key_of(row))
    answer = lookup(repository, row, ASKED)
    assert isinstance(answer, Hit)
    assert answer.best.latency_us == 2.0


def test_a_lookup_loads_no_tuning_machinery(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from tilewright.db.answering.lookup import lookup\n"
        "from tilewright.db.repository import Repository\n"
        "from tilewright.db.storage.session import open_database\n"
        f"database = open_database({str(tmp_path / 'tuning.db')!r}, read_only=True)\n"
        "Repository(database).stats()\n"
        "database.close()\n"
        "heavy = {'ray', 'xgboost', 'optuna', 'numba', 'onnx', 'fastapi', 'alembic', 'scipy'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    open_database(tmp_path / "tuning.db").close()
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


class Asked(AbsentLayer):
    """A layer that knows nothing, and notes what it was asked."""

    def __init__(self) -> None:
        super().__init__("asked", "")
        object.__setattr__(self, "questions", [])

    questions: list[tuple[str, ...]]

    def bests(
        self, workloads: Sequence[str], context: AnswerContext, before_s: float | None = None
    ) -> dict[str, Best]:
        self.questions.append(tuple(workloads))
        return {}

    def relatives(
        self, families: Sequence[str], context: AnswerContext
    ) -> dict[str, Sequence[tuple[WorkloadRow, Best]]]:
        self.questions.append(tuple(families))
        return {}


def test_a_later_layer_is_asked_for_the_rest_only(repository: Repository) -> None:
    later, wished = Asked(), replace(ASKED, explain=False)
    stack = Layers((RecordsLayer("own", repository), later))
    for steps in ((), (Fallback.FAMILY,), (Fallback.TOOLCHAIN,)):
        lookup(stack, RECORDED, replace(wished, fallback=steps))
    assert later.questions == []
    unknown, elsewhere = contraction(pad=9), contraction(("LLB", "L1", "L1"))
    lookup_many(stack, [RECORDED, unknown], wished)
    assert later.questions == [(unknown.digest,)]
    later.questions.clear()
    answers = lookup_many(stack, [RECORDED, elsewhere, unknown], replace(wished, other_placement=True))
    assert later.questions == [(elsewhere.digest, unknown.digest), (unknown.family_digest,)]
    assert [type(answer) for answer in answers] == [Hit, Hit, Miss]
    later.questions.clear()
    lookup_many(stack, [RECORDED, elsewhere], replace(wished, other_placement=True))
    assert later.questions == [(elsewhere.digest,)], "the first layer has every relative"
    stack_of_two = Layers((later, RecordsLayer("own", repository)))
    assert isinstance(lookup(stack_of_two, RECORDED, wished), Hit)


def test_a_record_outside_the_space_of_today_is_named(repository: Repository) -> None:
    answer = lookup(repository, RECORDED, replace(ASKED, fits=lambda row, best: False))
    assert isinstance(answer, Miss)
    assert answer.reason == "space: the recorded config is not in the space of today; tune it again"
    assert answer.nearest == Nearest(_best(repository), RECORDED, ())


def test_a_record_is_no_relative_of_itself(repository: Repository) -> None:
    """What is known today does not answer for an earlier moment by a detour."""
    earlier = replace(ASKED, other_placement=True, before_s=1.0)
    assert isinstance(lookup(repository, RECORDED, earlier), Miss)


def test_a_hit_is_expected_to_take_what_it_took(repository: Repository) -> None:
    answer = lookup(repository, RECORDED, ASKED)
    assert isinstance(answer, Hit)
    assert answer.latency_us == _best(repository).latency_us


def test_a_miss_names_five_fields_and_counts_the_others(repository: Repository) -> None:
    changes = {"stride": 2, "pad": 3, "zero_point": True, "groups": 4, "bias": 1}
    for count in (4, 5):
        row = contraction(("L1",) * 3, **dict(list(changes.items())[:count]))
        answer = lookup(repository, row, ASKED)
        assert isinstance(answer, Miss)
        assert answer.nearest is not None
        assert len(answer.nearest.differences) == count + 1
        assert answer.reason.count("; ") == (4 if count == 4 else 5)
        assert answer.reason.endswith("; and 1 more") == (count == 5)
    quiet = lookup(repository, row, replace(ASKED, explain=False))
    assert isinstance(quiet, Miss)
    assert (quiet.reason, quiet.nearest) == ("no record has this key", None)
