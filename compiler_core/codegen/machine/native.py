"""The only home of llvmlite: LLVM IR text to an object file, and LLVM's description of this CPU."""

import threading
from functools import cache

import llvmlite.binding as llvm

from tilewright.compiler_core.codegen.machine.cpu import Machine
from tilewright.compiler_core.errors import ConfigError

LLVM_VERSION = ".".join(map(str, llvm.llvm_version_info))
_ONE_AT_A_TIME = threading.Lock()


def host_machine(vector_bits: int = 0) -> Machine:
    """This CPU; `vector_bits` narrows its vectors (0: as wide as they are)."""
    _ready()
    features = llvm.get_host_cpu_features()
    wide = features.get("avx512f", False)
    bits = 512 if wide else 256 if features.get("avx2", False) else 128
    return Machine(
        llvm.get_process_triple(),
        llvm.get_host_cpu_name(),
        features.flatten(),
        vector_bits or bits,
        32 if wide or not features.get("sse2", False) else 16,
    )


def compile_in_haste() -> None:
    """For all that this process compiles: no strength reduction of loops, a quarter of the time of level 0.

    Code that runs once is none the slower for it. LLVM's options hold for a process.
    """
    llvm.set_option("tilewright", "-disable-lsr")


def object_of(text: str, machine: Machine, level: int = 2) -> bytes:
    """The relocatable object file of a module; ConfigError where LLVM refuses the text.

    `level` 0 takes a third of the time of 2, and its code several times as long.
    """
    with _ONE_AT_A_TIME:
        target, module = _optimised(text, machine, level)
        made: bytes = target.emit_object(module)
        return made


def assembly_of(text: str, machine: Machine, level: int = 2) -> str:
    """The same as assembly, for people."""
    with _ONE_AT_A_TIME:
        target, module = _optimised(text, machine, level)
        made: str = target.emit_assembly(module)
        return made


def _optimised(text: str, machine: Machine, level: int) -> "tuple[llvm.TargetMachine, llvm.ModuleRef]":
    module = _parsed(text)
    target = _target_machine(machine, level)
    module.triple = machine.triple
    module.data_layout = str(target.target_data)
    _optimise(module, target, level)
    return target, module


def _parsed(text: str) -> "llvm.ModuleRef":
    _ready()
    try:
        module = llvm.parse_assembly(text)
        module.verify()
    except RuntimeError as error:
        raise ConfigError(f"LLVM refuses a kernel: {str(error).splitlines()[0]}") from None
    return module


@cache
def _ready() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


@cache
def _target_machine(machine: Machine, level: int) -> "llvm.TargetMachine":
    try:
        target = llvm.Target.from_triple(machine.triple)
    except RuntimeError as error:
        raise ConfigError(f"LLVM has no machine {machine.triple!r}: {error}") from None
    return target.create_target_machine(
        cpu=machine.cpu,
        features=machine.features,
        opt=max(1, 3 * (level == 2)),
        reloc="pic",
        codemodel="small",
    )


def _optimise(module: "llvm.ModuleRef", target: "llvm.TargetMachine", level: int) -> None:
    options = llvm.create_pipeline_tuning_options(speed_level=level)
    options.loop_vectorization = False
    options.slp_vectorization = False
    options.loop_unrolling = False
    options.loop_interleaving = False
    builder = llvm.create_pass_builder(target, options)
    builder.getModulePassManager().run(module, builder)
