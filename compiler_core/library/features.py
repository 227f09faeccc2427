"""What a CPU must have to run a library, in the words of /proc/cpuinfo, from LLVM's names of its features.

Only features count whose instructions LLVM makes of plain arithmetic, loads and stores. Sources: LLVM's
X86.td and AArch64Features.td; arch/x86/include/asm/cpufeatures.h and arch/arm64/kernel/cpuinfo.c of Linux.
"""

from tilewright.compiler_core.codegen.machine.cpu import Machine

_SAME = "avx avx2 avx512f avx512bw avx512cd avx512dq avx512ifma avx512vbmi avx512vl bmi2 cmov cx16 f16c fma"
_SAME += " gfni movbe popcnt sse sse2 ssse3 bf16 i8mm sve sve2"
WORDS = {
    **{name: (name,) for name in _SAME.split()},
    "avx512bf16": ("avx512_bf16",),
    "avx512bitalg": ("avx512_bitalg",),
    "avx512fp16": ("avx512_fp16",),
    "avx512vbmi2": ("avx512_vbmi2",),
    "avx512vnni": ("avx512_vnni",),
    "avx512vpopcntdq": ("avx512_vpopcntdq",),
    "avxvnni": ("avx_vnni",),
    "bmi": ("bmi1",),
    "lzcnt": ("abm",),
    "sse3": ("pni",),
    "sse4.1": ("sse4_1",),
    "sse4.2": ("sse4_2",),
    "neon": ("asimd",),
    "dotprod": ("asimddp",),
    "fullfp16": ("fphp", "asimdhp"),
}


def needed_features(machine: Machine) -> list[str]:
    """Words that /proc/cpuinfo must list, sorted."""
    names = [text[1:] for text in machine.features.split(",") if text.startswith("+")]
    return sorted({word for name in names for word in WORDS.get(name, ())})
