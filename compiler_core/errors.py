"""The tree of errors. Every message names the thing, the place, the reason and what to do, on one line.

TilewrightError
├── InputError            unusable input: exit code 2, or a 4xx
│   ├── ModelError        an ONNX file that is malformed, unsupported or contradictory
│   ├── TargetError       a target name or TOML file
│   ├── ConfigError       a Config outside its space, or a Schedule that breaks a rule
│   ├── RecordError       a record, an import file or a database that cannot be read or written
│   └── UsageError        arguments that contradict each other or lie out of range
├── CheckError            a check the user asked for failed: exit code 1
│   └── VerifyError       a Program that breaks a rule of the verifier, or computes other numbers
├── NotLockedError        a lock has no answer to just this question: exit code 3
└── DeviceError           the measuring side is unusable as a whole (a failed trial is a value)
"""


class TilewrightError(Exception):
    """Base of every error raised on purpose."""


class InputError(TilewrightError):
    """Unusable input; the message is written for the person who sent it."""


class ModelError(InputError):
    """A model that cannot be imported; names the node and the reason."""


class TargetError(InputError):
    """An unknown target, or a target file with a mistake; names the key."""


class ConfigError(InputError):
    """A Config outside its space, or a Schedule that breaks a legality rule."""


class RecordError(InputError):
    """A record, an exchange file or a database that cannot be used."""


class UsageError(InputError):
    """Arguments out of range or in contradiction."""


class CheckError(TilewrightError):
    """A check the user asked for did not hold."""


class VerifyError(CheckError):
    """A Program that breaks a rule of the verifier, or computes other numbers than its Graph."""


class NotLockedError(TilewrightError):
    """A lock does not hold what was asked, or what it holds would be another Program here."""


class DeviceError(TilewrightError):
    """No measurement can be had at all: no workers, no device, wrong toolchain."""
