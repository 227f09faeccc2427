"""The header of a library for C, and a program that runs it."""

from math import prod
from typing import Any

HEADER, EXAMPLE = "tilewright_net.h", "example.c"
TYPES = {
    "float64": "double", "float32": "float", "bool": "uint8_t", "float16": "uint16_t", "bfloat16": "uint16_t",
    **{f"{sign}int{bits}": f"{sign}int{bits}_t" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip
"""C's type of an element; floats of 16 bits travel as their bits."""

_HEADER = """\
/* {model}: written by Tilewright.
 *
 * arena    TW_ARENA_BYTES(threads) bytes from a multiple of 64 on, zero before the first run
 * weights  the bytes of weights.bin, from a multiple of 64 on
 * inputs   pointers to the inputs, row-major, in this order:
{inputs}
 * outputs  pointers to room for the outputs:
{outputs}
 * Each of `threads` threads calls it with its own number from 0 on and the same pointers; all return when the
 * outputs are written. Nothing is allocated, no other function is called. One run at a time has an arena.
 */
#ifndef TILEWRIGHT_NET_H
#define TILEWRIGHT_NET_H
#include <stddef.h>
#include <stdint.h>
{refused}
#define TW_ARENA_BYTES(threads) ({values}u + (size_t)(threads) * {scratch}u)
#define TW_WEIGHTS_BYTES ((size_t){weights}u)
#define TW_INPUTS {count_in}
#define TW_OUTPUTS {count_out}
static const size_t tw_input_bytes[] = {{{sizes_in}}};
static const size_t tw_output_bytes[] = {{{sizes_out}}};

void net(void *arena, const void *weights, const void *const *inputs, void *const *outputs, int64_t thread,
         int64_t threads);

#endif
"""

_EXAMPLE = """\
/* cc -O1 example.c network.so -Wl,-rpath,'$ORIGIN' -o example
 * ./example INPUT... > OUTPUTS        inputs and outputs as the bytes of their elements
 */
#include <stdio.h>
#include <stdlib.h>
#include "tilewright_net.h"

static void *room(size_t bytes, const char *file) {
    char *memory = aligned_alloc(64, (bytes + 64) / 64 * 64);
    FILE *from = file ? fopen(file, "rb") : NULL;
    for (size_t i = 0; memory && !from && i < bytes; i++) memory[i] = 0;
    if (!memory || (file && (!from || fread(memory, 1, bytes, from) != bytes))) {
        fprintf(stderr, "cannot read %zu bytes of %s\\n", bytes, file ? file : "memory");
        exit(1);
    }
    if (from) fclose(from);
    return memory;
}

int main(int count, char **files) {
    const void *inputs[TW_INPUTS + 1];
    void *outputs[TW_OUTPUTS + 1];
    if (count != TW_INPUTS + 1) return fprintf(stderr, "usage: %s INPUT...\\n", files[0]), 2;
    for (int i = 0; i < TW_INPUTS; i++) inputs[i] = room(tw_input_bytes[i], files[i + 1]);
    for (int i = 0; i < TW_OUTPUTS; i++) outputs[i] = room(tw_output_bytes[i], NULL);
    net(room(TW_ARENA_BYTES(1), NULL), room(TW_WEIGHTS_BYTES, "weights.bin"), inputs, outputs, 0, 1);
    for (int i = 0; i < TW_OUTPUTS; i++) fwrite(outputs[i], 1, tw_output_bytes[i], stdout);
    return 0;
}
"""


def header_text(facts: dict[str, Any]) -> str:
    """tilewright_net.h of the library that a manifest describes."""
    sizes = {side: [_bytes(each) for each in facts[side]] for side in ("inputs", "outputs")}
    return _HEADER.format(
        model=_plain(facts["model"]),
        inputs="\n".join(map(_line, facts["inputs"])) or " *            none",
        outputs="\n".join(map(_line, facts["outputs"])),
        refused=_refusal(facts.get("host", [])),
        values=facts["memory"]["values_bytes"],
        scratch=facts["memory"]["scratch_bytes"],
        weights=facts["files"]["weights.bin"]["bytes"],
        count_in=len(facts["inputs"]),
        count_out=len(facts["outputs"]),
        sizes_in=", ".join(map(str, sizes["inputs"])) or "0",
        sizes_out=", ".join(map(str, sizes["outputs"])) or "0",
    )


def example_text() -> str:
    """example.c: the same for every library."""
    return _EXAMPLE


def _refusal(host: list[dict[str, Any]]) -> str:
    """A line that ends a compilation where ops of the network run on the host: numpy runs them, not C."""
    if not host:
        return ""
    names = [_plain(name).replace('"', "'").replace("\\", "/") for name in host_names(host)]
    return f'#error "tilewright.runtime runs this network, not C: numpy has {", ".join(names)}"\n'


def host_names(host: list[dict[str, Any]]) -> list[str]:
    """The names of a manifest's host ops, each once, in order."""
    return list(dict.fromkeys(each["name"] for each in host))


def _line(operand: dict[str, Any]) -> str:
    extents = "".join(f"[{extent}]" for extent in operand["shape"])
    return f" *            {TYPES[operand['dtype']]} {_plain(operand['name'])}{extents}"


def _bytes(operand: dict[str, Any]) -> int:
    kind = TYPES[operand["dtype"]]
    bits = {"double": 64, "float": 32}.get(kind) or int("".join(each for each in kind if each.isdigit()))
    elements: int = prod(operand["shape"])
    return elements * bits // 8


def _plain(name: str) -> str:
    """A name of the model that may stand in a comment."""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in name[:80]).replace("*/", "* /")
