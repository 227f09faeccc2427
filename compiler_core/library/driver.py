"""LLVM IR of a network's function: its kernels in order, tiles shared out among threads.

    void net(ptr arena, ptr weights, ptr inputs, ptr outputs, i64 thread, i64 threads)

Ops that run on the host cut it into functions part0, part1, ...; the caller runs the ops between them.

Every thread runs the same code with its own number. After each kernel the threads meet: the last one to come
resets the count and moves the turn on, for which the others wait; who waits long offers its core to others.
Parallel tiles of a kernel are independent (lowering/program.py): any cut of them is right, and none is a part
of a sum.
"""

from collections.abc import Iterator, Mapping, Sequence

from tilewright.compiler_core.codegen.emit import ENTRY
from tilewright.compiler_core.codegen.machine.cpu import Machine
from tilewright.compiler_core.codegen.machine.image import Image
from tilewright.compiler_core.errors import ConfigError
from tilewright.compiler_core.library.calls import Call, NetworkCalls
from tilewright.compiler_core.library.room import LINE, Location, Region, Room

NET, PART = "net", "part"
PAUSES = {
    "x86_64": ("declare void @llvm.x86.sse2.pause()", "call void @llvm.x86.sse2.pause()"),
    "aarch64": ("declare void @llvm.aarch64.hint(i32)", "call void @llvm.aarch64.hint(i32 1)"),
}
PATIENCE = 1_000
"""Looks at the turn, some 40 us, before a thread offers its core: the one that is waited for may need it."""
GIVE_WAY = {
    # mov eax, 24; syscall; ret                mov x8, #124; svc #0; ret
    "x86_64": Image(bytes.fromhex("b8180000000f05c3"), {"give_way": 0}),
    "aarch64": Image(bytes.fromhex("880f80d2010000d4c0035fd6"), {"give_way": 0}),
}
"""The system call sched_yield of Linux as a function, since LLVM has no instruction for it."""
SYSTEM = "system"
MEET = """define internal void @meet(ptr %state, i64 %threads) #1 {{
entry:
  %alone = icmp eq i64 %threads, 1
  br i1 %alone, label %done, label %come
come:
  %turns = getelementptr i8, ptr %state, i64 {line}
  %turn = load atomic i64, ptr %turns acquire, align 8
  %before = atomicrmw add ptr %state, i64 1 acq_rel, align 8
  %count = add i64 %before, 1
  %last = icmp eq i64 %count, %threads
  br i1 %last, label %open, label %wait
open:
  store atomic i64 0, ptr %state monotonic, align 8
  %next = add i64 %turn, 1
  store atomic i64 %next, ptr %turns release, align 8
  ret void
wait:
  %tries = phi i64 [ 0, %come ], [ %more, %spin ], [ 0, %rest ]
  %now = load atomic i64, ptr %turns acquire, align 8
  %same = icmp eq i64 %now, %turn
  br i1 %same, label %still, label %done
still:
  %more = add i64 %tries, 1
  %long = icmp sgt i64 %more, {patience}
  br i1 %long, label %rest, label %spin
spin:
  {pause}
  br label %wait
rest:
  call void @{give_way}()
  br label %wait
done:
  ret void
}}
"""
COPY = """define internal void @copy(ptr noalias %to, ptr noalias %from, i64 %bytes) #1 {
entry:
  %none = icmp eq i64 %bytes, 0
  br i1 %none, label %done, label %again
again:
  %i = phi i64 [ 0, %entry ], [ %n, %again ]
  %p = getelementptr i8, ptr %from, i64 %i
  %b = load i8, ptr %p, align 1
  %q = getelementptr i8, ptr %to, i64 %i
  store i8 %b, ptr %q, align 1
  %n = add i64 %i, 1
  %on = icmp slt i64 %n, %bytes
  br i1 %on, label %again, label %done
done:
  ret void
}
"""


def entries_of(made: NetworkCalls) -> tuple[str, ...]:
    """The names of a library's functions."""
    return tuple(f"{PART}{number}" for number in range(len(made.parts))) if made.hosted else (NET,)


def emit_driver(made: NetworkCalls, numbers: Sequence[int], room: Room, machine: Machine) -> str:
    """The module: call c runs kernel `numbers[c]`, whose function is `k<number>.kernel`."""
    calls = made.calls
    architecture = machine.triple.partition("-")[0]
    if architecture not in PAUSES:
        raise ConfigError(f"libraries are written for x86_64 and aarch64, not for {architecture}")
    declared, pause = PAUSES[architecture]
    text = [declared]
    text += [f"declare void @{_kernel(number)}(ptr, ptr, i64, i64)" for number in sorted({*numbers})]
    give_way = f"{SYSTEM}.give_way"
    text.append(f"declare void @{give_way}()")
    text += [MEET.format(line=LINE, pause=pause, patience=PATIENCE, give_way=give_way), COPY]
    widest = max([1, *(len(call.operands) for call in calls)])
    names = entries_of(made)
    for name, part in zip(names, made.parts, strict=True):
        text.append(
            f"define void @{name}(ptr %arena, ptr %weights, ptr %inputs, ptr %outputs, i64 %thread,"
            " i64 %threads) #0 {"
        )
        text += ["entry:", f"  %table = alloca [{widest} x ptr], align {LINE}"]
        text += [
            f"  %before = mul i64 %thread, {room.scratch_bytes}",
            f"  %at = add i64 %before, {room.values_bytes}",
            "  %scratch = getelementptr i8, ptr %arena, i64 %at",
            "  %following = add i64 %thread, 1",
        ]
        for number in part:
            text += _call(number, calls[number], numbers[number], room.locations)
        if name == names[-1]:
            text += _copies(room)
        text += ["  ret void", "}"]
    common = f'nounwind "no-builtins" "target-cpu"="{machine.cpu}" "target-features"="{machine.features}"'
    text += [f"attributes #0 = {{ {common} }}", f"attributes #1 = {{ noinline {common} }}"]
    return "\n".join(text) + "\n"


def _kernel(number: int) -> str:
    return f"k{number}.{ENTRY}"


def _call(number: int, call: Call, kernel: int, locations: Mapping[str, Location]) -> Iterator[str]:
    for index, (name, begins) in enumerate(call.operands):
        pointer = f"%c{number}_{index}"
        yield from _pointer(pointer, locations[name], begins)
        yield f"  {pointer}_t = getelementptr ptr, ptr %table, i64 {index}"
        yield f"  store ptr {pointer}, ptr {pointer}_t, align 8"
    tiles = call.kernel.nest.program.parallel_tiles
    for label, thread in (("first", "%thread"), ("last", "%following")):
        yield f"  %{label}{number}_n = mul i64 {thread}, {tiles}"
        yield f"  %{label}{number} = udiv i64 %{label}{number}_n, %threads"
    yield (f"  call void @{_kernel(kernel)}(ptr %table, ptr %scratch, i64 %first{number}, i64 %last{number})")
    yield "  call void @meet(ptr %arena, i64 %threads)"


def _pointer(name: str, location: Location, begins: int) -> Iterator[str]:
    if location.region in (Region.ARENA, Region.WEIGHTS):
        yield f"  {name} = getelementptr i8, ptr %{location.region}, i64 {location.at + begins}"
        return
    yield f"  {name}_p = getelementptr ptr, ptr %{location.region}, i64 {location.at}"
    yield f"  {name}_w = load ptr, ptr {name}_p, align 8"
    yield f"  {name} = getelementptr i8, ptr {name}_w, i64 {begins}"


def _copies(room: Room) -> Iterator[str]:
    if not room.copies:
        return
    yield "  %alone = icmp eq i64 %thread, 0"
    yield "  br i1 %alone, label %copies, label %end"
    yield "copies:"
    for number, copy in enumerate(room.copies):
        yield from _pointer(f"%from{number}", copy.source, 0)
        yield from _pointer(f"%to{number}", Location(Region.OUTPUTS, copy.output), 0)
        yield f"  call void @copy(ptr %to{number}, ptr %from{number}, i64 {copy.bytes})"
    yield "  br label %end"
    yield "end:"
