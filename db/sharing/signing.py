"""Ed25519 signatures over trials, by the one who measured them.

What is signed binds a trial to its run, and so to target, toolchain, objective and device: no field of either
can be changed, and no trial moved to another run, under the same signature. Texts are in the canonical form
that digests of entries have always had.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tilewright.compiler_core.digest import canonical_json, digest_of
from tilewright.compiler_core.errors import RecordError, UsageError
from tilewright.compiler_core.files.inputs import open_regular
from tilewright.compiler_core.files.outputs import output
from tilewright.db.exchange.entries import StoredRun, StoredSignature, StoredTrial, to_object
from tilewright.db.records import NewRun

PURPOSE = "tilewright signed trial"
VERSION = 1
SECRET_PREFIX = "tw-secret-"
FIELD = 2**255 - 19
SMALL_ORDER = frozenset(
    (
        0,
        1,
        FIELD - 1,
        0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD83D3D706A17C7,
        0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
    )
)
"""Heights (y) of the points of the curve whose order divides 8."""
_SECRET_CHARACTERS = len(SECRET_PREFIX) + 64


def device_digest(asked: NewRun) -> str:
    """The digest of what measured a run: the device's name, its target, toolchain and protocol."""
    return digest_of(["device", asked.device, asked.target_digest, asked.toolchain, asked.protocol])


def statement_of(run: StoredRun, trial: StoredTrial) -> bytes:
    """The bytes that are signed for a trial of a run."""
    parts = [PURPOSE, VERSION, device_digest(run.asked), to_object(run)["digest"], to_object(trial)["digest"]]
    return canonical_json(parts).encode()


@dataclass(frozen=True)
class SigningKey:
    """A secret key; `signer` is its public half, 64 hex characters."""

    secret: bytes

    @classmethod
    def new(cls) -> "SigningKey":
        """256 random bits."""
        made = Ed25519PrivateKey.generate()
        return cls(made.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))

    @property
    def signer(self) -> str:
        """The public half."""
        public = Ed25519PrivateKey.from_private_bytes(self.secret).public_key()
        return public.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()

    def sign(self, run: StoredRun, trial: StoredTrial) -> StoredSignature:
        """The signature of a trial."""
        signed = Ed25519PrivateKey.from_private_bytes(self.secret).sign(statement_of(run, trial))
        about = trial.trial
        return StoredSignature(
            about.run, about.purpose, about.number, about.attempt, self.signer, signed.hex()
        )


def is_signed(signature: StoredSignature, run: StoredRun, trial: StoredTrial) -> bool:
    """Whether a signature is that of its signer over this very trial of this very run."""
    about = trial.trial
    if (signature.run, signature.purpose, signature.number, signature.attempt) != (
        about.run,
        about.purpose,
        about.number,
        about.attempt,
    ):
        return False
    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(signature.signer))
        public.verify(bytes.fromhex(signature.signature), statement_of(run, trial))
    except (InvalidSignature, ValueError):
        return False
    return True


def check_public_key(signer: str) -> None:
    """RecordError for 32 bytes under which others than the owner of a secret can sign.

    A point of small order verifies forgeries; one that is not canonical is a second name of a key. The orders
    are those of RFC 8032's curve: y = 0 and +-1 have order 4, 1 and 2, the other two order 8.
    """
    height = int.from_bytes(bytes.fromhex(signer), "little") & ~(1 << 255)
    if height >= FIELD or height in SMALL_ORDER:
        raise RecordError(f"key {signer[:12]} is none that a secret belongs to; ask its owner for it again")


def key_file(name: str) -> Path:
    """The path of a user's secret key of a name."""
    if not name or not all(sign.isalnum() or sign in "._-" for sign in name) or len(name) > 60:
        raise UsageError(f"key {name[:60]!r}: use up to 60 letters, digits and ._-")
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(home) / "tilewright" / "keys" / f"{name}.key"


def make_key(name: str) -> tuple[SigningKey, Path]:
    """A new key in a file that its owner alone may read; UsageError where there is one of that name."""
    path = key_file(name)
    if path.exists():
        raise UsageError(f"key {path} is there already; choose another name")
    key = SigningKey.new()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with output(path, private=True) as stream:
        stream.write(f"{SECRET_PREFIX}{key.secret.hex()}\n".encode())
    return key, path


def read_key(name: str) -> SigningKey:
    """The key of a name; UsageError where there is none, or its file holds no key."""
    path = key_file(name)
    try:
        with open_regular(path) as file:
            text = file.read(4 * _SECRET_CHARACTERS).decode("ascii", "replace").strip()
    except OSError as error:
        raise UsageError(f"key {path}: {error.strerror}; `tune keys make {name}` makes one") from None
    try:
        if not text.startswith(SECRET_PREFIX) or len(text) != _SECRET_CHARACTERS:
            raise ValueError(text)
        return SigningKey(bytes.fromhex(text.removeprefix(SECRET_PREFIX)))
    except ValueError:
        raise UsageError(f"key {path} holds no key of ours") from None
