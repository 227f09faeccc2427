"""Patterns of the texts in requests, each also in words, for messages about a text that does not match."""

from collections.abc import Mapping

JOB = "^[0-9a-f]{1,64}$"
RUN = "^[0-9A-Za-z_.-]{1,64}$"
DIGEST = "^[0-9a-f]{64}$"
BEGINNING = "^[0-9a-f]{8,64}$"
DIM = r"^[^=\x00]{1,100}=[0-9]{1,18}$"
TOOLCHAIN_NAME = r"^[^\x00]{1,100}$"
TARGET = "^[A-Za-z0-9_-]{1,100}$"
DRAWING = "^[a-z]{1,20}$"
CURSOR = "^[0-9]{1,18}$"
EVENT = "^[0-9]{1,15}$"
IDEMPOTENCY = "^[!-~]+$"

IN_WORDS: Mapping[str, str] = {
    JOB: "not the id of a job; an id has the digits 0-9 and a-f, as `tune jobs` prints it",
    RUN: "not the id of a run; give one as /v1/runs lists it",
    DIGEST: "not a digest; give its 64 digits 0-9 and a-f",
    BEGINNING: "not a digest; give its 64 digits 0-9 and a-f, or the first of them, from 8 on",
    DIM: "not a size of a dim; give NAME=VALUE with a whole number from 0 on, as in seq=77",
    TOOLCHAIN_NAME: "not the name of a toolchain; give 1 to 100 characters",
    TARGET: "not the name of a target; give one as /v1/targets lists it",
    DRAWING: "not the name of a drawing; give one in small letters, as the report links it",
    CURSOR: "not a cursor; give `next` of the page before",
    EVENT: "not the number of an event; give the last one that was received",
    IDEMPOTENCY: "not a key; give printable ASCII characters without spaces",
}
