"""Checks a PeakPlan against its graph, from the semantics alone; shares no code with the solver.

Refuses a plan whose order does not run, whose peak differs, or whose witness does not show exactly the bound
claimed. Plain Python over the graph's own tensors: slow, short, and for reading.
"""

from collections.abc import Iterable

from tilewright.compiler_core.errors import CheckError
from tilewright.compiler_core.order.kernel_graph import KernelGraph
from tilewright.compiler_core.order.witness import FlowRow, PeakPlan, SearchWitness, SetWitness


def check_plan(graph: KernelGraph, plan: PeakPlan) -> None:
    """Returns when `plan` holds for `graph`; CheckError names the first claim that does not."""
    checker = _Checker(graph)
    checker.require(plan.peak_bytes == checker.peak(plan.order), "the order does not have the claimed peak")
    checker.require(plan.bound_bytes <= plan.peak_bytes, "the bound exceeds the peak")
    met = plan.bound_bytes == plan.peak_bytes
    checker.require(met == (plan.status == "optimal"), f"status {plan.status} contradicts peak and bound")
    if graph.kernels == 0:
        checker.require(met and plan.witness == SetWitness("last", (), ()), "there is nothing to witness")
    elif isinstance(plan.witness, SetWitness):
        checker.set_witness(plan.witness, plan.bound_bytes)
    else:
        checker.search_witness(plan.witness, plan.bound_bytes)


class _Checker:
    def __init__(self, graph: KernelGraph) -> None:
        self.graph = graph
        self.before: list[set[int]] = [set() for _ in range(graph.kernels)]
        self.after: list[set[int]] = [set() for _ in range(graph.kernels)]
        self.reads: list[list[int]] = [[] for _ in range(graph.kernels)]
        self.writes: list[list[int]] = [[] for _ in range(graph.kernels)]
        for index, tensor in enumerate(graph.tensors):
            if tensor.producer >= 0:
                self.writes[tensor.producer].append(index)
            for reader in tensor.consumers:
                self.reads[reader].append(index)
                if tensor.producer >= 0:
                    self.before[reader].add(tensor.producer)
                    self.after[tensor.producer].add(reader)

    def require(self, holds: bool, complaint: str) -> None:
        if not holds:
            raise CheckError(f"kernel graph {self.graph.name}: plan refused, {complaint}; solve it again")

    # The cost of an order.

    def peak(self, order: tuple[int, ...]) -> int:
        self.require(sorted(order) == list(range(self.graph.kernels)), "the order is no permutation")
        tensors = self.graph.tensors
        done: set[int] = set()
        live = {t for t, tensor in enumerate(tensors) if tensor.producer < 0}
        live_bytes = peak = sum(tensors[t].bytes for t in live)
        for kernel in order:
            self.require(self.before[kernel] <= done, f"kernel {kernel} runs before one it needs")
            done.add(kernel)
            read = [t for t in self.reads[kernel] if not tensors[t].is_output]
            last_read = [t for t in read if done.issuperset(tensors[t].consumers)]
            written = sum(tensors[t].bytes for t in self.writes[kernel])
            in_place = self.graph.in_place[kernel] and any(tensors[t].bytes >= written for t in last_read)
            peak = max(peak, live_bytes + (0 if in_place else written))
            live_bytes -= sum(tensors[t].bytes for t in last_read)
            live_bytes += sum(tensors[t].bytes for t in self.writes[kernel] if self._kept(t))
        return peak

    def _kept(self, t: int) -> bool:
        """Whether tensor `t` outlives the kernel that writes it."""
        return bool(self.graph.tensors[t].consumers) or self.graph.tensors[t].is_output

    def _may_overwrite(self, kernel: int) -> list[int]:
        tensors = self.graph.tensors
        written = sum(tensors[t].bytes for t in self.writes[kernel])
        options = [t for t in self.reads[kernel] if not tensors[t].is_output and tensors[t].bytes >= written]
        return options if self.graph.in_place[kernel] else []

    # Flows. Live bytes of a down-set D are at least the net flow out of D: flow leaves D only along live
    # tensors, never along a precedence. As the kernels between the two sets conserve flow, that is the net
    # flow out of `inside`, for every D that holds `inside` and avoids `outside`.

    def flow_bytes(self, rows: Iterable[FlowRow], inside: set[int], outside: set[int]) -> int:
        net: dict[int, int] = {}
        carried: dict[int, int] = {}
        seen: set[tuple[int, int, int]] = set()
        value = 0
        for t, tail, tip, amount in rows:
            self.require(amount > 0 and (t, tail, tip) not in seen, "a flow has an empty or a double row")
            seen.add((t, tail, tip))
            if t < 0:
                self.require(t == -1 and 0 <= tail < len(self.before), "a flow names no tensor")
                self.require(tip in self.before[tail], "a flow runs along no precedence")
            else:
                self.require(t < len(self.graph.tensors), "a flow names no tensor")
                tensor = self.graph.tensors[t]
                stays = tensor.is_output or (tensor.producer < 0 and not tensor.consumers)
                to_reader = tip in tensor.consumers or (tip == -1 and stays)
                self.require(tail == tensor.producer and to_reader, "a flow strays from its tensor")
                carried[t] = carried.get(t, 0) + amount
                self.require(carried[t] <= tensor.bytes, "a flow exceeds a tensor's bytes")
            from_inside = tail in inside or (t >= 0 and tail == -1)
            value += amount * (from_inside - (tip in inside))
            net[tail] = net.get(tail, 0) + amount
            net[tip] = net.get(tip, 0) - amount
        free = (k for k in net if k >= 0 and k not in inside and k not in outside)
        self.require(all(net[k] == 0 for k in free), "a flow is lost or made at a kernel")
        return value

    def _reach(self, kernels: Iterable[int], step: list[set[int]]) -> set[int]:
        """Everything that one or more steps lead to."""
        stack, reached = list(kernels), set[int]()
        while stack:
            fresh = step[stack.pop()] - reached
            reached |= fresh
            stack += fresh
        return reached

    # One kernel of a set runs last (first): just before it, the others have run (have not).

    def set_witness(self, witness: SetWitness, bound: int) -> None:
        last = witness.direction == "last"
        members = set(witness.kernels)
        self.require(tuple(sorted(members)) == witness.kernels, "the set is not in ascending order")
        known = bool(members) and members <= set(range(self.graph.kernels))
        self.require(known, "the set is empty or not of kernels")
        needed = self._reach(members, self.before if last else self.after)
        heads = sorted(members - needed)
        self.require(heads == [flow.kernel for flow in witness.flows], "the flows are not those of the set")
        reached = False
        for flow in witness.flows:
            before = self._reach([flow.kernel], self.before)
            after = self._reach([flow.kernel], self.after) | {flow.kernel}
            inside = (members | needed) - {flow.kernel} if last else before
            outside = after if last else members | needed
            written = sum(self.graph.tensors[t].bytes for t in self.writes[flow.kernel])
            step = 0 if self._may_overwrite(flow.kernel) else written
            value = self.flow_bytes(flow.rows, inside, outside)
            self.require(value == max(0, bound - step), f"the flow of kernel {flow.kernel} misses the bound")
            reached |= value + step == bound
        self.require(reached, "the set shows more than the bound")

    # Below the bound, every state is a dead end: its safe move is one (live bytes are submodular, so what
    # completes a state also completes a lower one beyond it), or all its moves are.

    def search_witness(self, witness: SearchWitness, bound: int) -> None:
        forward = witness.way == "forward"
        unsettled = any(
            options and all(len(self.graph.tensors[t].consumers) > 1 for t in options)
            for options in map(self._may_overwrite, range(self.graph.kernels))
        )
        self.require(forward or not unsettled, "no move back is safe where in-place depends on the order")
        everything = (1 << self.graph.kernels) - 1
        dead = {dead_end.state for dead_end in witness.dead_ends}
        self.require(len(dead) == len(witness.dead_ends), "a dead end is listed twice")
        needed = {self._close(0 if forward else everything, forward, bound)}
        for dead_end in witness.dead_ends:
            state, move = dead_end.state, dead_end.move
            self.require(state in needed, "a dead end is not led to")
            self.require(0 <= state <= everything, "a dead end is no down-set")
            self.require(state != (everything if forward else 0), "a dead end is the goal")
            if move is None:
                leads = {
                    self._close(state ^ 1 << kernel, forward, bound)
                    for kernel in self._movable(state, forward)
                    if self._need(state, kernel, forward) < bound
                }
            else:
                leads = {move.state}
                ahead = state & ~move.state == 0 if forward else move.state & ~state == 0
                self.require(ahead and move.state != state, "a safe move does not go on")
                inside = self._kernels(state & move.state)
                outside = self._kernels(everything & ~(state | move.state))
                least = self.flow_bytes(move.rows, inside, outside)
                self.require(least == self._live(move.state), "a safe move is not safe")
            needed |= leads
        self.require(needed == dead, "a move leads out of the dead ends")

    def _kernels(self, state: int) -> set[int]:
        return {kernel for kernel in range(self.graph.kernels) if state >> kernel & 1}

    def _live(self, state: int) -> int:
        """Live bytes of a down-set."""
        return sum(
            tensor.bytes
            for tensor in self.graph.tensors
            if (tensor.producer < 0 or state >> tensor.producer & 1)
            and (
                tensor.is_output
                or (tensor.producer < 0 and not tensor.consumers)
                or any(not state >> reader & 1 for reader in tensor.consumers)
            )
        )

    def _movable(self, state: int, forward: bool) -> list[int]:
        """Kernels that may run next, or that may have run last."""
        waits_for = self.before if forward else self.after
        moved = state if forward else ~state
        return [
            kernel
            for kernel in range(self.graph.kernels)
            if not moved >> kernel & 1 and all(moved >> k & 1 for k in waits_for[kernel])
        ]

    def _need(self, state: int, kernel: int, forward: bool) -> int:
        """Bytes while `kernel` runs from `state` (forward) or into it."""
        begin = state if forward else state ^ 1 << kernel
        tensors = self.graph.tensors
        in_place = any(
            all(begin >> reader & 1 for reader in tensors[t].consumers if reader != kernel)
            for t in self._may_overwrite(kernel)
        )
        return self._live(begin) + (0 if in_place else sum(tensors[t].bytes for t in self.writes[kernel]))

    def _close(self, state: int, forward: bool, bound: int) -> int:
        """Moves every kernel that fits below the bound and ends no higher, until there is none."""
        moved = True
        while moved:
            moved = False
            for kernel in self._movable(state, forward):
                after = state ^ 1 << kernel
                if self._live(after) <= self._live(state) and self._need(state, kernel, forward) < bound:
                    state, moved = after, True
                    break
        return state
